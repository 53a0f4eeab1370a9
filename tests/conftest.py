"""Shared test settings."""

from __future__ import annotations

import os
import shutil

import pytest
from hypothesis import settings

# No test asserts a time: a busy machine is no reason to fail.
settings.register_profile("potluck", deadline=None)
settings.load_profile("potluck")


@pytest.fixture(scope="session")
def qemu() -> str:
    """Path of `qemu-riscv64`, 10.0 or later; without it the test is skipped, or fails if POTLUCK_REQUIRE_QEMU=1."""
    path = os.environ.get("POTLUCK_QEMU") or shutil.which("qemu-riscv64")
    if path and os.access(path, os.X_OK):
        return path
    text = "needs qemu-riscv64 on PATH or in POTLUCK_QEMU (Debian: qemu-user from backports)"
    if os.environ.get("POTLUCK_REQUIRE_QEMU") == "1":
        pytest.fail(text)
    pytest.skip(text)


@pytest.fixture(scope="session")
def rtl_tools() -> None:
    """Skip, with the reason, a hardware test whose tools the base installation lacks.

    Where they must be there (CI sets POTLUCK_REQUIRE_RTL=1) their absence is a failure.
    """
    from potluck.hdl import toolchain

    absent = [*toolchain.missing("rtl"), *toolchain.missing("synthesis")]
    if absent:
        needs = "; ".join(f"{found.tool.name}: {found.problem} ({found.tool.get})" for found in absent)
        text = f"hardware tests need tools (docs/rtl.md): {needs}"
        if os.environ.get("POTLUCK_REQUIRE_RTL") == "1":
            pytest.fail(text)
        pytest.skip(text)
