"""Quantization schemes and methods of ``--ptq``."""

from __future__ import annotations

from potluck.compiler.ptq import recipe
from potluck.compiler.schemes import schemes
from potluck.reference.markdown import cell, code, table

_HEAD = """# Schemes

Names that `--scheme` takes ([formats.md](../formats.md)), and methods that `--ptq` takes ([ptq.md](../ptq.md)).

## `--scheme`

"""


def page() -> str:
    """Markdown; a table of schemes and one of methods."""
    methods = [
        [
            code(name),
            cell(f"{method.default:g}: {method.number}" if method.number else ""),
            cell(method.summary),
        ]
        for name, method in recipe.METHODS.items()
    ]
    presets = [[code(name), "", cell(f"stands for {meaning}")] for name, meaning in recipe.PRESETS.items()]
    known = [[code(scheme.name), cell(scheme.summary)] for scheme in schemes().values()]
    return (
        _HEAD
        + table(("scheme", "operands and path"), known)
        + "\n## `--ptq`\n\n"
        + table(("method", "number after =", "what it does"), methods + presets)
    )
