"""Bell Box codes: quantization of activations, and products (`potluck.compiler.functions.bbq`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from potluck.compiler.graph.nodes import DOMAIN, constant, integer, is_op, label, real, shape_of, title
from potluck.compiler.graph.reading import geometry_of, open_bounds
from potluck.compiler.lowering.adapters import floats as read_floats
from potluck.compiler.lowering.adapters import write
from potluck.compiler.lowering.bits import BitsPlan
from potluck.compiler.lowering.conv import ConvPlan
from potluck.compiler.lowering.kernel_tile import KernelTile
from potluck.compiler.lowering.packing import IntegerWeights
from potluck.compiler.lowering.stream import Stream
from potluck.compiler.lowering.windows import Geometry
from potluck.compiler.operators.base import operator, stream
from potluck.compiler.schedule.layer import Memory
from potluck.isa.formats.bbq import BLOCKS, BbqFormat, pack_planes
from potluck.kernels.conv.int8 import MOST_STEPS
from potluck.kernels.elementwise_int8 import Affine
from potluck.kernels.matmul.bits import GemmBits
from potluck.kernels.quantize.bbq import QuantizeBbq
from potluck.kernels.requantize import Finish

if TYPE_CHECKING:
    from collections.abc import Sequence

    from potluck.compiler.selection import Selector

QUANTIZERS = ("BbqQuantize", "BbqQuantizeImage")
PRODUCTS = ("BbqMatMul", "BbqConv")
INT16 = 32767
CODES = Affine(1.0, 0, False)
"""Codes are integers as they are."""
FORMATS = {
    (kind.lowest, kind.multiple, kind.levels): kind
    for kind in (BbqFormat(bits, z) for bits in (1, 2, 3, 4) for z in (-0.5, 0.0))
}


def format_of(node: ir.Node) -> BbqFormat | None:
    """The codes of a quantizer, None if they are none of BBQ's."""
    limits = constant(node.inputs[2])
    size = 0 if limits is None else limits.size + 1
    return FORMATS.get((integer(node, "lowest", 0), integer(node, "multiple", 0), size))


def _quantizer(value: ir.Value | None) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and is_op(node, *QUANTIZERS, domain=DOMAIN) else None


def _quantize(node: ir.Node) -> str | None:
    data = node.inputs[0]
    assert data is not None
    if data.dtype not in (None, ir.DataType.FLOAT):
        return "its input is not FLOAT"
    shape, block = shape_of(data, node), integer(node, "block", 0)
    image = node.op_type == "BbqQuantizeImage"
    if image and len(shape) != 4:
        return f"its input has {len(shape)} dimensions, only images (4) have channels to rotate along"
    channels = shape[1] if image else shape[-1]
    if block not in BLOCKS or channels % block:
        return f"its block of {block} does not divide {channels} channels, or is none of {sorted(BLOCKS)}"
    rate = constant(node.inputs[1])
    if rate is None or rate.size != 1 or format_of(node) is None:
        return "its rate, thresholds and codes are not those of a constant BBQ format"
    limits = constant(node.inputs[2])
    assert limits is not None
    if np.any(np.abs(limits.astype(np.int64)) >= 2**15) or np.any(np.diff(limits.astype(np.int64)) < 0):
        return "its thresholds do not ascend within 16 bits"
    if node.outputs[0].is_graph_output():
        return "its codes are an output of the network, which is FP32 on the machine"
    for usage in node.outputs[0].uses():
        if usage.idx or not is_op(usage.node, *PRODUCTS, domain=DOMAIN):
            return f"its codes feed {usage.node.op_type}, only BBQ products take them"
    return None


def _product(node: ir.Node) -> str | None:
    weights = constant(node.inputs[1])
    if weights is None or any(constant(item) is None for item in node.inputs[2:4]):
        return "its weights, factors or bias are computed at run time"
    if _quantizer(node.inputs[0]) is None:
        return "its first operand is not the result of a BBQ quantizer"
    wanted = 4 if node.op_type == "BbqConv" else 2
    if weights.ndim != wanted or np.abs(weights.astype(np.int64)).max(initial=0) > 15:
        return f"its weights are not BBQ codes in {wanted} dimensions"
    if integer(node, "group", 1) != 1:
        return f"it has {integer(node, 'group', 1)} groups; only 1 has a kernel"
    return None


def planes_of(node: ir.Node) -> bool:
    """Whether a quantizer's codes become bit planes: 1 or 2 symmetric bits that only such weights are multiplied by."""
    kind = format_of(node)
    if kind is None or kind.bits > 2 or not kind.zero_point or node.op_type != "BbqQuantize":
        return False
    return all(
        set(np.unique(constant(usage.node.inputs[1])).tolist()) <= set(kind.codes.tolist())  # type: ignore[arg-type]
        for usage in node.outputs[0].uses()
    )


class QuantizeBbqTile(KernelTile[QuantizeBbq]):
    """Arguments: values, codes, rows."""

    def evaluate(self, memory: Memory, args: Sequence[int]) -> None:
        """See `TileKernel`."""
        x, out, rows = args
        if rows:
            write(memory, out, self.kernel.contract(read_floats(memory, x, rows, self.kernel.k)))


