"""V 1.0: instructions that walk a mask from element 0 on (15.4 to 15.8, 16.5).

* Set-before-first and its kin have ``attributes["first"]``: the meaning gets the first set active bit as a one in a
  64-bit word (0 if the word has none, and then nothing precedes the search's end), and the words after it become 0.
* Kind.SCAN: the meaning gets the number of set bits met so far (``count``) and this element's bit (``bit``), and
  returns the index to write, the value, and whether to write.

All of them are illegal with vstart other than 0 (``attributes["vstart0"]``), and vd overlaps no source, nor the mask.
"""

from __future__ import annotations

from typing import Any

from potluck.isa.insn import Insn, Kind

OP = "1010111"
_WHOLE: dict[str, Any] = {"vstart0": True, "no_overlap": True}

ROWS = [
    *(Insn(f"{name}.m", f"010100 vm vs2 {code} 010 vd {OP}", "vd:u8, vs2:u8, vm", Kind.MASK, "vmask", f, doc, "V",
           {**_WHOLE, "first": True})
      for name, code, f, doc in (
        ("vmsbf", "00001", lambda vs2: vs2 - 1, "Set the bits before the first set bit of a mask."),
        ("vmsof", "00010", lambda vs2: vs2, "Set the first set bit of a mask alone."),
        ("vmsif", "00011", lambda vs2: vs2 - 1 | vs2, "Set the bits up to the first set bit of a mask."))),
    Insn("viota.m", f"010100 vm vs2 10000 010 vd {OP}", "vd:u, vs2:u8, vm", Kind.SCAN, "vscan",
         lambda i, count: (i, count, None), "Count the set bits of a mask below each element.", "V",
         {**_WHOLE, "selector": "vs2"}),
    Insn("vcompress.vm", f"010111 1 vs2 vs1 010 vd {OP}", "vd:u, vs2:u, vs1:u8", Kind.SCAN, "vscan",
         lambda vs2, count, bit: (count, vs2, bit), "Pack the elements that a mask selects.", "V",
         {**_WHOLE, "selector": "vs1"}),
]  # fmt: skip
