"""Every element format."""

from __future__ import annotations

from potluck.isa.formats.elements import FORMATS, ElementFormat
from potluck.reference.markdown import cell, code, table

_HEAD = """# Number formats

Elements of tensors and of MX blocks. What is made of them, and how each is checked, says
[formats.md](../formats.md).

"""
_COLUMNS = (
    "format",
    "bits",
    "exponent",
    "mantissa",
    "bias",
    "largest",
    "smallest normal",
    "infinity",
    "NaN",
    "ONNX",
)


def page() -> str:
    """Markdown; a row per format."""
    return _HEAD + table(_COLUMNS, map(_row, FORMATS.values()))


def _row(element: ElementFormat) -> list[str]:
    least = "" if element.kind != "float" else f"2^{1 - element.bias}"
    return [
        code(element.name),
        str(element.bits),
        str(element.exponent_bits),
        str(element.mantissa_bits),
        str(element.bias),
        cell(f"{element.max_normal:g}"),
        least,
        "yes" if element.has_inf else "no",
        {"ieee": "as IEEE 754", "all_ones": "all ones", "none": "no"}[element.nan],
        code(element.onnx),
    ]
