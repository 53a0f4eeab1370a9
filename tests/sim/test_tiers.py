"""The second tier changes nothing: registers, memory, flags, cycles, causes, counts and traps are the first tier's."""

from __future__ import annotations

import random

import pytest

from potluck import api
from potluck.assets import load_test_images, model_path
from potluck.benchmarks.spine import random_inputs
from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.machine import load_machine
from potluck.kernels.matmul.fp32 import GemmFp32
from potluck.kernels.matmul.int8 import GemmInt8
from potluck.kernels.matmul.mx import MatmulMx
from potluck.kernels.program import standalone
from tests.sim.test_code_changes import ONLY_HART_0, PATCH, word
from tests.sim.test_timing_programs import KERNELS, MACHINE
from tests.sim.tiers import both, eager

ONE = load_machine("spatz-mx", {"cluster.cores": 1})
L1 = 0x1000_0000
END = L1 + ONE.memory.l1_bytes
EXIT = "li a7, 93\nli a0, 0\necall\n"


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    eager(monkeypatch)


def build(source: str) -> Program:
    a = Assembler()
    a.text(f".text\n.globl _start\n_start:\n{source}\n{EXIT}")
    return a.assemble().program()


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_of_random_shape(kernel: str) -> None:
    program = KERNELS[kernel](random.Random(f"{kernel} tiers"))
    both(program, MACHINE, random_inputs(program), again=True)


@pytest.mark.parametrize("kernel", [GemmInt8(n=70, k=40), GemmFp32(n=70, k=40), MatmulMx(n=40, k=256)])
def test_products_are_loops(kernel: GemmInt8 | GemmFp32 | MatmulMx) -> None:
    program = standalone.build(kernel, 9, granule=8 if isinstance(kernel, MatmulMx) else 1)
    for options in ({"threads": 1}, {"threads": 2}, {"timed": False}):
        assert both(program, MACHINE, random_inputs(program), again=True, **options).turns > 2


@pytest.mark.parametrize("read", ["", "csrr t6, fflags"])
@pytest.mark.parametrize("form", ["ww", "wf"])
def test_products_whose_quick_sums_are_in_doubt(form: str, read: str) -> None:
    """E4M3 codes, scales and accumulators of every kind: NaN, far apart, zeros of both signs; tails, rows in turn."""
    a, scale = ("v4", "v24") if form == "ww" else ("ft0", "ft1")
    body = f"""
        vsetivli t0, 8, e8, m1, ta, ma
        vle8.v v24, (s0)
        vle8.v v25, (s2)
        flb ft1, 3(s2)
        vsetivli t0, 13, e64, m2, ta, ma
        vle64.v v4, (s2)
        vle64.v v8, (s0)
        fld ft0, 8(s0)
        vsetivli t0, 13, e32, m1, ta, ma
        vle32.v v16, (s3)
        vmv.v.i v17, 0
        vmxdotp.{form} v16, {a}, v8, {scale}, v25
        vmxdotp.{form} v17, {a}, v8, {scale}, v25
        vmxdotp.{form} v16, {a}, v8, {scale}, v25
        vse32.v v16, (s3)
        vse32.v v17, (s0)
        addi s0, s0, 8
        addi s3, s3, 56
    """
    before = f"addi s2, s0, 24\naddi s3, s0, 512\nli t0, {1 << 9}\ncsrw fcsr, t0\n{read}\n{FILL}"
    found = both(loop(body, before, 60), ONE)
    assert not found.error and found.turns > 40


