"""Every command of README and docs runs as written, or its block says why not by a declared marker."""

from __future__ import annotations

import itertools
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from potluck import cli
from tests.docs.pages import (
    CONSOLE,
    MARKERS,
    NEEDS,
    PYTHON,
    ROOT,
    SHELL,
    SHOWN,
    blocks,
    commands,
    pages,
    prose,
)
from tests.docs.running import OPENING, PageError, alike, lay_out, make_files, run_block, run_page, wanted

EVERY = [block for page in pages() for block in blocks(page)]
RUN = [page for page in pages() if any(wanted(block, True) for block in blocks(page))]
PROGRAMS = ("potluck", "python", "python3", "pip", "qemu-riscv64", ".venv/bin/", "pytest", "sphinx-build")
REQUIRED = {
    "qemu": "POTLUCK_REQUIRE_QEMU",
    "torch": "POTLUCK_REQUIRE_TRAIN",
    "zoo": "POTLUCK_REQUIRE_MODELS",
    "rtl": "POTLUCK_REQUIRE_RTL",
    "programs": "POTLUCK_REQUIRE_PROGRAMS",
    "zig": "POTLUCK_REQUIRE_PROGRAMS",
}
"""Tool -> the variable by which CI says that it is there."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that all pages speak of."""
    folder = tmp_path_factory.mktemp("files")
    make_files(folder)
    return folder


@pytest.fixture
def folder(files: Path, tmp_path: Path) -> Path:
    lay_out(tmp_path)
    for path in files.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("page", RUN)
def test_the_page_runs_as_written(page: str, folder: Path) -> None:
    for why in run_page(page, folder):
        tool = why.rpartition(" ")[2]
        assert not os.environ.get(REQUIRED[tool]), why


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in RUN if any("slow" in block.marks for block in blocks(p))])
def test_the_page_runs_with_all_that_is_slow(page: str, folder: Path) -> None:
    run_page(page, folder, slow=True)


def test_every_block_says_what_it_is() -> None:
    """A language that is run, a language that is only shown, or a file; and no marker but the declared ones."""
    known = set(MARKERS) - {"needs:"} | {f"needs:{need}" for need in NEEDS}
    for block in EVERY:
        assert block.language, (
            f"{block.place}: say the language of the block ({', '.join(sorted(SHOWN))}, sh ...)"
        )
        if block.file:
            continue
        assert block.language in {SHELL, CONSOLE, PYTHON, "toml"} | SHOWN, block.place
        assert set(block.marks) <= known, f"{block.place}: {block.mark}"
        assert not block.marks or block.language in (SHELL, CONSOLE, PYTHON), block.place
        assert "fragment" not in block.marks or block.language == PYTHON, block.place
        assert "about" not in block.marks or block.language == CONSOLE, block.place


def test_markers_are_documented() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    for marker, meaning in MARKERS.items():
        assert f"| `{marker}" in page and re.split("[:;,]", meaning)[0] in page, marker


def test_only_what_installs_is_marked_so() -> None:
    words = re.compile(r"\b(install|venv|download|fetch|fetch_programs|POTLUCK_LIBERTY)\b")
    for block in EVERY:
        if "install" in block.marks:
            kept = [command for command, _ in commands(block) if not words.search(command)]
            rest = [c for c in kept if not re.fullmatch(r"\.venv/bin/(potluck|python).*", c)]
            assert not rest, (block.place, rest)


def test_no_command_hides_in_a_block_that_is_only_shown() -> None:
    for block in EVERY:
        if block.language in SHOWN and not block.file:
            for line in block.text.splitlines():
                assert not line.removeprefix("$ ").startswith(tuple(f"{p} " for p in PROGRAMS)), block.place
    for page in pages():
        for number, line in enumerate(prose(page).splitlines(), 1):
            command = line.startswith("    ") and line.strip().startswith(tuple(f"{p} " for p in PROGRAMS))
            assert not command, f"{page}:{number}: fence it"


@cache
def _app() -> Any:
    return typer.main.get_command(cli.app)


def _options(words: list[str]) -> tuple[Any, set[str]]:
    """The command that words begin with, and its options."""
    command: Any = _app()
    for word in words:
        if not hasattr(command, "commands"):
            break
        inner = command.commands.get(word)  # type: ignore[union-attr]
        if inner is None:
            return None, set()
        command = inner
    assert command is not None
    return command, set(itertools.chain.from_iterable(
        (*p.opts, *p.secondary_opts) for p in command.params)) | {"--help"}  # fmt: skip


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:
        return text.split()


@pytest.mark.parametrize("page", pages())
def test_commands_in_prose_exist(page: str) -> None:
    """`potluck X --option` in a sentence or a table: the command is there, and so is every option."""
    said = re.findall(r"`(potluck [^`]*)`", re.sub(r"\s*\n\s*", " ", prose(page)).replace("\\|", "|"))
    marked = [command for block in blocks(page) for command, _ in commands(block)]
    for text in (*said, *(c for c in marked if c.startswith("potluck "))):
        words = _words(text)[1:]
        command, options = _options([word for word in words if re.fullmatch(r"[a-z-]+", word)][:2])
        if not words or words[0].isupper() or words[0] in ("X", "..."):
            continue
        assert command is not None, f"{page}: `{text}`: no such command"
        for word in itertools.takewhile(lambda word: word != "--", words):
            if word.startswith("--") and not words[0].startswith("-"):
                assert word.partition("=")[0] in options, f"{page}: `{text}`: no option {word}"


def test_the_opening_page_makes_the_files(files: Path) -> None:
    named = set(re.findall(r"`([a-z]+\.(?:onnx|npz))`", (ROOT / OPENING).read_text()))
    assert {path.name for path in files.iterdir()} == named == {
        "model.onnx", "samples.npz", "calibration.npz", "x.npz"}  # fmt: skip


def test_a_wrong_page_is_found(tmp_path: Path) -> None:
    """The runner itself: output that differs, a command that fails, Python that fails, a file that differs."""
    from tests.docs.pages import Block

    def tried(language: str, text: str, mark: str = "") -> None:
        run_block(Block("p.md", 1, language, mark, text), tmp_path, {})

    tried(CONSOLE, "$ echo one two\none ...\n")
    for language, text, mark in (
        (CONSOLE, "$ echo one\ntwo\n", ""),
        (SHELL, "false\n", ""),
        (SHELL, "potluck isa nope\n", ""),
        (PYTHON, "", "examples/plugin/pyproject.toml"),
    ):
        with pytest.raises(PageError):
            tried(language, text, mark)
    with pytest.raises(NameError):
        tried(PYTHON, "nobody\n")
    tried(PYTHON, "x = 1\n", "made.py")
    assert (tmp_path / "made.py").read_text() == "x = 1\n"
    assert alike("a ...\nc", "a b  \nc\n") and not alike("a ... c", "a b")
    assert alike("1,000 cycles ... s", "  1,090 cycles 7 s".strip(), about=True)
    assert not alike("1,000 cycles", "1,110 cycles", about=True) and not alike(
        "1,000 a", "1,000 b", about=True
    )
