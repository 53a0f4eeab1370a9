"""Layers on the cluster's accelerator: a program that rings the doorbell and waits, and an independent reference."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section
from potluck.isa.formats.requantize import ort_float_rne
from potluck.isa.machine import Machine
from potluck.isa.manifest import Manifest, Tensor
from potluck.isa.pot.array import LAWS, CodeSet, Requantizer, ppu
from potluck.kernels.pot.conv import PotLayer, integer_codes, plan
from potluck.kernels.pot.tiling import PotConv
from potluck.sim.cluster import Cluster

QUEUE, INPUT, WEIGHTS, OUTPUT = 0x1000_0000, 0x8100_0000, 0x8200_0000, 0x8400_0000
RING = f"""
.text
.globl _start
_start:
    bnez a0, done
    li t0, 0x12000000
    li t1, {QUEUE}
    sd t1, 0(t0)        # where the queue is
    li t2, COUNT
    sd t2, 8(t0)        # doorbell
    ld s2, 16(t0)       # state: busy
    ld s3, 24(t0)       # wait for the end
    ld s4, 16(t0)
    andi a0, s3, 0xff   # exit with the status
done:
    li a7, 93
    ecall
"""


def ring(
    commands: np.ndarray, memory: dict[int, np.ndarray], manifest: Manifest, source: str = RING
) -> Program:
    """A program with commands in L1 and bytes in memory, which starts them and exits with the status."""
    assembler = Assembler()
    assembler.text(source.replace("COUNT", str(len(commands))))
    program = assembler.assemble().program(manifest)
    contents = {QUEUE: np.ascontiguousarray(commands), **memory}
    program.sections += [
        Section(f"data{number}", address, data.tobytes())
        for number, (address, data) in enumerate(contents.items())
    ]
    return program


@dataclass(frozen=True)
class Case:
    """A layer with values: input [height, width, channels], integer weights [filters, kh, kw, channels or 1]."""

    conv: PotConv
    layer: PotLayer
    x: np.ndarray
    weights: np.ndarray
    requantizer: Requantizer

    def run(self, machine: Machine, timed: bool = True) -> tuple[Cluster, np.ndarray]:
        """Outputs [height, width, filters] of the machine."""
        c = self.conv
        shape = [c.out_height, c.out_width, c.filters]
        dtype = "float32" if self.requantizer.law == "float" else "uint8" if c.unsigned_outputs else "int8"
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        manifest = Manifest(outputs=[Tensor("y", dtype, shape, "row", OUTPUT, size)])
        memory = {INPUT: self.x, WEIGHTS: self.layer.weights}
        cluster = Cluster(ring(self.layer.commands, memory, manifest), machine, timed=timed)
        return cluster, cluster.run()["y"]

    def expected(self) -> np.ndarray:
        """ONNX's Conv on float64, where these sums are exact, and the requantization's contract."""
        c, r = self.conv, self.requantizer
        values = self.x.astype(np.float64) - 128 * c.unsigned_inputs
        acc = convolution(c, values - c.zero, self.weights.astype(np.float64))
        sums = (np.rint(acc).astype(np.int64) + bias_of(self)).astype(np.int32)
        if r.law == "float":
            real = sums.astype(np.float32) * r.multiplier.view(np.float32)
            return np.minimum(np.maximum(real, np.float32(r.float_low)), np.float32(r.float_high))
        if r.law == "ort_float_rne":
            codes = ort_float_rne(sums, r.multiplier.view(np.float32), r.zero_point, r.low, r.high)
        else:
            codes = ppu(sums, r.multiplier, r.shift, r.zero_point, r.low, r.high).astype(np.int32)
        return (codes + 128).astype(np.uint8) if c.unsigned_outputs else codes.astype(np.int8)


def bias_of(case: Case) -> np.ndarray:
    """The bias that the folded sums stand for."""
    return case.requantizer.wsum + case.conv.zero * case.weights.reshape(len(case.weights), -1).sum(axis=1)


def convolution(c: PotConv, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """ONNX's Conv of channels-last arrays, float64 [height, width, filters]."""
    node = onnx.helper.make_node(
        "Conv", ["x", "w"], ["y"], strides=c.stride, dilations=c.dilation, pads=c.pads, kernel_shape=c.kernel,
        group=c.channels if c.depthwise else 1,
    )  # fmt: skip
    values = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.DOUBLE, None) for n in "xwy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", values[:2], values[2:]))
    y = ReferenceEvaluator(model).run(None, {"x": x.transpose(2, 0, 1)[None], "w": w.transpose(0, 3, 1, 2)})[
        0
    ]
    return np.asarray(y)[0].transpose(1, 2, 0)