@pytest.mark.parametrize("scheme", ["int8", "mxfp8"])
def test_a_network(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ResNet-8, its longer loops in the second tier: outputs, cycles, causes and counts of both cores."""
    eager(monkeypatch, 2_000)
    images, _ = load_test_images(2)
    program = api.compile(api.quantize(model_path(), scheme, calibration={"input": images}), MACHINE)
    assert both(program, MACHINE, {"input": images[:1]}).turns > 20


def loop(body: str, before: str = "", turns: int = 20) -> Program:
    """A loop over what ``body`` does."""
    return build(f"li s0, {L1}\nli s1, {turns}\n{before}\nloop:\n{body}\naddi s1, s1, -1\nbnez s1, loop\n")


# Every 64 bits of the first half KiB another number.
FILL = "\n".join(f"li t0, {k * 0x0123_4567_89AB_CDEF % (1 << 63)}\nsd t0, {8 * k}(s0)" for k in range(64))
SMALL_FLOATS = "vsetvli t0, x0, e32, m1, ta, ma\nvid.v v8\nvfcvt.f.xu.v v8, v8\n"
BODIES = {
    "scalar": "lw t0, 0(s0)\nmulw t1, t0, s1\nadd t2, t2, t1\nsh t2, 6(s0)\nsltu t3, t1, t2\naddi s0, s0, 8",
    "floats": "flw ft0, 0(s0)\nfcvt.s.w ft1, s1\nfmadd.s ft2, ft0, ft1, ft2\nfsw ft2, 4(s0)\nfeq.s t0, ft2, ft2",
    "link": "auipc t0, 0\njal t1, on\non: sub t2, t1, t0\nadd t3, t3, t2",
    "widths": "vsetvli t0, x0, e8, m1, ta, ma\nvle8.v v8, (s0)\nvsetvli t0, x0, e16, m2, ta, ma\n"
              "vsext.vf2 v12, v8\nli t1, 9\nvsetvli t0, t1, e16, m2, ta, ma\nvwmacc.vx v16, s1, v12\n"
              "vsetvli t0, x0, e32, m2, ta, ma\nvse32.v v16, (s0)\naddi s0, s0, 8",
    "tail": "vsetivli t0, 13, e16, m2, ta, ma\nvle16.v v8, (s0)\nvadd.vx v10, v8, s1\nvse16.v v10, (s0)\n"
            "addi s0, s0, 8",
    "narrow": "vsetivli t0, 20, e8, m1, ta, ma\nvle8.v v8, (s0)\nvwmul.vx v10, v8, s1\nvnsra.wi v8, v10, 3\n"
              "vse8.v v8, (s0)\naddi s0, s0, 8",
    "masks": "vsetvli t0, x0, e32, m2, ta, ma\nvle32.v v8, (s0)\nvmslt.vx v0, v8, s1\nvadd.vi v8, v8, 5, v0.t\n"
             "vmand.mm v1, v0, v0\nvmerge.vxm v10, v8, s1, v0\nvcpop.m t1, v0\nvse32.v v10, (s0), v0.t\n"
             "addi s0, s0, 8",
    "handlers": "vsetvli t0, x0, e32, m1, ta, ma\nvle32.v v8, (s0)\nvredsum.vs v9, v8, v8\nvmv.x.s t1, v9\n"
                "vslidedown.vi v10, v8, 3\nvid.v v11\nvrgather.vv v12, v8, v11\nvsll.vi v11, v11, 2\n"
                "vluxei32.v v13, (s0), v11\nvadd.vv v14, v13, v12\nvse32.v v14, (s0)\naddi s0, s0, 8",
    "saturation": "vsetivli t0, 8, e8, m1, ta, ma\nvle8.v v8, (s0)\nvsadd.vx v9, v9, s1\nvsadd.vv v9, v9, v8\n"
                  "csrr t1, vxsat",
    "strides": "li t1, 24\nvsetivli t0, 9, e64, m2, ta, ma\nvlse64.v v8, (s0), t1\nvadd.vx v8, v8, s1\n"
               "vsse64.v v8, (s0), t1\naddi s0, s0, 8",
    "alignment": "vsetivli t0, 8, e32, m1, ta, ma\nvle32.v v8, (s0)\nvadd.vi v8, v8, 1\nvse32.v v8, (s0)\n"
                 "addi s0, s0, 4",
    "nan": "vsetvli t0, x0, e32, m1, ta, ma\nvle32.v v8, (s0)\nvfadd.vv v9, v9, v8\nvfmacc.vv v10, v9, v8\n"
           "vfsub.vv v11, v10, v8\nvse32.v v11, (s0)\naddi s0, s0, 8",
}  # fmt: skip


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("name", BODIES)
def test_loops(name: str, timed: bool) -> None:
    found = both(loop(BODIES[name], FILL), ONE, timed=timed)
    assert not found.error
    assert (found.turns > 10) is (name not in ("alignment", "saturation")), found.turns


@pytest.mark.parametrize("read", ["", "csrr t6, fflags"])
def test_flags_of_an_operation_that_becomes_inexact_later(read: str) -> None:
    body = "fdiv.s ft3, ft0, ft1\nvfmul.vv v9, v8, v8\nvfadd.vv v10, v9, v8\nvfcvt.x.f.v v11, v10"
    before = f"{SMALL_FLOATS}li t0, 4\nfcvt.s.w ft1, t0\nfsflags x0\n{read}"
    found = both(loop(f"fcvt.s.w ft0, s1\n{body}", before), ONE)
    assert found.turns > 2


@pytest.mark.parametrize("access", [
    "lw t1, 0(s0)", "sd t1, 0(s0)", "vle32.v v8, (s0)", "vse32.v v8, (s0)", "vlse32.v v8, (s0), s2",
    "vle32ff.v v8, (s0)", "vluxei32.v v8, (s0), v16", "vle32.v v8, (s0), v0.t", "vlseg2e32.v v8, (s0)",
])  # fmt: skip
def test_an_access_that_runs_off_the_end_of_memory_traps_where_it_does_in_the_first_tier(access: str) -> None:
    before = f"""
        li s2, 8
        vsetivli t0, 11, e32, m1, ta, ma
        vid.v v16
        vsll.vi v16, v16, 2
        li t0, 0x3ff
        vmv.s.x v0, t0
        li s0, {END - 800}
    """
    found = both(loop(f"addi t2, t2, 1\n{access}\nadd t3, t3, t2\naddi s0, s0, 32", before, 1000), ONE)
    assert found.turns > 5
    assert "outside memory" in found.error or "address" in found.error


def test_a_misaligned_access_in_the_middle_traps() -> None:
    found = both(loop("lw t0, 0(s0)\nadd t1, t1, t0\nslti t2, s1, 12\nadd s0, s0, t2"), ONE)
    assert "misaligned" in found.error and found.turns > 3


def test_an_access_that_moves_from_l1_to_dram_changes_its_class() -> None:
    body = "lw t0, 0(s0)\nadd t1, t1, t0\nslti t2, s1, 30\nbeqz t2, on\nmv s0, s2\non:"
    found = both(loop(body, "auipc s2, 0", 60), ONE)
    assert found.turns > 20 and found.cluster.harts[0].usage().far.any()


def test_a_masked_access_whose_class_changes_keeps_it_while_blocks_before_it_are_accounted_for() -> None:
    """Store and masked load are in blocks of their own, and the load is misaligned in every other turn."""
    body = """
        vsetvli t0, x0, e32, m8, ta, ma
        vsse32.v v16, (s2), s4
        vsetvli t1, x0, e32, m2, ta, ma
        vle32.v v8, (s0), v0.t
        addi s0, s0, 4
    """
    assert both(loop(body, "mv s2, s0\nvsetvli t0, x0, e32, m8, ta, ma", 40), MACHINE, threads=1).turns > 5


def test_what_the_cluster_carries_out_inside_a_loop() -> None:
    """A read of the clock ends the path there, and nothing is a loop; around it all goes on."""
    both(loop(f"li t0, {ONE.memory.registers_base + 16}\nld t1, 0(t0)\nadd t2, t2, t1"), ONE)


def test_a_loop_within_a_loop_whose_length_changes() -> None:
    inner = "mv t0, s1\ninner: add t1, t1, t0\nxor t2, t2, t1\naddi t0, t0, -1\nbnez t0, inner"
    assert both(loop(inner, turns=40), ONE).turns > 20


@pytest.mark.parametrize("turns", [1, 3])
def test_a_loop_within_a_loop_is_part_of_its_path_turn_by_turn(turns: int) -> None:
    body = f"""
        vsetivli t0, 9, e32, m2, ta, ma
        vmv.v.i v8, 0
        li t0, {turns}
    inner:
        vle32.v v10, (s0)
        vmacc.vx v8, s1, v10
        addi t2, t2, 5
        addi t0, t0, -1
        bnez t0, inner
        vse32.v v8, (s0)
    """
    found = both(loop(body, FILL, 200), ONE)
    held = [one for one in found.cluster.harts[0].store._kept_loops if len(one.path.steps) == turns + 2]
    assert not found.error and sum(one.turns for one in held) > 100


@pytest.mark.parametrize("budget", [40_000, 40_001])
def test_the_budget_ends_at_the_same_instruction(budget: int) -> None:
    found = both(build("again: addi t0, t0, 1\nxor t1, t1, t0\nj again"), ONE, budget=budget)
    assert "endless" in found.error and found.turns > 20


@pytest.mark.parametrize("fence", ["nop", "fence.i"])
def test_code_that_changes(fence: str) -> None:
    both(build(ONLY_HART_0 + PATCH.format(fence=fence) + "fence.i\nj after\nafter:"), MACHINE)


def test_a_loop_that_is_changed_after_it_was_compiled() -> None:
    source = f"""
        li s3, 3
        la s4, patch
        li s5, {word("addi t1, t1, 2")}
    outer:
        li t0, 50
    inner:
        add t2, t2, t0
    patch:
        addi t1, t1, 1
        addi t0, t0, -1
        bnez t0, inner
        sw s5, 0(s4)
        fence.i
        addi s3, s3, -1
        bnez s3, outer
    """
    found = both(build(source), ONE)
    assert found.cluster.harts[0].state.x[6] == 50 + 2 * 100 and found.turns > 20
