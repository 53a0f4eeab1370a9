"""Rules that the machine ``ara-like`` changes: a cycle before something is ready, and the cycle at which it is."""

from __future__ import annotations

import pytest

from potluck.isa.machine import load_machine
from potluck.sim.state import IN_DRAM
from potluck.sim.timing import timer as t
from tests.sim.test_timing import Timed as Plain

ARA = load_machine("ara-like")


def Timed(source, machine=ARA, **options):
    return Plain(source, machine=machine, **options)


def ready(run, v, cycle):
    """Both sides: not written before the cycle, written at it. The state is relative, so advance to each side."""
    before, at = run.times.copy(), run.times.copy()
    t.wait(before, int(cycle - 1 - run.cycles))
    t.wait(at, int(cycle - run.cycles))
    return before[t.V_DONE + v] > 0 and at[t.V_DONE + v] == 0


@pytest.mark.parametrize(("sew", "latency"), [(64, 6), (32, 5), (16, 4)])
def test_latency_by_width_of_floating_work(sew, latency):
    """Published: FP64 5, FP32 4, FP16 3 stages; one more for the result queue."""
    assert ready(Timed("vfadd.vv v8, v16, v24", sew=sew, lmul=1, vl=256 // sew), 8, 2 + latency)


def test_latency_of_widening_work_is_that_of_the_result():
    assert ready(Timed("vfwadd.vv v8, v16, v24", sew=32, lmul=1, vl=4), 8, 2 + 6)


@pytest.mark.parametrize(
    ("code", "key"),
    [("vfmin.vv v8, v16, v24", "noncomp"), ("vfcvt.x.f.v v8, v16", "convert"), ("vadd.vv v8, v16, v24", "integer"),
     ("vfrec7.v v8, v16", "noncomp")],
)  # fmt: skip
def test_latency_of_other_work(code, key):
    assert ready(Timed(code, sew=32, lmul=1, vl=8), 8, 2 + getattr(ARA.timing, key))


@pytest.mark.parametrize(
    ("code", "sew", "cycles"),
    [("vfadd.vv v8, v16, v24", 64, 32), ("vfadd.vv v8, v16, v24", 32, 16), ("vadd.vv v8, v16, v24", 32, 16),
     ("vadd.vv v8, v16, v24", 8, 4), ("vle32.v v8, (a0)", 32, 32), ("vfwadd.vv v8, v16, v24", 32, 32)],
)  # fmt: skip
def test_rate(code, sew, cycles):
    """4 lanes of 64 bits, integer work included; 128 bits of memory per cycle."""
    other = code.replace("v8,", "v0,", 1)
    options = {"sew": sew, "lmul": 1, "vl": 128}
    assert Timed(f"{other}\n{code}", **options).written(8) - Timed(other, **options).written(0) == cycles


@pytest.mark.parametrize("code", ["vlse64.v {}, (a0), t0", "vluxei64.v {}, (a0), v24"])
@pytest.mark.parametrize("access", [1, IN_DRAM | 1, IN_DRAM | 4])
def test_scattered_access_is_one_request_per_element(code, access):
    """Published: one AXI transaction per element; no bank conflicts (4 ways here) behind the port."""
    source = "\n".join(code.format(v) for v in ("v0", "v8"))
    run = Timed(source, sew=64, lmul=1, vl=64, codes={0: access, 1: access})
    assert run.written(8) - run.written(0) == 64


@pytest.mark.parametrize(("fields", "cycles"), [(2, 128), (4, 256)])
def test_segment_access_is_one_request_per_field(fields, cycles):
    source = "\n".join(f"vlseg{fields}e64.v {v}, (a0)" for v in ("v0", "v8"))
    run = Timed(source, sew=64, lmul=1, vl=64, codes={0: 1, 1: 1})
    assert run.written(8) - run.written(0) == cycles


def test_separate_units_do_not_wait_for_each_other():
    """spatz-mx must idle and switch; here the floating work starts when it is issued."""
    code = "vadd.vv v0, v16, v24\nvfadd.vv v8, v16, v24"
    run, alone = Timed(code, lmul=1, vl=64), Timed("vfadd.vv v8, v16, v24", lmul=1, vl=64)
    assert ready(run, 8, alone.written(8) + 1)  # one cycle later, as it is the second instruction
    shared = Timed(code, machine=load_machine("ara-like", {"vector.integer_unit": "shared"}), lmul=1, vl=64)
    assert shared.written(8) > run.written(8)


def test_integer_products_run_on_the_floating_units_multipliers():
    product = Timed("vmul.vv v0, v16, v24\nvfadd.vv v8, v16, v24", lmul=1, vl=64)
    assert ready(product, 8, 2 + 8 + 8 + ARA.timing.fma.at({"width": 32}, "") - 1)


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_queue_depth(depth):
    """An instruction beyond the queue leaves the controller a cycle after the executing one has read its last words."""
    machine = load_machine("ara-like", {"vector.queue_depth": depth})
    code = "vfadd.vv v0, v24, v24\n" * depth + "vfadd.vv v8, v24, v24"
    run = Timed(code, machine=machine, lmul=1, vl=128)
    assert run.cycles + run.times[t.BUFFER] == 2 + 16  # its operands are read in cycles 2 to 17
    shallow = Timed(code.split("\n", 1)[1], machine=machine, lmul=1, vl=128)
    assert shallow.cycles + shallow.times[t.BUFFER] < 2 + 16


def test_eight_instructions_in_flight():
    """The ninth leaves the buffer when the first is done; the eighth does not wait for that."""
    code = "vfadd.vv v0, v24, v24\nvle32.v v4, (a0)\nvadd.vv v8, v24, v24\nvmv.v.i v12, 0\n"
    first = min(Timed(code, sew=32, lmul=1, vl=128).written(v) for v in (0, 4, 8, 12))
    code += code.replace("v0", "v1").replace("v4,", "v5,").replace("v8", "v9").replace("v12", "v13")
    eight = Timed(code, sew=32, lmul=1, vl=128)
    nine = Timed(code + "vmv.v.i v14, 0", sew=32, lmul=1, vl=128)
    assert eight.cycles + eight.times[t.BUFFER] < first
    assert nine.cycles + nine.times[t.BUFFER] == first


@pytest.mark.parametrize(("sew", "tail"), [(64, 10), (32, 14)])
def test_reduction_is_a_tree_across_the_lanes_and_inside_the_word(sew, tail):
    run = Timed("vfredusum.vs v8, v16, v24", sew=sew, lmul=1, vl=256 // sew)
    assert ready(run, 8, 2 + tail + {64: 6, 32: 5}[sew])


@pytest.mark.parametrize(("sew", "per_element"), [(64, 21), (32, 10), (16, 5)])
def test_division_by_width(sew, per_element):
    code = "vfdiv.vv v0, v16, v24\nvfdiv.vv v8, v16, v24"
    run = Timed(code, sew=sew, lmul=1, vl=16)
    assert run.written(8) - run.written(0) == 16 // 4 * per_element


@pytest.mark.parametrize(("mnemonic", "stall"), [("div", 65), ("divw", 33)])
def test_scalar_division(mnemonic, stall):
    assert Timed(f"{mnemonic} a0, a1, a2\nadd a3, a0, a0").cycles == 2 + stall


def step(sew: int) -> str:
    """One k of a matrix product: a row of B, an element of A for each of 16 rows; accumulators v0 to v15."""
    load, suffix = {64: "fld", 32: "flw"}[sew], {64: "vle64.v", 32: "vle32.v"}[sew]
    rows = "\n".join(f"{load} ft{n % 8}, {8 * n}(s0)\nvfmacc.vf v{n}, ft{n % 8}, v{{b}}" for n in range(16))
    return f"{suffix} v{{b}}, (a1)\n{rows}\n"


@pytest.mark.parametrize("sew", [64, 32])
def test_matrix_product_keeps_the_lanes_busy(sew):
    """B's next row is loaded beside the products, so the FPUs are the bound: over 95 % at full vector length."""
    vl = ARA.vector.vlen // sew

    def run(steps):
        code = "".join(step(sew).format(b=20 + n % 2) for n in range(steps))
        return Timed(code, sew=sew, lmul=1, vl=vl).cycles

    products = 16 * 4 * vl
    utilization = products / (run(8) - run(4)) * sew / (64 * ARA.vector.lanes)
    assert 0.95 < utilization <= 1
