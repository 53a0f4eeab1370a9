"""Campaigns that live in the source checkout's tests, which installed packages do not have."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from potluck.isa.errors import ToolError

ROOT = Path(__file__).resolve().parents[1]


def checkout(name: str) -> Any:
    """A module of the checkout's tests.

    Raises:
        ToolError: there is no checkout.
    """
    if not (ROOT / "tests" / "differential").is_dir():
        raise ToolError(f"{name} is part of the source checkout", tool=name,
                        hint="Run the bench from a checkout installed with pip install -e .")  # fmt: skip
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return import_module(name)
