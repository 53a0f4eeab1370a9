"""`python -m tests.docs` counts the pages' blocks; PAGE...: run them; --write PAGE...: renew the output shown."""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections import Counter
from pathlib import Path

from tests.docs.pages import CONSOLE, PYTHON, SHELL, blocks, commands, pages
from tests.docs.running import lay_out, make_files, renew, run_page


def count() -> Counter[str]:
    """Commands and Python blocks by what is done with them."""
    found: Counter[str] = Counter()
    for page in pages():
        for block in blocks(page):
            number = len(list(commands(block))) if block.language in (SHELL, CONSOLE) else 1
            if block.language in (SHELL, CONSOLE, PYTHON) or block.file:
                kind = (
                    "files"
                    if block.file
                    else "commands"
                    if block.language in (SHELL, CONSOLE)
                    else "Python blocks"
                )
                found[f"{kind}: {'run' if block.file or not block.mark else block.mark}"] += number
    return found


def _cpu() -> float:
    """Seconds of this process and of the children that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs", description=__doc__)
    parser.add_argument("pages", nargs="*")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--slow", action="store_true", help="also blocks marked slow")
    chosen = parser.parse_args()
    if not chosen.pages:
        for what, number in sorted(count().items()):
            print(f"{number:4} {what}")
    for page in chosen.pages:
        if chosen.write:
            renew(page)
            continue
        with tempfile.TemporaryDirectory() as name:
            folder, begin = Path(name), _cpu()
            lay_out(folder)
            make_files(folder)
            skipped = run_page(page, folder, chosen.slow)
            print(page, f"{_cpu() - begin:.1f} s of CPU", *skipped, sep="\n  ")


if __name__ == "__main__":
    main()
