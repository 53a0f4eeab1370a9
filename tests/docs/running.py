"""Runs a page: its commands one after the other in one folder, its Python in one namespace."""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from unittest import mock

from tests.docs.pages import CONSOLE, PYTHON, ROOT, SHELL, Block, blocks, commands

OPENING = "docs/index.md"
"""The page whose first shell block makes the files that all other pages speak of."""

_SHELL = re.compile(r"[|<>&;$`*]")


class PageError(AssertionError):
    """A block that does not do what its page says."""


def lay_out(folder: Path) -> None:
    """A folder that looks like the checkout; what commands write there stays there."""
    for name in ("docs", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "reference"))
    for name in ("tests", ".ci", "benchmarks"):
        (folder / name).symlink_to(ROOT / name)


def make_files(folder: Path) -> None:
    """model.onnx, x.npz and so on, by the opening page's own commands."""
    run_block(next(block for block in blocks(OPENING) if block.language == SHELL), folder, {})


def absent(block: Block) -> str:
    """Why a block cannot run here, or ''."""
    return "; ".join(f"{block.place} needs {need}" for need in block.needs if not _there(need, block))


def _there(need: str, block: Block) -> bool:
    if need == "qemu":
        return bool(os.environ.get("POTLUCK_QEMU") or shutil.which("qemu-riscv64"))
    if need in ("zig", "torch"):
        return importlib.util.find_spec({"zig": "ziglang"}.get(need, need)) is not None
    if need == "rtl":
        from potluck.hdl import toolchain

        return not toolchain.missing("rtl")
    if need == "zoo":
        from potluck.zoo import registry

        words = {word for command, _ in commands(block) for word in shlex.split(command, comments=True)}
        return not any(registry.find(word).missing() for word in words & registry.PLACES.keys())
    if need == "programs":
        return "POTLUCK_PROGRAMS" in os.environ
    assert need == "plugin", f"{block.place}: nobody knows how to find {need!r}"
    return True


def wanted(block: Block, slow: bool) -> bool:
    """Whether a block is run; `slow` says whether long ones are."""
    return not {"install", "fragment"} & {*block.marks} and (slow or "slow" not in block.marks)


@cache
def _plugin() -> str:
    """A folder with examples/plugin in it, put there by pip."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "plugin", Path(folder) / "source")
    words = "-m pip install -q --no-deps --no-build-isolation --no-index --target there ./source"
    subprocess.run([sys.executable, *words.split()], cwd=folder, check=True, capture_output=True)
    return f"{folder}/there"


def run_page(page: str, folder: Path, slow: bool = False) -> list[str]:
    """Runs what the page says; returns why blocks were left out. Raises PageError with the place and the output."""
    skipped: list[str] = []
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if not wanted(block, slow):
            continue
        if why := absent(block):
            skipped.append(why)
            continue
        run_block(block, folder, names)
    return skipped


def run_block(block: Block, folder: Path, names: dict[str, object]) -> None:
    """Runs one block, or writes the file that it is, or compares it with the file that is there."""
    if block.file and (ROOT / block.file).exists():
        if (ROOT / block.file).read_text() != block.text:
            raise PageError(f"{block.place}: not what {block.file} holds")
    elif block.file:
        (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.file).write_text(block.text)
    elif block.language == PYTHON:
        path = [*sys.path, _plugin()] if "plugin" in block.needs else sys.path
        with (
            contextlib.chdir(folder),
            contextlib.redirect_stdout(io.StringIO()),
            mock.patch.object(sys, "path", path),
        ):
            exec(compile("\n" * block.line + block.text, block.page, "exec"), names)
    elif block.language in (SHELL, CONSOLE):
        for command, shown in commands(block):
            said = run_command(command, folder, block.place, _plugin() if "plugin" in block.needs else "")
            if shown is not None and not alike(shown, said, "about" in block.marks):
                raise PageError(f"{block.place}: `{command}` printed\n{said}\nand the page shows\n{shown}\n"
                                f"if the new output is right: python -m tests.docs --write {block.page}")  # fmt: skip


def run_command(command: str, folder: Path, place: str = "", packages: str = "") -> str:
    """Standard output. Commands of Potluck run in this process, for every start costs half a second.

    Those that need other `packages` (a folder) have a process of their own.
    """
    words = shlex.split(command, comments=True)
    if words[0] == "potluck" and not packages and not _SHELL.search(command.partition(" #")[0]):
        status, said, problem = _inside(words, folder)
    else:
        made = subprocess.run(["bash", "-ec", command], cwd=folder, env=_environment(packages), text=True, check=False,
                              capture_output=True, stdin=subprocess.DEVNULL)  # fmt: skip
        status, said, problem = made.returncode, made.stdout, made.stderr
    if status != 0:
        raise PageError(f"{place}: `{command}` ended with {status}\n{said[-3000:]}\n{problem[-3000:]}")
    return said


def _inside(words: list[str], folder: Path) -> tuple[object, str, str]:
    from potluck import cli

    said, problem = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(problem),
        mock.patch.object(sys, "argv", words),
        mock.patch.dict(os.environ, _WIDTH),
    ):
        try:
            cli.main()
            status: object = 0
        except SystemExit as stop:
            status = stop.code or 0
    return status, _text(said), _text(problem)


def _text(stream: io.TextIOWrapper) -> str:
    """All that was written to it."""
    stream.seek(0)
    return stream.read()


_WIDTH = {"COLUMNS": "80", "LINES": "50"}


def _environment(packages: str) -> dict[str, str]:
    """PATH begins with this environment's programs, and has QEMU wherever CI put it."""
    folders = [str(Path(sys.executable).parent)]
    if qemu := os.environ.get("POTLUCK_QEMU"):
        folders.append(str(Path(qemu).parent))
    return {
        **os.environ,
        **_WIDTH,
        "PYTHONPATH": packages,
        "PATH": os.pathsep.join([*folders, os.environ.get("PATH", "")]),
    }


