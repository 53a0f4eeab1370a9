"""MX quantization as the machine does it: a scale from the exponent field of max|x|, then one conversion.

**Scale.** ``m`` is the largest FP32 encoding of |x| in the block, as an integer (sign bit cleared; NaN >
Inf > finite). The scale's code is

    code = clamp(((m + c) >> 23) - emax, 0, 254),    0xFF if m >= 0x7F800000

with a constant ``c`` per rule (`scale_addend`), so three integer instructions compute it:

* ``floor``: c = 0. X = 2^(floor(log2 max) - emax): OCP MX v1.0 section 6.3.
* ``even``: c = 2^(22 - mantissa bits). The maximum is first rounded to the element's mantissa width
  (torchao ``ScaleCalculationMode.EVEN``). Half-up and half-to-even agree, because only a carry out of an
  all-ones, hence odd, mantissa reaches the exponent.
* ``rceil``: c = 2^23 - 1 - fraction(max_normal). X = 2^ceil(log2(max / max_normal)), the smallest power of
  two that needs no saturation (NVIDIA ``cvt.rp.ue8m0``, torchao ``RCEIL``), without the error that log2()
  in FP32 makes where max/max_normal exceeds a power of two by an ulp.

The field of a subnormal maximum is 0; its floor(log2) is below -126, so minus emax >= 0 it is at most -127,
which the clamp makes code 0 as well: exact. (MXINT8 alone has a corner, since its emax is 0: with ``rceil``
encodings 0x7E0001 to 0x7F0000 and with ``even`` 0x7F0000 to 0x7F7FFF, subnormals just below 2^-126, get
code 1 where real arithmetic says 0. The machine's rule holds.) The upper clamp acts only in MXINT8 with
``even`` or ``rceil`` near FP32's maximum; those elements saturate.

**Elements.** P = encode(x * 2^(127 - code)) with RNE and saturation. The multiplier is an FP32 number whose
encoding is ``max((254 - code) << 23, 0x00400000)``. The FP32 product is exact unless it falls below 2^-126,
and then it is far below half of any format's smallest subnormal: product and conversion round once in
effect.

**Special blocks.** NaN or Inf anywhere in a block: scale 0xFF, every element code 0 (all decode to NaN, OCP
MX v1.0 section 6.3 leaves it open). All-zero block: scale code 0 (2^-127), elements +-0 as they came
(microxcaling takes 2^-126 as the maximum instead, which gives the same code, except 1 in MXINT8). A ragged
last block takes its scale from the elements that exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from potluck.isa.errors import DataError
from potluck.isa.formats.blocks import BlockLayout
from potluck.isa.formats.elements import E8M0, FP32, ElementFormat

ScaleRule = Literal["floor", "rceil", "even"]
SCALE_RULES: tuple[ScaleRule, ...] = get_args(ScaleRule)
NAN_SCALE = 0xFF
_INF32 = 0x7F800000


@dataclass(frozen=True, eq=False)
class MxTensor:
    """A quantized tensor, codes not packed.

    Attributes:
        codes: uint8, element codes, in the shape of the original tensor.
        scales: uint8, E8M0 codes, the same shape but ``ceil(K / block_size)`` along `axis`.
        layout: The MX format.
        axis: Axis along which blocks run, not negative.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.uint8]
    layout: BlockLayout
    axis: int

    def dequantize(self) -> NDArray[np.float32]:
        """See `dequantize`."""
        return dequantize(self)

    def check(self) -> None:
        """Refuses scales whose shape is not that of the codes' blocks.

        Raises:
            DataError: The shapes of codes and scales do not match.
        """
        layout, expected = self.layout, list(self.codes.shape)
        expected[self.axis] = layout.blocks(self.codes.shape[self.axis])
        if list(self.scales.shape) != expected:
            raise DataError(
                f"scales of shape {list(self.scales.shape)} with codes of shape {list(self.codes.shape)}",
                hint=f"{layout.name} with block size {layout.block_size} needs scales of shape {expected}",
            )


def scale_addend(element: ElementFormat, rule: ScaleRule) -> int:
    """The constant ``c`` of the module's text, to be added to the encoding of max|x|.

    Raises:
        DataError: Unknown rule.
    """
    if rule == "floor":
        return 0
    if rule == "even":
        return 1 << (22 - element.mantissa_bits)
    if rule == "rceil":
        return 0x7FFFFF - (int(FP32.encode(np.float32(element.max_normal))) & 0x7FFFFF)
    raise DataError(f"unknown scale rule {rule!r}", hint=f"Use one of {', '.join(SCALE_RULES)}")


