"""Finds power-of-two weights in INT8 networks, as TFLite converters and other QDQ tools store them.

A ``DequantizeLinear`` of INT8 weights whose integers are all levels of one code set becomes ``potluck.PotDequantize``
with the codes and the scales of the levels (`potluck.compiler.quantizers.pot.recover`). Everything else stays INT8:
first and last layers usually are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from potluck.compiler.functions import require
from potluck.compiler.graph.nodes import DOMAIN, add_constant, constant, drop_unused, fresh_name, integer
from potluck.compiler.passes.base import GraphPass
from potluck.compiler.passes.pot_release import correct_bias
from potluck.compiler.passes.quantize_integer import output_axis
from potluck.compiler.quantizers import pot
from potluck.isa.errors import ModelError
from potluck.isa.pot.codes import POT_FORMATS, QKERAS, PotFormat, pot_format

MIN_WEIGHTS = 32
"""Fewer integers may be levels by chance."""


@dataclass(frozen=True)
class RecoverPot(GraphPass):
    """See the module.

    Attributes:
        codes: Code set to look for; empty: whichever holds all integers of a tensor, from the fewest levels.
        compat_release: Keep PoTAcc's mixture of 127 and 128, see `potluck.compiler.passes.pot_release`.
        stored: ``int8``: round(127 level / top), as converters make them; ``levels``: the levels themselves.
    """

    name: ClassVar[str] = "recover_pot"
    codes: str = ""
    stored: pot.Stored = "int8"
    compat_release: bool = False

    def run(self, model: ir.Model) -> int:
        """See `GraphPass.run`; counts the weights.

        Raises:
            ModelError: No weights are levels of a code set.
        """
        wanted = pot_format(self.codes) if self.codes else None
        found = sum(self._recover(model, node, wanted) for node in list(model.graph))
        if not found:
            raise ModelError(
                "none of its INT8 weights are levels of a PoT code set",
                hint=f"Code sets: {', '.join(POT_FORMATS)}; quantize an FP32 network with their schemes",
            )
        drop_unused(model.graph)
        return found

    def _recover(self, model: ir.Model, node: ir.Node, wanted: PotFormat | None) -> bool:
        axis = output_axis(node)
        source = node.inputs[1].producer() if axis is not None and node.inputs[1] is not None else None
        if axis is None or source is None or source.op_type != "DequantizeLinear":
            return False
        codes, scale = constant(source.inputs[0]), constant(source.inputs[1])
        zero = constant(source.inputs[2]) if len(source.inputs) > 2 else None
        if codes is None or scale is None or codes.dtype != np.int8 or codes.size < MIN_WEIGHTS:
            return False
        if integer(source, "block_size", 0) or scale.dtype != np.float32 or (zero is not None and zero.any()):
            return False
        if scale.size > 1 and integer(source, "axis", 1) % codes.ndim != axis:
            return False
        channels = np.moveaxis(codes, axis, 0)
        kind = pot.detect(channels, stored=self.stored)
        if wanted is not None and kind is not wanted:
            kind = wanted if pot.holds(channels, wanted, stored=self.stored) else None
        if kind is None:
            return False
        release = self.compat_release and kind is QKERAS
        made = pot.recover(channels, scale, kind, stored=self.stored, compat_release=release)
        require(model, "PotDequantize")
        base = (source.inputs[0].name if source.inputs[0] is not None else None) or "weights"
        inputs = [
            add_constant(model.graph, f"{base}_pot", np.moveaxis(made.codes(), 0, axis).copy()),
            add_constant(model.graph, f"{kind}_levels", kind.table),
            add_constant(model.graph, f"{base}_scales", made.scale),
        ]
        attributes = [ir.AttrInt64("axis", axis)]
        found = ir.Node(DOMAIN, "PotDequantize", inputs, attributes, name=f"{base}_pot", num_outputs=1)
        old = source.outputs[0]
        found.outputs[0].shape, found.outputs[0].type = old.shape, old.type
        found.outputs[0].name = fresh_name(model.graph, f"{base}_values")
        model.graph.insert_before(node, found)
        node.replace_input_with(1, found.outputs[0])
        if release:
            correct_bias(model, node, made)
        return True
