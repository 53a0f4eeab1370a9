"""Where a machine file says its values come from: the comment behind each value.

A comment begins with a tag: RTL (read from public RTL), DER (derived from it), FACT (published), INF (inferred), MEM
(from memory), CHOICE (ours). ``potluck isa`` shows it beside the value; the energy table has fields of its own for it.
"""

from __future__ import annotations

import re

TAGS = ("RTL", "DER", "FACT", "INF", "MEM", "CHOICE")

_SECTION = re.compile(r"\s*\[([\w.]+)\]")
_VALUE = re.compile(r"""\s*([\w-]+)\s*=\s*(?:"[^"]*"|'[^']*'|[^"'#])*#\s*(.*?)\s*$""")


def stated_sources(text: str) -> dict[str, str]:
    """Comments of a machine file by dotted key; a value without a comment is left out.

    >>> stated_sources('[timing]\\nfma = 3  # RTL: 2 + 1\\nmul = "1 + 2" # CHOICE')
    {'timing.fma': 'RTL: 2 + 1', 'timing.mul': 'CHOICE'}
    """
    found: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        if head := _SECTION.match(line):
            section = head.group(1) + "."
        elif value := _VALUE.match(line):
            found[section + value.group(1)] = value.group(2)
    return found
