"""The page of memory tables from rows as the benchmark writes them."""

from __future__ import annotations

from typing import Any

from potluck.benchmarks.memory_page import NAMES, curves, page

STACKS = ((0, "none"), (16, "RG alone (compat_artifact)"), (48, "ondie+CRC"))


def row(figure: str, value: float | None, reference: str = "") -> dict[str, Any]:
    return {"figure": figure, "value": value, "reference": reference}


def rows() -> list[dict[str, Any]]:
    found = [row("DSC syndromes that are correctable", 15031.0)]
    for scheme in NAMES:
        found += [
            row(f"{scheme}: accuracy without faults", 91.0),
            row(f"{scheme}: cycles an image, unprotected", 676282.0),
            row(f"{scheme}: energy an image, unprotected", 219.9),
        ]
        for bits, stack in STACKS:
            name = f"[{bits} bits/256] {stack}"
            seen = "95 % 10.0 to 20.5, 12 trials, 12 with wrong constants; observed BER 1e-3; MIS + UND 24, DUE 6"
            found += [
                row(f"{scheme}, events, raw BER 1e-03 (61 events a pass): {name}", 15.25, seen),
                row(f"{scheme}, uniform, raw BER 1e-05 (3.5 flips a pass): {name}", 90.5, seen),
                row(f"{scheme}, cycles: {name}", 0.0031),
                row(f"{scheme}, energy: {name}", 1.475),
            ]
    for kind in ("transient", "permanent"):
        for bits, stack in STACKS:
            seen = "95 % 1.0 to 2.0, 6 trials, 6 with wrong constants; MIS + UND 12, DUE 3"
            found.append(
                row(f"bf16_weights, one {kind} fault of a pin: [{bits} bits/256] {stack}", 8.4, seen)
            )
    found.append(row("RG-X / clamp, PoT byte, SE+SE, upper 95 %", 0.03838))
    found.append(row("RG-X / clamp, E2M1, SE+SE, upper 95 %", None))
    return found


def test_tables_are_grouped_by_stored_check_bits() -> None:
    text = page(rows())
    order = [text.index(f"### {bits} stored check bits per 256") for bits, _ in STACKS]
    assert order == sorted(order)
    assert "| MXFP8 (91) | events, 1e-03 | 61 events | 15.2 [10.0, 20.5] |" in text
    assert "| pin | permanent | 8: 2, 0.5 | 8: 2, 0.5 | 8: 2, 0.5 |" in text
    assert "| BF16 | 676,282 | 219.9 | +0.003, +1.48 |" in text
    assert "| PoT byte | 0.038 |" in text and "| E2M1 | n/a |" in text
    assert "RG alone (compat_artifact) (16)" in text


def test_rows_in_which_nothing_happens_are_named_instead() -> None:
    *tables, left = curves(rows())
    assert "1e-05" not in "".join(tables) and "PoT uniform 1e-05 (3.5 flips)" in " ".join(left.split())
