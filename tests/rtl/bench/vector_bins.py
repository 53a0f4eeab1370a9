"""What the operands of a lane's tests must have met, per datapath."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from potluck.isa.arithmetic.floating import DZ, NV, NX, OF, UF
from tests.rtl.bench.vector_cases import form
from tests.rtl.bench.vector_lanes import Codes, Work

CLASSES = ("zero", "subnormal", "normal", "inf", "quiet", "signalling")
FLAG_SETS = {"none": 0, "NV": NV, "DZ": DZ, "NX": NX, "OF NX": OF | NX, "UF NX": UF | NX}


def classes(codes: Codes, bf16: bool) -> NDArray[np.str_]:
    """Class of every float."""
    of = form(codes.dtype.itemsize * 8, bf16)
    size = codes.astype(np.uint64) & np.uint64(of.sign - 1)
    field, fraction = size >> np.uint64(of.mantissa), size & np.uint64((1 << of.mantissa) - 1)
    special, empty = field == 2 * of.bias + 1, fraction == 0
    quiet = (fraction & np.uint64(of.quiet_bit)) != 0
    return np.select(
        [special & empty, special & quiet, special, (field == 0) & empty, field == 0],
        ["inf", "quiet", "signalling", "zero", "subnormal"],
        "normal",
    )


def met(work: Work, codes: Codes, flags: NDArray[np.uint8], saturated: NDArray[np.bool_]) -> set[str]:
    """The bins that some active element falls into."""
    op, on = work.op, work.active
    of = f"{op.code} {work.sew}"
    found = set()
    if op.unit in ("fma", "noncomp", "float_divide", "convert") and op.code != "from_integer":
        bf16 = "bf16" in op.flags
        a = classes(work.a, bf16)[on]
        found |= {f"{of} a {name}" for name in np.unique(a)}
        if op.unit != "convert" and op.code != "fwiden":
            pairs = np.char.add(np.char.add(a, " "), classes(work.b, bf16)[on])
            found |= {f"{op.unit} {work.sew} {pair}" for pair in np.unique(pairs)}
        numbers = np.unique(flags[on])
        found |= {
            f"{of} rm{work.context.frm} {name}" for name, value in FLAG_SETS.items() if value in numbers
        }
    if work.insn.attributes.get("saturates"):
        found |= {f"{of} saturated {bool(each)}" for each in np.unique(saturated[on])}
    if "compare" in op.flags:
        found |= {f"{of} {int(each)}" for each in np.unique(codes[on])}
    if "vxrm" in work.insn.parameters:
        found.add(f"{of} vxrm{work.vxrm}")
    return found


def wanted(unit: str) -> set[str]:
    """The bins of a datapath."""
    sews, all_sews, modes = (16, 32, 64), (8, 16, 32, 64), range(5)
    pairs = [f"{a} {b}" for a in CLASSES for b in CLASSES]
    found: set[str] = set()
    if unit in ("fma", "noncomp", "float_divide"):
        found |= {f"{unit} {sew} {pair}" for sew in sews for pair in pairs}
    if unit == "fma":
        found |= {f"{code} {sew} rm{mode} {flags}" for code in ("facc", "fmadd", "fmul") for sew in sews
                  for mode in modes for flags in FLAG_SETS if flags != "DZ"}  # fmt: skip
        found |= {f"fadd {sew} rm{mode} {flags}" for sew in sews for mode in modes
                  for flags in ("none", "NV", "NX", "OF NX")}  # fmt: skip
    if unit == "float_divide":
        found |= {f"fdiv {sew} rm{mode} {flags}" for sew in sews for mode in modes for flags in FLAG_SETS}
        found |= {
            f"fsqrt {sew} rm{mode} {flags}"
            for sew in sews
            for mode in modes
            for flags in ("none", "NV", "NX")
        }
    if unit == "noncomp":
        found |= {
            f"{code} {sew} a {name}"
            for code in ("classify", "rec7", "rsqrt7")
            for sew in sews
            for name in CLASSES
        }
        found |= {
            f"rec7 {sew} rm{mode} {flags}"
            for sew in sews
            for mode in modes
            for flags in ("none", "NV", "DZ", "OF NX")
        }
        found |= {
            f"{code} {sew} {bit}" for code in ("feq", "fne", "flt", "fle") for sew in sews for bit in (0, 1)
        }
    if unit == "convert":
        found |= {
            f"to_integer {sew} rm{mode} {flags}"
            for sew in all_sews
            for mode in modes
            for flags in ("none", "NV", "NX")
        }
        found |= {f"to_float {sew} rm{mode} {flags}" for sew in (8, 16, 32) for mode in modes
                  for flags in ("none", "NV", "NX", "OF NX", "UF NX")}  # fmt: skip
        found |= {f"to_float {sew} a {name}" for sew in (8, 16, 32) for name in CLASSES}
    if unit == "integer":
        found |= {f"{code} {sew} vxrm{mode}" for code in ("add_average", "sub_average", "shift_rounding")
                  for sew in all_sews for mode in range(4)}  # fmt: skip
        found |= {f"{code} {sew} saturated {bit}" for code in ("add_saturating", "sub_saturating")
                  for sew in all_sews for bit in (False, True)}  # fmt: skip
        found |= {f"clip {sew} saturated {bit}" for sew in (8, 16, 32) for bit in (False, True)}
        found |= {f"clip {sew} vxrm{mode}" for sew in (8, 16, 32) for mode in range(4)}
        found |= {f"{code} {sew} {bit}" for code in ("equal", "different", "less", "less_equal", "carry", "borrow")
                  for sew in all_sews for bit in (0, 1)}  # fmt: skip
    if unit == "multiply":
        found |= {f"fractional {sew} saturated {bit}" for sew in all_sews for bit in (False, True)}
        found |= {f"fractional {sew} vxrm{mode}" for sew in all_sews for mode in range(4)}
    return found
