"""docs/isa_coverage.md: which vector rows ran at which SEW and LMUL, masked and unmasked."""

from __future__ import annotations

from tests.differential.campaign import Campaign, cells
from tests.differential.scope import groups, skipped

LMULS = {5: "mf8", 6: "mf4", 7: "mf2", 0: "m1", 1: "m2", 2: "m4", 3: "m8"}
HEAD = """# Coverage of the differential campaign

Written by `python -m tests.differential` (see [differential.md](differential.md)); do not edit. One column per SEW; its
seven places are LMUL mf8 mf4 mf2 m1 m2 m4 m8. `+` ran masked and unmasked, `u` only unmasked (or has no masked form),
`m` only masked, `?` legal but not met, `.` illegal.
"""


def missing(campaign: Campaign) -> list[tuple[str, int, int]]:
    """Legal (mnemonic, vtype, masked) that the campaign has not executed."""
    rows = [row for group in groups().values() for row in group]
    return [cell for row in rows for cell in cells(row) if not campaign.coverage[cell]]


def markdown(campaign: Campaign) -> str:
    """The whole page."""
    lines = [
        HEAD,
        "| group | instructions retired | runs compared | unexplained | latitude |",
        "|---|---|---|---|---|",
    ]
    for name, tally in campaign.tallies.items():
        latitude = ", ".join(f"{why}: {count}" for why, count in sorted(tally.latitude.items())) or "none"
        counts = f"{tally.instructions:,} | {tally.runs:,} | {len(tally.findings)}"
        lines.append(f"| {name} | {counts} | {latitude} |")
    lines += ["", "## Rows that did not run", "", "| instruction | why |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in sorted(skipped().items())]
    lines += ["", "## Vector rows", "", "| instruction | e8 | e16 | e32 | e64 |", "|---|---|---|---|---|"]
    for rows in groups().values():
        for row in rows:
            if row.is_vector:
                legal = {(vtype, masked) for _, vtype, masked in cells(row)}
                places = [_places(campaign, row.mnemonic, legal, sew) for sew in range(4)]
                lines.append(f"| `{row.mnemonic}` | " + " | ".join(f"`{text}`" for text in places) + " |")
    return "\n".join(lines) + "\n"


def _places(campaign: Campaign, mnemonic: str, legal: set[tuple[int, int]], sew: int) -> str:
    text = ""
    for lmul in LMULS:
        vtype = sew << 3 | lmul
        plain, masked = (campaign.coverage[mnemonic, vtype, m] > 0 for m in (0, 1))
        if (vtype, 0) not in legal:
            text += "."
        else:
            text += {(True, True): "+", (True, False): "u", (False, True): "m", (False, False): "?"}[
                plain, masked
            ]
    return text