def alike(shown: str, said: str, about: bool = False) -> bool:
    """Whether output is what a page shows; `...` there stands for anything, trailing blanks do not count.

    With `about`, numbers may differ by a tenth and columns be of other widths: cycles change as the compiler does.
    """
    shown, said = tidy(shown), tidy(said)
    if not about:
        return re.fullmatch(".*?".join(map(re.escape, shown.split("..."))), said, re.S) is not None
    parts = re.split(rf"({_NUMBER}|\.\.\.|\s+)", shown)
    known = {"...": ".*?"}
    pattern = "".join(
        f"({_NUMBER})"
        if re.fullmatch(_NUMBER, part)
        else r"\s+"
        if part.isspace()
        else known.get(part, re.escape(part))
        for part in parts
    )
    found = re.fullmatch(pattern, said, re.S)
    pairs = zip(
        filter(re.compile(_NUMBER).fullmatch, parts), found.groups() if found else (), strict=bool(found)
    )
    values = [(float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs]
    return found is not None and all(abs(a - b) <= max(0.1 * abs(a), 3) for a, b in values)


_NUMBER = r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?!\w)"


def tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines()).strip("\n")


_VARYING = [
    (re.compile(r"in [\d.]+ s of host time \([^)]*\)"), "in ... s of host time (...)"),
]
"""What no two runs share."""


def renewed(block: Block, folder: Path) -> str:
    """A console block's text with the output that its commands print now."""
    made = []
    for command, shown in commands(block):
        said = run_command(command, folder, block.place, _plugin() if "plugin" in block.needs else "")
        if shown is not None and "..." in shown and alike(shown, said, "about" in block.marks):
            said = shown
        for pattern, instead in _VARYING:
            said = pattern.sub(instead, said)
        said = tidy(said)
        made.append(f"$ {command}\n{said}\n" if said else f"$ {command}\n")
    return "".join(made)


def renew(page: str) -> None:
    """Writes the page anew with the output of today's commands."""
    with tempfile.TemporaryDirectory() as name:
        folder, lines, shift = Path(name), (ROOT / page).read_text().splitlines(), 0
        lay_out(folder)
        make_files(folder)
        names: dict[str, object] = {}
        for block in blocks(page):
            if not wanted(block, False) or absent(block):
                continue
            if block.language != CONSOLE:
                run_block(block, folder, names)
                continue
            new, start = renewed(block, folder).splitlines(), block.line + shift
            old = len(block.text.splitlines())
            lines[start : start + old] = new
            shift += len(new) - old
        (ROOT / page).write_text("\n".join(lines) + "\n")
