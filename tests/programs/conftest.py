"""The compiler that the programs need."""

from __future__ import annotations

import importlib.util
import os

import pytest

from tests.programs.declared import PACKAGE


@pytest.fixture(scope="session")
def zig() -> None:
    """Skip without the compiler, or fail if it must be there (CI: POTLUCK_REQUIRE_PROGRAMS=1)."""
    if importlib.util.find_spec("ziglang") is None:
        text = f"needs a C compiler for RISC-V: pip install {PACKAGE}"
        if os.environ.get("POTLUCK_REQUIRE_PROGRAMS") == "1":
            pytest.fail(text)
        pytest.skip(text)
