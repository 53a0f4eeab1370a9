"""JSON and TOML from files that anybody wrote: plain values, or a ValueError that says in one line what is wrong.

The parsers themselves also raise RecursionError, for a file that nests without end.
"""

from __future__ import annotations

import json
import tomllib
from typing import Any


def json_of(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none, is not UTF-8, or nests too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def toml_of(text: str | bytes) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is none, is not UTF-8, or nests too deeply.
    """
    try:
        return tomllib.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Values by dotted key."""
    if isinstance(values, dict | list) and values:
        items = values.items() if isinstance(values, dict) else enumerate(values)
        return {
            k: v
            for key, value in items
            for k, v in flat(value, f"{prefix}.{key}" if prefix else str(key)).items()
        }
    return {prefix: values}
