"""The memo and the threads change no cycle and no cause; programs on a machine without the custom instructions."""

from __future__ import annotations

import random
from typing import Any

import pytest

from potluck.benchmarks.spine import random_inputs
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import TrapError
from potluck.isa.machine import load_machine
from potluck.kernels.base import Kernel, Operand
from potluck.kernels.conv.mx import ConvMx
from potluck.kernels.conv.window import Window
from potluck.kernels.matmul.int8 import GemmInt8
from potluck.kernels.matmul.mx import MatmulMx
from potluck.kernels.pool import Pool
from potluck.kernels.program import standalone
from potluck.kernels.quantize.mx import QuantizeMx
from potluck.kernels.softmax import Softmax
from potluck.sim.cluster import Cluster

MACHINE = load_machine("spatz-mx")
EXIT = "li a7, 93\nli a0, 0\necall\n"
Clocks = list[tuple[int, int, dict[str, int]]]


def image_operands(pixel: int, out: int) -> tuple[Operand, ...]:
    """Input and output of a window kernel whose stride is its height, so that rows do not share input."""
    return (
        Operand("a0", "x", "float32", (pixel,), per_row=True),
        Operand("a1", "y", "float32", (out,), per_row=True, output=True),
    )


def matmul(rng: random.Random) -> Program:
    kernel = MatmulMx(
        n=rng.randint(1, 48), k=32 * rng.randint(1, 4), element=rng.choice(["e4m3", "e5m2", "e2m1"]),
        accumulator=rng.choice(["fp32", "bf16"]),
    )  # fmt: skip
    return standalone.build(kernel, rng.randint(1, 20), granule=8)


def gemm(rng: random.Random) -> Program:
    return standalone.build(GemmInt8(n=rng.randint(1, 80), k=rng.randint(1, 60)), rng.randint(1, 12))


def quantize(rng: random.Random) -> Program:
    kernel = QuantizeMx(rng.randint(1, 150), element=rng.choice(["e4m3", "e2m1"]))
    return standalone.build(kernel, rng.randint(1, 9))


def softmax(rng: random.Random) -> Program:
    columns, rows = rng.randint(1, 200), rng.randint(1, 9)
    return standalone.build(Softmax(columns), rows, image_operands(columns, columns))


def pool(rng: random.Random) -> Program:
    taps, out, channels, rows = rng.randint(1, 3), rng.randint(1, 6), rng.randint(1, 70), rng.randint(1, 5)
    window = Window(taps * out, out, (taps, taps), (taps, taps))
    kernel = Pool(window, channels, average=rng.random() < 0.5)
    pixels = taps * window.in_width * channels
    return standalone.build(kernel, rows, image_operands(pixels, out * channels))


def convolution(rng: random.Random) -> Program:
    """1 x 1 and wider windows over one row of pixels each."""
    taps, out, channels, filters = (
        rng.randint(1, 3),
        rng.randint(1, 9),
        rng.randint(1, 40),
        rng.randint(1, 40),
    )
    window = Window(out + taps - 1, out, (1, taps))
    kernel: Kernel = ConvMx(window, channels, filters, low=0.0)
    steps, scales = -(-channels // 8), -(-channels // 32)
    operands = (
        Operand("a0", "x", "uint8", (window.in_width * 8 * steps,), per_row=True),
        Operand("a1", "x_scales", "uint8", (window.in_width * scales,), per_row=True),
        Operand("a2", "w", "uint8", (taps * steps * 8 * 64,)),
        Operand("a3", "w_scales", "uint8", (taps * scales * 64,)),
        Operand("a4", "bias", "float32", (filters,)),
        Operand("a5", "y", "float32", (out * filters,), per_row=True, output=True),
    )
    return standalone.build(kernel, rng.randint(1, 6), operands)


KERNELS = {f.__name__: f for f in (matmul, gemm, quantize, softmax, pool, convolution)}


def clocks(program: Program, **options: Any) -> Clocks:
    """Cycles, instructions and causes of every hart."""
    cluster = Cluster(program, MACHINE, **options)
    cluster.run(random_inputs(program))
    for hart in cluster.harts:
        assert sum(hart.causes.values()) == hart.cycles
    return [(hart.cycles, hart.instructions, hart.causes) for hart in cluster.harts]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kernel", KERNELS)
def test_memo_and_threads_change_neither_cycles_nor_causes(kernel: str, seed: int) -> None:
    """Kernels of random shape: the memo against every instruction timed anew, one thread against two."""
    program = KERNELS[kernel](random.Random(f"{kernel} {seed}"))
    expected = clocks(program, memoized=False, threads=1)
    assert clocks(program, threads=1) == expected
    assert clocks(program, threads=2) == expected


def build(source: str) -> Program:
    a = Assembler()
    a.text(".text\n.globl _start\n_start:\n" + source)
    return a.assemble().program()


@pytest.mark.parametrize(("between", "stall"), [(0, 2), (1, 1), (2, 0)])
def test_vset_returns_vl_to_the_core_three_cycles_after_it_left(between: int, stall: int) -> None:
    """Request register, controller, response register."""
    source = "vsetvli t0, a1, e32, m1, ta, ma\n" + "addi t1, t1, 1\n" * between + "add t2, t0, t0\n" + EXIT
    cluster = Cluster(build(source), MACHINE)
    cluster.run()
    assert cluster.harts[0].causes["scalar"] == stall


@pytest.mark.parametrize(
    ("source", "extension"),
    [
        ("vsetivli t0, 4, e32, m1, ta, ma\nvmxdotp.wf v8, ft0, v16, ft1, v24", "VMXDOTP"),
        ("flb ft0, 0(a0)", "Xf8"),
        ("dmsrc t0, zero", "Xdma"),
    ],
)
def test_custom_instructions_are_illegal_on_a_machine_without_them(source: str, extension: str) -> None:
    machine = load_machine("spatz-mx", {"isa.vmxdotp": False})
    with pytest.raises(TrapError, match=f"has no {extension}") as caught:
        Cluster(build(source + "\n" + EXIT), machine).run()
    assert caught.value.pc is not None


@pytest.mark.parametrize("memoized", [False, True])
def test_a_block_is_timed_with_the_vl_it_was_entered_with(memoized: bool) -> None:
    """The vset at a block's end sets the vl of what follows, not of what stands before it."""

    def cycles(last: int) -> int:
        work = "vadd.vv v0, v8, v16\n" * 4
        source = (
            f"vsetivli zero, 31, e8, m8, ta, ma\n{work}vsetivli zero, {last}, e8, m8, ta, ma\ncsrr t0, fcsr\n"
        )
        assembler = Assembler()
        assembler.text(f".text\n.globl _start\n_start:\n{source}li a7, 93\nli a0, 0\necall\n")
        cluster = Cluster(assembler.assemble().program(), load_machine("spatz-mx"), memoized=memoized)
        cluster.run()
        return cluster.cycles

    assert cycles(1) == cycles(31)
