"""The cluster's accelerator, driven by programs: values of random layers, small buffers, errors, time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pot_layers import INPUT, OUTPUT, QUEUE, RING, Case, make, random_conv, ring

from potluck.isa.errors import ExitError, TrapError
from potluck.isa.machine import Machine, load_machine
from potluck.isa.manifest import Manifest
from potluck.isa.pot.array import CODE_SETS, code_set
from potluck.isa.pot.command import BUSY, Command, encode
from potluck.isa.pot.stream import Status
from potluck.kernels.pot.tiling import PotConv
from potluck.sim.cluster import Cluster
from potluck.sim.observation.watch import FOREVER, Watch
from potluck.sim.simulate import summarize

MACHINE = load_machine("spatz-mx-pot", {"dram.kind": "simple"})
SMALL = {
    "dram.kind": "simple", "pot.weight_lines": 256, "pot.global_lines": 256, "pot.parameter_groups": 8,
    "pot.engine.output_bytes": 256, "pot.engine.accumulator_groups": 16,
}  # fmt: skip
EIGHT = load_machine("spatz-mx-pot", {"dram.kind": "simple", "pot.multipliers": True})
SHIFTS = [kind for kind in CODE_SETS if kind.pot]
APOT = code_set("pot_apot")


@pytest.mark.parametrize("seed", range(40))
def test_random_layers_are_onnx_conv_and_one_rounding(seed: int) -> None:
    conv, int8 = random_conv(seed, SHIFTS)
    case = make(conv, MACHINE, seed, int8)
    cluster, found = case.run(MACHINE)
    np.testing.assert_array_equal(found, case.expected())
    assert cluster.harts[0].causes["pot"] > 0
    assert sum(cluster.harts[0].causes.values()) == cluster.cycles


@pytest.mark.parametrize("seed", range(100, 120))
def test_small_buffers_cut_layers_into_tiles_of_the_same_values(seed: int) -> None:
    conv, int8 = random_conv(seed, SHIFTS)
    machine = load_machine("spatz-mx-pot", SMALL)
    case = make(conv, machine, seed, int8)
    _, found = case.run(machine)
    np.testing.assert_array_equal(found, case.expected())


@pytest.mark.parametrize("seed", range(200, 220))
def test_multipliers_take_int8_weights_as_they_are(seed: int) -> None:
    """The same array with multipliers: lines of twice the bytes, half as many in a slot, and no planes."""
    conv, _ = random_conv(seed, [code_set("int8")])
    case = make(replace(conv, planes=1), EIGHT, seed)
    assert case.conv.planes == 1
    np.testing.assert_array_equal(case.run(EIGHT)[1], case.expected())


def test_an_array_takes_the_weights_of_its_own_build() -> None:
    for machine, number, status in (
        (MACHINE, 4, Status.BAD_MODE),
        (EIGHT, 0, Status.BAD_MODE),
        (EIGHT, 4, 0),
    ):
        commands = {**GOOD, "compute": changed("compute", code_set=number)}
        assert run_commands(commands, machine=machine)[0] == status


def test_a_deep_product_is_computed_in_parts() -> None:
    """A classifier of 25,088 inputs: no slot holds its depth."""
    case = make(PotConv(1, 1, 25088, 10, APOT), MACHINE, 1)
    assert case.layer.tiling.channels < 25088
    np.testing.assert_array_equal(case.run(MACHINE)[1], case.expected())


def test_functional_mode_has_the_same_values_and_no_time() -> None:
    case = make(PotConv(9, 9, 20, 12, APOT, (3, 3), pads=(1, 1, 1, 1)), MACHINE, 5)
    timed, found = case.run(MACHINE)
    functional, again = case.run(MACHINE, timed=False)
    np.testing.assert_array_equal(found, again)
    assert timed.cycles > 0 and functional.cycles == 0


def state(cluster: Cluster, register: int) -> int:
    return int(cluster.harts[0].state.x[register])


def test_the_core_goes_on_while_the_accelerator_works() -> None:
    """s2: the state right after the doorbell; s3, s4: after the wait."""
    case = make(PotConv(14, 14, 64, 64, APOT, (3, 3)), MACHINE, 3)
    cluster, _ = case.run(MACHINE)
    assert (state(cluster, 18), state(cluster, 19), state(cluster, 20)) == (BUSY, 0, 0)
    engine = MACHINE.pot.engine if MACHINE.pot else None
    assert engine and cluster.cycles > case.conv.macs / 256
    work = "li t3, 1000\nspin: addi t3, t3, -1\nbnez t3, spin\n"
    both = ring(
        case.layer.commands, memory_of(case), Manifest(), RING.replace("    ld s3", work + "    ld s3")
    )
    busy = Cluster(both, MACHINE)
    busy.run()
    assert busy.harts[0].causes["pot"] == cluster.harts[0].causes["pot"] - (
        busy_cycles(busy) - busy_cycles(cluster)
    )
    assert abs(busy.cycles - cluster.cycles) <= 2


def test_the_cores_transfers_meet_dram_in_the_order_of_time() -> None:
    """Copies of the core during a layer: the same cycles in compiled rounds and traced, in one thread and in two."""
    machine = load_machine("spatz-mx-pot")
    case = make(PotConv(14, 14, 64, 64, APOT, (3, 3)), machine, 3)
    copies = f"""
    li t4, {INPUT}
    li t5, {QUEUE + 0x10000}
    dmsrc t4, zero
    dmdst t5, zero
    li t6, 4096
    dmcpyi s6, t6, 0
    dmcpyi s6, t6, 0
    wfi
    dmcpyi s6, t6, 0
    """
    source = RING.replace("    ld s3", copies + "    ld s3")
    found = set()
    for threads, watch in ((1, None), (2, None), (1, Watch(False, (0, FOREVER)))):
        program = ring(case.layer.commands, memory_of(case), Manifest(), source)
        cluster = Cluster(program, machine, threads=threads, watch=watch)
        cluster.run()
        causes = cluster.harts[0].causes
        assert causes["dma"] > 0 and causes["pot"] > 0 and sum(causes.values()) == cluster.cycles
        found.add((cluster.cycles, causes["dma"]))
    assert len(found) == 1
    alone, _ = case.run(machine)
    assert cluster.traffic().moved[:, 1].sum() == 3 * 4096 + alone.traffic().moved[:, 1].sum()


def busy_cycles(cluster: Cluster) -> int:
    return cluster.cycles - cluster.harts[0].causes["pot"]


def memory_of(case: Case) -> dict[int, np.ndarray]:
    return {INPUT: case.x, 0x8200_0000: case.layer.weights}


COMMANDS: dict[str, tuple[Command, dict[str, Any]]] = {
    "load": (Command.LOAD_INPUTS, {"address": INPUT, "rows": 1, "row_bytes": 64}),
    "weights": (Command.LOAD_WEIGHTS, {"address": INPUT, "blocks": 1, "lines": 4}),
    "compute": (
        Command.COMPUTE,
        {"height": 4, "channels": 16, "filters": 4, "out_height": 4, "high": 1, "first": 1, "final": 1},
    ),
    "store": (Command.STORE, {"address": OUTPUT, "rows": 1, "row_bytes": 16}),
}


def changed(name: str, **values: int) -> np.ndarray:
    """A good command with other fields."""
    command, fields = COMMANDS[name]
    return encode(command, **(fields | values))


GOOD = {name: changed(name) for name in COMMANDS}


def run_commands(
    names: dict[str, np.ndarray], last: int | None = -1, machine: Machine = MACHINE
) -> tuple[int, Cluster]:
    """Exit code of a queue; ``last``: which command has TLAST."""
    commands = np.stack(list(names.values()))
    if last is not None:
        commands[last, 0] |= 1 << 8
    program = ring(commands, {INPUT: np.arange(4096, dtype=np.uint8)}, Manifest())
    cluster = Cluster(program, machine)
    try:
        cluster.run()
    except ExitError as error:
        return error.status, cluster
    return 0, cluster


def test_a_queue_of_good_commands_is_carried_out() -> None:
    assert run_commands(GOOD)[0] == 0


@pytest.mark.parametrize(
    ("name", "words", "status"),
    [
        ("load", np.full(16, 9, np.uint32), Status.BAD_OPCODE),
        ("compute", changed("compute", planes=7), Status.BAD_MODE),
        ("compute", changed("compute", low=5, high=-5), Status.BAD_MODE),
        ("compute", changed("compute", law=3), Status.BAD_MODE),
        ("compute", changed("compute", float_low=0xFFC0_0000), Status.BAD_MODE),
        ("load", changed("load", row_bytes=65537), Status.BAD_SIZE),
        ("load", changed("load", offset=65530), Status.BAD_SIZE),
        ("load", changed("load", offset=1), Status.BAD_SIZE),
        ("load", changed("load", address=0x7000_0000), Status.BAD_ADDRESS),
        ("load", changed("load", address=0x8000_0000, rows=9, stride=-64), Status.BAD_ADDRESS),
        ("weights", changed("weights", lines=2049), Status.BAD_SIZE),
        ("weights", changed("weights", blocks=257, lines=1), Status.BAD_SIZE),
        ("weights", changed("weights", address=INPUT + 32), Status.BAD_ADDRESS),
        ("compute", changed("compute", height=5), Status.NOT_LOADED),
        ("compute", changed("compute", channels=12), Status.NOT_LOADED),
        ("compute", changed("compute", filters=5), Status.NOT_LOADED),
        ("compute", changed("compute", weights=1), Status.NOT_LOADED),
        ("compute", changed("compute", inputs=1), Status.NOT_LOADED),
        ("compute", changed("compute", first=0), Status.NOT_LOADED),
        ("compute", changed("compute", out_height=4097), Status.BAD_SIZE),
        ("compute", changed("compute", out_height=1025, law=2), Status.BAD_SIZE),
        ("compute", changed("compute", final=0, out_height=300), Status.BAD_SIZE),
        ("store", changed("store", row_bytes=17), Status.NOT_LOADED),
        ("store", changed("store", slot=1), Status.NOT_LOADED),
        ("store", changed("store", address=0x8000_0000), Status.BAD_ADDRESS),
        ("store", changed("store", row_bytes=16385), Status.BAD_SIZE),
    ],
)
def test_bad_commands_end_the_queue_with_a_status_and_a_number(
    name: str, words: np.ndarray, status: Status
) -> None:
    found, cluster = run_commands({**GOOD, name: words})
    assert found == status
    assert state(cluster, 19) == list(GOOD).index(name) << 16 | status


def test_last_belongs_to_the_last_command_alone() -> None:
    status, cluster = run_commands(GOOD, last=None)
    assert (status, state(cluster, 19) >> 16) == (Status.MISSING_LAST, 3)
    status, cluster = run_commands(GOOD, last=1)
    assert (status, state(cluster, 19) >> 16) == (Status.EARLY_LAST, 1)


@pytest.mark.parametrize(
    ("queue", "count", "status"),
    [(QUEUE + 4, "1", Status.BAD_ADDRESS), (INPUT, "1", Status.BAD_ADDRESS), (QUEUE, "0", Status.BAD_SIZE),
     (QUEUE, "65536", Status.BAD_SIZE), (QUEUE, "4000", Status.BAD_ADDRESS)],
)  # fmt: skip
def test_a_queue_lies_in_l1(queue: int, count: str, status: Status) -> None:
    source = RING.replace(f"li t1, {QUEUE}", f"li t1, {queue}").replace("COUNT", count)
    cluster = Cluster(ring(np.stack(list(GOOD.values())), {}, Manifest(), source), MACHINE)
    with pytest.raises(ExitError) as error:
        cluster.run()
    assert error.value.status == status


def test_reset_forgets_the_error_and_what_was_loaded() -> None:
    again = """
    sd zero, 32(t0)
    ld s5, 16(t0)
    li t2, 1
    addi t1, t1, 128    # COMPUTE alone
    sd t1, 0(t0)
    sd t2, 8(t0)
    ld s6, 24(t0)
    li a0, 0
