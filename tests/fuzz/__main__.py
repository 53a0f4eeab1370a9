"""``python -m tests.fuzz``: fuzz readers; the exit status is 1 if anything was found."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("reader", nargs="*", choices=[[], *TARGETS], help="default: all")
    parser.add_argument("--count", type=int, default=1_000_000, help="inputs of each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="corpus, counts and findings; a run goes on from there")
    options = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory() as temporary:
        for reader in options.reader or [name for name in TARGETS if name != "planted"]:
            outcome = fuzz(reader, options.count, options.seed, (options.folder or Path(temporary)) / reader)
            rate = outcome.inputs / max(outcome.seconds, 1e-9)
            print(f"{reader}: {outcome.inputs:,} inputs, {outcome.accepted:,} of them read, {outcome.seconds:.0f} s of "
                  f"processor time ({rate:,.0f} a second), {len(outcome.findings)} findings", flush=True)  # fmt: skip
            for finding in outcome.findings:
                print(finding, flush=True)
            found += len(outcome.findings)
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
