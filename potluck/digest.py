"""Hashes that name files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from potluck.isa.errors import DataError


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise DataError(f"cannot read {path}: {problem.strerror}") from None