done:
"""
    commands = np.stack(
        [*list(GOOD.values())[:2], GOOD["compute"] | np.uint32([1 << 8] + [0] * 15), np.full(16, 9)]
    )
    source = RING.replace("done:\n", again)
    cluster = Cluster(ring(commands.astype(np.uint32), {}, Manifest(), source), MACHINE)
    cluster.run()
    assert state(cluster, 19) & 0xFF == Status.EARLY_LAST
    assert (state(cluster, 21), state(cluster, 22)) == (0, Status.NOT_LOADED)


@pytest.mark.parametrize(
    ("source", "message"),
    [("bnez a0, done\nli t0, 0x12000000\nsb t0, 8(t0)\n", "outside L1 and DRAM"),
     ("beqz a0, done\nli t0, 0x12000000\nsd t0, 8(t0)\n", "belongs to hart 0")],
)  # fmt: skip
def test_other_accesses_trap(source: str, message: str) -> None:
    text = f".text\n.globl _start\n_start:\n{source}done:\nli a7, 93\nli a0, 0\necall\n"
    with pytest.raises(TrapError, match=message):
        Cluster(ring(np.stack([GOOD["load"]]), {}, Manifest(), text), MACHINE).run()


def test_a_machine_without_accelerator_has_no_registers() -> None:
    plain = load_machine("spatz-mx", {"dram.kind": "simple"})
    with pytest.raises(TrapError, match="outside L1 and DRAM"):
        Cluster(ring(np.stack([GOOD["load"]]), {}, Manifest()), plain).run()


def test_energy_and_traffic_are_the_layers() -> None:
    """The result counts each product and output once, and DRAM sees the bytes that the commands name."""
    case = make(PotConv(8, 8, 32, 16, APOT, (3, 3), pads=(1, 1, 1, 1)), MACHINE, 4)
    cluster, _ = case.run(MACHINE)
    assert cluster.pot is not None
    (use,) = cluster.pot.use.values()
    assert (use.products, use.outputs) == (case.conv.macs, 8 * 8 * 16)
    result = summarize(cluster, {}, "timed")
    assert use.lines == 16 * 4 * 72  # row blocks, weight blocks, lines
    joules = sum(
        count * MACHINE.pj(f"pot_{name}")
        for name, count in (("mac", use.products), ("line", use.lines), ("post", use.outputs))
    )
    assert result.energy["pot"] == pytest.approx(1e-12 * (joules + use.cycles * MACHINE.pj("pot_static")))
    assert result.dram["write_bytes"] == case.expected().nbytes
    assert result.dram["read_bytes"] >= 8 * 8 * 32 + 4 * (72 * 8 + 48)
    assert result.stalls["pot"] == cluster.harts[0].causes["pot"]


def cycles(machine: Machine, conv: PotConv) -> int:
    case = make(conv, machine, 2)
    cluster, found = case.run(machine)
    np.testing.assert_array_equal(found, case.expected())
    return cluster.cycles


def test_loads_hide_under_computations() -> None:
    """Four times the weights' bytes at the same work cost nothing where computations are longer."""
    conv = PotConv(14, 14, 128, 128, APOT, (3, 3), pads=(1, 1, 1, 1))
    ideal = conv.macs / 256
    taken = cycles(load_machine("spatz-mx-pot"), conv)
    assert ideal < taken < 1.12 * ideal
