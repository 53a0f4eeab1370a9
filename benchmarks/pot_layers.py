"""Convolutions of three small networks, and their time on the cluster's PoT accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Section
from potluck.isa.machine import Machine
from potluck.isa.pot.array import Requantizer, code_set
from potluck.isa.pot.command import COMMAND_BYTES
from potluck.kernels.pot.conv import integer_codes, plan
from potluck.kernels.pot.tiling import PotConv
from potluck.sim.cluster import Cluster
from potluck.sim.pot.product import Product

INPUT, WEIGHTS, OUTPUT = 0x8100_0000, 0x8200_0000, 0x8400_0000
KIND = code_set("pot_apot")


def _conv(
    side: int, channels: int, filters: int, kernel: int, stride: int = 1, depthwise: bool = False
) -> PotConv:
    """A convolution whose output has side / stride pixels a side."""
    pad = max(0, kernel - stride)
    pads = (pad // 2, pad // 2, pad - pad // 2, pad - pad // 2)
    return PotConv(
        side,
        side,
        channels,
        filters,
        KIND,
        (kernel, kernel),
        (stride, stride),
        pads=pads,
        depthwise=depthwise,
        zero=-3,
    )


def _inverted(side: int, blocks: list[tuple[int, int, int, int, int]], channels: int) -> Iterator[PotConv]:
    """Inverted bottlenecks: expansion, filters, repeats, stride, kernel."""
    for expansion, filters, repeats, first_stride, kernel in blocks:
        for repeat in range(repeats):
            stride, hidden = first_stride if repeat == 0 else 1, channels * expansion
            if expansion > 1:
                yield _conv(side, channels, hidden, 1)
            yield _conv(side, hidden, hidden, kernel, stride, depthwise=True)
            side //= stride
            yield _conv(side, hidden, filters, 1)
            channels = filters


def mobilenet_v2() -> list[PotConv]:
    """Sandler et al., CVPR 2018, table 2."""
    blocks = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3),
              (6, 160, 3, 2, 3), (6, 320, 1, 1, 3)]  # fmt: skip
    return [_conv(224, 3, 32, 3, 2), *_inverted(112, blocks, 32), _conv(7, 320, 1280, 1)]


def efficientnet_lite0() -> list[PotConv]:
    """Tan and Le, ICML 2019, table 1, without squeeze and excitation (the Lite models)."""
    blocks = [(1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
              (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)]  # fmt: skip
    return [_conv(224, 3, 32, 3, 2), *_inverted(112, blocks, 32), _conv(7, 320, 1280, 1)]


def resnet8() -> list[PotConv]:
    """MLPerf Tiny's network for images of 32 x 32."""
    found, channels, side = [_conv(32, 3, 16, 3)], 16, 32
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        found += [_conv(side, channels, filters, 3, stride), _conv(side // stride, filters, filters, 3)]
        if stride > 1:
            found.append(_conv(side, channels, filters, 1, stride))
        channels, side = filters, side // stride
    return found


LAYERS: dict[str, Callable[[], list[PotConv]]] = {
    "MobileNetV2": mobilenet_v2,
    "EfficientNet-Lite0": efficientnet_lite0,
    "ResNet-8": resnet8,
}


def product_of(conv: PotConv) -> Product:
    """The matrix product that v12 makes of it."""
    return Product(
        conv.out_height * conv.out_width, conv.filters, conv.kernel[0] * conv.kernel[1] * conv.channels
    )


def layer_cycles(conv: PotConv, machine: Machine, int8: bool = False) -> int:
    """Cycles from the doorbell until the accelerator is idle, loads from DRAM and stores to it included."""
    rng = np.random.default_rng(0)
    shape = (conv.filters, *conv.kernel, 1 if conv.depthwise else conv.channels)
    if int8:
        kind, codes = integer_codes(rng.integers(-128, 128, shape))
        conv = replace(conv, kind=kind, planes=codes.shape[-1])
    else:
        codes = rng.integers(0, 16, shape).astype(np.uint8)
    ones = np.full(conv.filters, 1 << 30, np.int32)
    layer = plan(conv, codes, Requantizer(ones, ones, 0 * ones + 40), machine, (INPUT, WEIGHTS, OUTPUT))
    assembler = Assembler()
    base, queue = machine.memory.pot_base, machine.memory.l1_base
    assembler.text(
        f".text\n.globl _start\n_start: bnez a0, done\nli t0, {base}\nli t1, {queue}\nsd t1, 0(t0)\n"
        f"li t2, {len(layer.commands)}\nsd t2, 8(t0)\nld a0, 24(t0)\ndone: li a7, 93\necall\n"
    )
    assert len(layer.commands) * COMMAND_BYTES <= machine.memory.l1_bytes
    program = assembler.assemble().program(None)
    program.sections += [
        Section("queue", queue, layer.commands.tobytes()),
        Section("weights", WEIGHTS, layer.weights.tobytes()),
    ]
    cluster = Cluster(program, machine)
    cluster.run()
    assert cluster.pot is not None
    return cluster.pot.schedule.last_end
