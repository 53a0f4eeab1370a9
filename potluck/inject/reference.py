"""The quantized ONNX graph on onnxruntime, with faulty weights as inputs: what a campaign runs instead of the machine.

Integer networks give the machine's outputs bit for bit, as long as every product sum is exact in FP32 (checked); in
FP32 and MX networks the order of the sums differs, so outputs agree to rounding. Activations are clipped as the
machine clips them (a NaN becomes the bound) and MX operands are quantized by standard operators that onnxruntime has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper

from potluck.inject.decode import (
    DECODERS,
    Array,
    Image,
    Parameter,
    bias_values,
    buffers_by_tensor,
    fitted,
    initializers,
    not_taken_back,
    same,
    slices_of,
    sums_and_factors,
)
from potluck.inject.rewrite import runnable, with_biases
from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.isa.manifest import Buffer
from potluck.sim.ecc.interface import Words
from potluck.sim.faults.parts import Part

EXACT = 1 << 24
"""Sums of integers up to here are exact in FP32, in any order."""


class NotExact(Exception):
    """The weights of this trial have no exact meaning here; the machine has to run it."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A network and where its weights lie.

    Attributes:
        session: of onnxruntime.
        parameters: graph inputs besides the network's own.
        parts: of the program.
        base: address of DRAM.
        batch: samples of a run of the session.
        zero_points: of the activation that a product's levels multiply, by the levels' name.
    """

    session: onnxruntime.InferenceSession
    parameters: tuple[Parameter, ...]
    parts: tuple[Part, ...]
    base: int
    batch: int
    zero_points: dict[str, int]

    def feeds(self, words: Sequence[Words]) -> dict[str, Array]:
        """The parameters that words as read stand for.

        Raises:
            NotExact: levels are so large that sums are not exact, here or in the 16 bits that they were sized for.
        """
        image = Image(self.parts, words, self.base)
        found: dict[str, Array] = {}
        for p in self.parameters:
            if p.kind in DECODERS:
                found[p.name] = DECODERS[p.kind](p, image)
                if p.kind == "levels":
                    self._check(p, found[p.name])
        for p in self.parameters:
            if p.kind in DECODERS:
                continue
            weights = self._named(p.weights)
            slices = sum(slices_of(b) for b in weights.buffers if not b.layout.endswith("blocks"))
            if p.kind == "bias":
                found[p.name] = bias_values(p, image, slices)
                continue
            folded, factors = sums_and_factors(p, image, slices)
            if p.kind == "factor":
                found[p.name] = factors.reshape(p.clean.shape)
                continue
            levels = found[p.weights].astype(np.int64)
            axes = tuple(range(1, levels.ndim)) if levels.ndim == 4 else (0 if weights.transposed else 1,)
            sums = folded.astype(np.int64) + self.zero_points[p.weights] * levels.sum(axis=axes)
            bias = (sums + (1 << 31)) % (1 << 32) - (1 << 31)  # the machine's sums are modulo 2^32
            found[p.name] = bias.astype(np.int32).reshape(p.clean.shape)
        return found

    def _named(self, name: str) -> Parameter:
        return next(p for p in self.parameters if p.name == name)

    @staticmethod
    def _check(p: Parameter, levels: Array) -> None:
        magnitudes = np.abs(levels.astype(np.int64))
        if (
            any("table" in b.layout for b in p.buffers)
            and magnitudes.max() > np.abs(p.clean.astype(np.int64)).max()
        ):
            raise NotExact(p.name)  # sums in 16 bits are sized for the clean levels
        axes = tuple(range(1, levels.ndim)) if levels.ndim == 4 else (0 if p.transposed else 1,)
        if int(magnitudes.sum(axis=axes).max()) * 255 >= EXACT:
            raise NotExact(p.name)

    def run(self, inputs: Mapping[str, Array], words: Sequence[Words]) -> Array:
        """The network's first output for as many samples as there are.

        Args:
            inputs: by name, the first axis counting samples.
            words: of each part, as read.

        Raises:
            NotExact: see `feeds`.
        """
        feeds = self.feeds(words)
        count = len(next(iter(inputs.values())))
        outputs = []
        for first in range(0, count, self.batch):
            some = {k: v[first : first + self.batch] for k, v in inputs.items()}
            missing = self.batch - len(next(iter(some.values())))
            padded = {k: np.concatenate([v, np.repeat(v[-1:], missing, axis=0)]) for k, v in some.items()}
            out = self.session.run(None, {**padded, **feeds})[0]
            outputs.append(out[: self.batch - missing])
        return np.concatenate(outputs)


def reference(model: ir.Model, program: Program, parts: Sequence[Part], base: int, batch: int) -> Reference:
    """The reference of a program.

    Args:
        model: what the program was compiled from, prepared (`compiler.build.prepare`) for a batch.
        program: compiled.
        parts: its constants, all of them.
        base: address of DRAM.
        batch: samples of a run, as in `model`.

    Raises:
        DataError: a tensor that cannot be taken back from DRAM, or a function that onnxruntime cannot run.
    """
    proto = ir.to_proto(model)
    constants, tensors = initializers(proto), buffers_by_tensor(program.manifest, parts)
    image = Image(parts, [part.clean for part in parts], base)
    shared = buffers_by_tensor(program.manifest, parts, shared=True)
    biases = with_biases(proto, shared)
    known = {name: held for name, held in tensors.items() if name not in biases}
    wanted, zeros = _parameters(proto, constants, known)
    wanted += [
        Parameter(name, zero, shared[name], "bias", weights) for name, (weights, zero) in biases.items()
    ]
    weights = {p.name: fitted(p, image) for p in wanted if p.kind in DECODERS}
    made = [weights.get(p.name) or replace(p, width=weights[p.weights].width) for p in wanted]
    types = {"levels": TensorProto.INT16, "sums": TensorProto.INT32}
    of_array = helper.np_dtype_to_tensor_dtype
    graph_inputs = [
        helper.make_tensor_value_info(p.name, types.get(p.kind) or of_array(p.clean.dtype), p.clean.shape)
        for p in made
    ]
    fed = {p.name for p in made}
    ready = runnable(proto, graph_inputs, fed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(ready.SerializeToString(), options, ["CPUExecutionProvider"])
    except Exception as problem:
        raise DataError(f"onnxruntime cannot run the quantized graph: {str(problem).splitlines()[0]}",
                        hint="Use the engine sim") from None  # fmt: skip
    found = Reference(session, tuple(made), tuple(parts), base, batch, zeros)
    clean = found.feeds([part.clean for part in parts])
    for p in made:
        if not same(clean[p.name], p.clean.astype(clean[p.name].dtype)):
            raise not_taken_back(p.name)
    return found


def _parameters(
    proto: onnx.ModelProto, constants: dict[str, Array], tensors: Mapping[str, tuple[Buffer, ...]]
) -> tuple[list[Parameter], dict[str, int]]:
    """Graph values that lie in DRAM, and the zero point of the activation beside each integer weight."""
    found: dict[str, Parameter] = {}
    zeros: dict[str, int] = {}
    for node in proto.graph.node:
        kind = node.op_type.removeprefix("Fused")
        if kind == "DequantizeLinear" and node.output[0] in tensors:
            name = node.output[0]
            values = _dequantized(constants[node.input[0]], constants[node.input[1]], node)
            found[name] = Parameter(name, values, tensors[name], "mx")
        elif kind == "Cast" and node.output[0] in tensors:
            name = node.output[0]
            values = constants[node.input[0]].astype(np.float32)
            found[name] = Parameter(name, values, tensors[name], "values")
        elif kind.startswith(("IntegerConv", "IntegerMatMul")) and node.input[2] in tensors:
            levels, bias, factor = node.input[2], node.input[3], node.input[4]
            if not kind.endswith(("Ort", "Float")) or bias not in tensors:
                raise not_taken_back(bias)
            found[levels] = Parameter(levels, constants[levels].astype(np.int16), tensors[levels], "levels")
            for name, role in ((bias, "sums"), (factor, "factor")):
                found[name] = Parameter(name, constants[name], tensors[bias], role, levels)
            zeros[levels] = int(constants[node.input[1]])
        elif kind in ("Conv", "Gemm", "MatMul"):
            weight = node.input[1]
            if weight in tensors and weight not in found:
                found[weight] = Parameter(weight, constants[weight], tensors[weight], "values")
            if len(node.input) > 2 and node.input[2] in tensors:
                name = node.input[2]
                found[name] = Parameter(name, constants[name], tensors[name], "bias", weight)
    for name, buffers in tensors.items():
        if name in found:
            continue
        if name not in constants or len(buffers) != 1 or buffers[0].bytes != constants[name].nbytes:
            raise not_taken_back(name)
        found[name] = Parameter(name, constants[name], buffers, "rows")
    return list(found.values()), zeros


def _dequantized(codes: Array, scales: Array, node: onnx.NodeProto) -> NDArray[np.float32]:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    axis, block = attributes.get("axis", 1), attributes.get("block_size", 0)
    spread = np.repeat(scales.astype(np.float32), block, axis)[
        (slice(None),) * axis + (slice(codes.shape[axis]),)
    ]
    return np.asarray(codes.astype(np.float32) * spread, np.float32)