@operator(f"{DOMAIN}.BbqQuantizeImage", rule=_quantize, order="NHWC")
@operator(f"{DOMAIN}.BbqQuantize", rule=_quantize, order="row")
def _plan_quantize(selector: Selector, node: ir.Node) -> None:
    """FP32 activation to codes or bit planes."""
    image = node.op_type == "BbqQuantizeImage"
    x, kind = selector.tensor(node.inputs[0], node, channels_last=image), format_of(node)
    rate, limits = constant(node.inputs[1]), constant(node.inputs[2])
    assert kind is not None and rate is not None and limits is not None
    planes, vlen = planes_of(node), 0 if selector.target.flat else selector.target.vlen
    kernel = QuantizeBbq(
        x.channels, integer(node, "block", 0), kind, float(rate.reshape(())),
        tuple(int(limit) for limit in limits.reshape(-1)), planes, vlen,
    )  # fmt: skip
    if planes:
        name = node.outputs[0].name or label(node)
        y = selector.fresh(name, (x.pixels, kernel.row_bytes), "uint8")
        selector.tensors[node.outputs[0]] = y
    else:
        y = selector.new(node.outputs[0], channels_last=image, affine=CODES)
    outputs = (Stream(y, kernel.row_bytes),)
    stream(
        selector, node, (Stream(x, 4 * x.channels),), outputs, x.pixels, QuantizeBbqTile(kernel), 1, f"bbq{kind.bits}"
    )  # fmt: skip


def _values(node: ir.Node, at: int, channels: int) -> NDArray[np.float32]:
    array = constant(node.inputs[at])
    assert array is not None
    return np.ascontiguousarray(np.broadcast_to(np.asarray(array, np.float32).reshape(-1), (channels,)))


def _levels(node: ir.Node) -> tuple[NDArray[np.int64], str]:
    value = node.inputs[1]
    array = constant(value)
    assert array is not None and value is not None
    return array.astype(np.int64), value.name or f"{label(node)}_weights"


def _table(levels: NDArray[np.int64]) -> NDArray[np.int16]:
    """The at most sixteen numbers of a set of codes, filled up with the last."""
    found = np.unique(levels)
    return np.pad(found, (0, 16 - len(found)), mode="edge").astype(np.int16)


def _convolve(
    selector: Selector, node: ir.Node, weights: NDArray[np.int64], images: int, geometry: Geometry
) -> None:
    """Codes as bytes: a convolution of integers, weights four bits each in memory."""
    source, image, channels = _quantizer(node.inputs[0]), node.op_type == "BbqConv", len(weights)
    kind = format_of(source) if source is not None else None
    assert kind is not None
    x, y = selector.tensor(node.inputs[0], node), selector.new(node.outputs[0], channels_last=image)
    low, high = open_bounds((real(node, "min", -math.inf), real(node, "max", math.inf)))
    finish = Finish("float_bias", 0, low, high)
    rows = finish.constants(_values(node, 3, channels), _values(node, 2, channels))
    largest = int(np.abs(kind.codes).max()) * max(int(np.abs(weights).max(initial=0)), 1)
    narrow = min(INT16 // largest, MOST_STEPS)
    held = IntegerWeights(weights, rows, finish, "bbq", _table(weights), narrow)
    name, none = _levels(node)[1], np.zeros(0, np.float32)
    plan = ConvPlan(
        label(node), title(node), x, y, images, geometry, held, name, none, f"{name}_bias",
        (-math.inf, math.inf), selector.target,
    )  # fmt: skip
    selector.plans.append(plan)


@operator(f"{DOMAIN}.BbqConv", rule=_product, order="NHWC")
def _plan_conv(selector: Selector, node: ir.Node) -> None:
    """Convolutions of codes; borders are 0."""
    x, (levels, _) = selector.tensor(node.inputs[0], node), _levels(node)
    geometry = geometry_of(node, x.shape, shape_of(node.outputs[0], node))
    _convolve(selector, node, levels, x.shape[0], geometry)


@operator(f"{DOMAIN}.BbqMatMul", rule=_product, order="row")
def _plan_matmul(selector: Selector, node: ir.Node) -> None:
    """Products of codes and a matrix: by population counts, or as a 1x1 convolution whose image is the rows."""
    source, (levels, name) = _quantizer(node.inputs[0]), _levels(node)
    assert source is not None
    k, n = levels.shape
    if not planes_of(source):
        rows = math.prod(shape_of(node.outputs[0], node)[:-1])
        width = next((size for size in range(8, 3, -1) if rows % size == 0), rows if rows < 64 else 1)
        ones, zeros = (1, 1), (0, 0, 0, 0)
        geometry = Geometry(rows // width, width, ones, ones, ones, zeros, rows // width, width)
        _convolve(selector, node, levels.T[:, :, None, None], 1, geometry)
        return
    kind = format_of(source)
    assert kind is not None
    x, y = selector.tensor(node.inputs[0], node), selector.new(node.outputs[0])
    low, high = open_bounds((real(node, "min", -math.inf), real(node, "max", math.inf)))
    vlen = 0 if selector.target.flat else selector.target.vlen
    kernel = GemmBits(k, kind.bits, low, high, vlen)
    planes = pack_planes(np.ascontiguousarray(levels.T).astype(np.int8), kind)
    selector.plans.append(
        BitsPlan(
            label(node), title(node), x, y, planes, name, _values(node, 2, n), _values(node, 3, n), kernel,
            selector.target,
        )
    )  # fmt: skip
