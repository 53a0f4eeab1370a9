"""A seeded sample of the fuzzing here, the whole with ``pytest -m slow``; and that it would find what it looks for."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.fuzz.campaign import fuzz

pytest.importorskip("atheris")
READERS = ("onnx", "elf", "toml", "results")
SAMPLE, WHOLE = 4_000, 1_000_000


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_answers_any_file_with_our_errors(reader: str, tmp_path: Path) -> None:
    found = fuzz(reader, SAMPLE, 1, tmp_path)
    assert found.inputs == SAMPLE and not found.findings, "\n".join(found.findings)
    assert 0 < found.accepted < SAMPLE  # some get past all checks


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
def test_a_million_inputs(reader: str, tmp_path: Path) -> None:
    found = fuzz(reader, WHOLE, int(os.environ.get("POTLUCK_FUZZ_SEED", time.time_ns() % 10**6)), tmp_path)
    assert found.inputs == WHOLE and not found.findings, "\n".join(found.findings)


def test_what_it_would_find(tmp_path: Path) -> None:
    """A reader with an exception behind two comparisons, memory without bound, a logged traceback and an exit."""
    found = fuzz("planted", 10_000, 1, tmp_path)
    text = "\n".join(found.findings)
    for kind in (
        "ZeroDivisionError at planted.py",
        "memory",
        "logged a traceback: planted",
        "ended with status",
    ):
        assert kind in text, text[:3000]