def make(conv: PotConv, machine: Machine, seed: int, int8: bool = False, bits: int = 8) -> Case:
    """Random values for a layer; ``int8``: weights of 8 (or ``bits``) bits in planes."""
    rng = np.random.default_rng(seed)
    shape = (conv.filters, *conv.kernel, 1 if conv.depthwise else conv.channels)
    if int8 or conv.kind.pot is None:
        weights = rng.integers(-(1 << bits - 1), 1 << bits - 1, shape)
        _, codes = integer_codes(weights, multipliers=not int8)
        conv = replace(conv, planes=codes.shape[-1])
    else:
        codes = rng.integers(0, 16, shape)
        weights = conv.kind.weights(codes)
    depth = weights.size // conv.filters
    shift = rng.integers(30, 34, conv.filters) + int(np.log2(depth) / 2 + np.log2(np.abs(weights).mean() + 1))
    low, high = sorted(rng.choice(np.arange(-128, 128), 2, replace=False).tolist())
    requantizer = Requantizer(
        rng.integers(-5000, 5000, conv.filters).astype(np.int32),
        rng.integers(1 << 30, 1 << 31, conv.filters).astype(np.int32),
        shift.astype(np.int32), int(rng.integers(-20, 20)), min(low, -60), max(high, 60),
    )  # fmt: skip
    requantizer = replace(requantizer, law=LAWS[rng.integers(len(LAWS))])
    if requantizer.law != "tflite_single":  # the same factors in FP32
        factor = np.ldexp(requantizer.multiplier.astype(np.float64), -shift).astype(np.float32)
        bounds = (-50.0, 70.0) if rng.random() < 0.5 else (-np.inf, np.inf)
        requantizer = replace(
            requantizer, multiplier=factor.view(np.int32), float_low=bounds[0], float_high=bounds[1]
        )
    unsigned = rng.random(2) < 0.3
    conv = replace(conv, unsigned_inputs=bool(unsigned[0]), unsigned_outputs=bool(unsigned[1]))
    layer = plan(conv, codes, requantizer, machine, (INPUT, WEIGHTS, OUTPUT))
    x = rng.integers(-128, 128, (conv.height, conv.width, conv.channels)).astype(np.int8)
    x = (x.view(np.uint8) ^ 0x80) if conv.unsigned_inputs else x
    return Case(conv, layer, x, weights, requantizer)


def random_conv(seed: int, kinds: list[CodeSet]) -> tuple[PotConv, bool]:
    """A convolution of ragged sizes, and whether its weights are INT8."""
    rng = np.random.default_rng(seed)

    def pick(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    int8, depthwise = rng.random() < 0.2, rng.random() < 0.3
    kernel, stride, dilation = ((pick(1, 5), pick(1, 5)), (pick(1, 3), pick(1, 3)), (pick(1, 3), pick(1, 3)))
    pads = (pick(0, kernel[0]), pick(0, kernel[1]), pick(0, kernel[0]), pick(0, kernel[1]))
    height, width = (dilation[k] * (kernel[k] - 1) + pick(1, 15) for k in range(2))
    channels = pick(1, 70)
    filters = channels if depthwise else pick(1, 70)
    kind = kinds[0] if int8 else kinds[pick(0, len(kinds))]
    return (
        PotConv(
            height,
            width,
            channels,
            filters,
            kind,
            kernel,
            stride,
            dilation,
            pads,
            depthwise,
            4 if int8 else 1,
            pick(-9, 9),
        ),
        int8,
    )