def raised_from(element: ElementFormat, rule: ScaleRule) -> float:
    """The least max|x| / X, where X is the floor rule's scale, from which a rule doubles X; infinity: it never does.

    In FP32; the same law as `scale_addend`, for where scales are numbers.
    """
    addend = scale_addend(element, rule)
    if not addend:
        return float("inf")
    power = int(FP32.encode(np.float32(2.0 ** (element.emax + 1))))
    return float(FP32.decode(np.uint32(power - addend)))


def shared_scales(
    max_bits: NDArray[np.uint32], element: ElementFormat, scale_rule: ScaleRule = "floor"
) -> NDArray[np.uint8]:
    """E8M0 codes from block maxima.

    Args:
        max_bits: uint32, largest FP32 encoding of |x| of every block, any shape.
        element: Element format.
        scale_rule: See the module's text.

    Returns:
        uint8 array of the same shape; 0xFF where the block holds a NaN or an infinity.

    Raises:
        DataError: Unknown rule.
    """
    field = (max_bits.astype(np.int64) + scale_addend(element, scale_rule)) >> 23
    code = np.clip(field - element.emax, 0, 254)
    return np.where(max_bits >= _INF32, NAN_SCALE, code).astype(np.uint8)


def multiplier(scales: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The FP32 numbers 2^(127 - code), exact; 2^-127, without meaning, for the NaN scale."""
    bits = (np.int32(254) - scales.astype(np.int32)) << np.int32(23)
    return np.asarray(np.maximum(bits, np.int32(0x00400000)).view(np.float32))


def quantize(x: ArrayLike, layout: BlockLayout, axis: int = -1, scale_rule: ScaleRule = "floor") -> MxTensor:
    """Quantizes a tensor to MX, bit for bit as the machine does; the rules are in the module's text.

    Args:
        x: float32 array of at least one dimension (other types are converted to float32).
        layout: MX format and block size.
        axis: Axis along which blocks run (the contraction axis of a matrix product).
        scale_rule: ``floor`` (OCP), ``rceil`` or ``even``.

    Returns:
        Codes in the shape of ``x`` and scales with ``ceil(K / block_size)`` along ``axis``.

    Raises:
        DataError: Unknown rule, a scalar, or an axis that does not exist.
    """
    x32 = np.asarray(x, dtype=np.float32)
    axis = _normal_axis(axis, x32.ndim)
    rows = np.ascontiguousarray(np.moveaxis(x32, axis, -1))
    size, length = layout.block_size, rows.shape[-1]
    padding = -length % size
    if padding:  # zeros neither raise a maximum nor survive the slice below
        rows = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, padding)])
    blocks = rows.reshape(*rows.shape[:-1], layout.blocks(length), size)
    max_bits = (blocks.view(np.uint32) & np.uint32(0x7FFFFFFF)).max(axis=-1, initial=0)
    scales = shared_scales(max_bits, layout.element, scale_rule)
    with np.errstate(under="ignore", invalid="ignore"):
        codes = layout.element.encode(blocks * multiplier(scales)[..., None])
    codes[scales == NAN_SCALE] = 0
    codes = codes.reshape(rows.shape)[..., :length]
    return MxTensor(
        codes=np.ascontiguousarray(np.moveaxis(codes, -1, axis), dtype=np.uint8),
        scales=np.ascontiguousarray(np.moveaxis(scales, -1, axis)),
        layout=layout,
        axis=axis,
    )


def dequantize(tensor: MxTensor) -> NDArray[np.float32]:
    """Values X * P of a quantized tensor.

    Returns:
        float32 array in the shape of the codes: exact wherever FP32 holds the product. Products beyond FP32
        (only possible with scale codes above 239, OCP MX v1.0 leaves them open) become infinite, those below
        its subnormals are rounded RNE; a NaN scale makes its whole block NaN.

    Raises:
        DataError: The shapes of codes and scales do not match.
    """
    tensor.check()
    layout, length = tensor.layout, tensor.codes.shape[tensor.axis]
    scale = np.repeat(E8M0.decode(tensor.scales), layout.block_size, axis=tensor.axis)
    keep = [slice(None)] * scale.ndim
    keep[tensor.axis] = slice(length)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return np.asarray(layout.element.decode(tensor.codes) * scale[tuple(keep)], dtype=np.float32)


def _normal_axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise DataError(
            f"no axis {axis} in a tensor of {ndim} dimensions", hint="Blocks run along one axis of the tensor"
        )
    return axis % ndim
