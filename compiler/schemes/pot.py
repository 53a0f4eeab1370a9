"""Power-of-two weights with 8-bit activations."""

from __future__ import annotations

from potluck.compiler.passes.recover_pot import RecoverPot
from potluck.compiler.schemes.base import Scheme
from potluck.compiler.schemes.integer import product
from potluck.isa.pot.codes import POT_FORMATS

_SUMMARIES = {
    "pot_qkeras": "powers of two without zero (QKeras quantized_po2), scales powers of two",
    "pot_apot": "additive powers of two (APoT)",
    "pot_msq": "sums of two powers of two (MSQ's SP2)",
    "pot_zero": "powers of two and zero",
}
SCHEMES = (
    *(
        product(name, name, f"{_SUMMARIES[name]} in 4 bits, INT8 activations; widening INT8 multiply-adds")
        for name in POT_FORMATS
    ),
    Scheme(
        "pot_recover",
        "for INT8 QDQ networks: PoT levels found in their weights; widening INT8 multiply-adds",
        lambda options: (RecoverPot(compat_release=options.compat_release),),
        by_layer=False,
    ),
)
