"""Rules of vector memory accesses and of the DMA (docs/timing.md), each test named after its rule."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import ProgramError
from potluck.isa.machine import load_machine
from potluck.sim.cluster import Cluster
from potluck.sim.state import IN_DRAM
from tests.sim.rules.gate import Gate


def again(code: str) -> str:
    return code.replace(" v8", " v0", 1)


def occupies(gate: Gate, cycles: int, code: str, **options: int) -> None:
    gate.opens_at(cycles, code, again(code), watch="v0", **options)


def scattered(gate: Gate, size: int) -> int:
    """Cycles of an access element by element: each port has the elements of its own words, or one request in all."""
    vector, share = gate.machine.vector, 8 // size
    if vector.element_requests:
        return gate.elements // vector.element_requests
    turns, rest = divmod(gate.elements, share * vector.ports)
    return turns * share + min(share, rest)


def test_memory_unit_stride(gate: Gate) -> None:
    for sew in (64, 32, 8):
        rig = replace(gate, sew=sew)
        occupies(rig, rig.words(lanes=rig.machine.vector.ports), f"vle{sew}.v v8, (a0)")
    whole = 8 * gate.machine.vector.vlen // (64 * gate.machine.vector.ports)
    occupies(gate, whole, "vl8re64.v v8, (a0)")


@pytest.mark.parametrize("vl", [0, 1, 3, 9])
def test_memory_element_by_element(gate: Gate, vl: int) -> None:
    """Strided, indexed, misaligned; few elements keep few ports busy, so that the second access finds the unit free."""
    for sew, code in (
        (64, "vlse64.v v8, (a0), t0"),
        (16, "vlse16.v v8, (a0), t0"),
        (8, "vle8.v v8, (a0)"),
        (32, "vluxei32.v v8, (a0), v24"),
    ):
        rig = replace(gate, sew=sew, vl=vl)
        cycles = scattered(rig, sew // 8)
        if cycles > 1:
            occupies(rig, cycles, code, access=1)
        else:
            rig.never_waits(code, again(code), watch="v0", access=1)


@pytest.mark.parametrize("ways", [2, 4])
def test_memory_bank_conflict(gate: Gate, ways: int) -> None:
    """The requests of a cycle that meet follow one another; behind a port to DRAM there are no banks."""
    factor = 1 if gate.memory else ways
    occupies(
        replace(gate, sew=64),
        factor * scattered(replace(gate, sew=64), 8),
        "vlse64.v v8, (a0), t0",
        access=ways,
    )


def test_memory_segment(gate: Gate) -> None:
    """A field per port (or request) and cycle."""
    requests = gate.machine.vector.element_requests or gate.machine.vector.ports
    for fields in (2, 3):
        rig = replace(gate, vl=16)
        code = f"vlseg{fields}e32.v v8, (a0)"
        occupies(rig, -(-fields * 16 // requests), code, access=1)


def test_memory_latency(gate: Gate) -> None:
    """To the register file: what follows a loaded word. From it: what waits for the end of a store."""
    rig = replace(gate, vl=64 * gate.machine.vector.ports // gate.sew)
    rig.opens_at(gate.load + 1, "vle32.v v8, (a0)", "vfadd.vv v0, v8, v16", watch="v0")
    rig.opens_at(gate.latency("vector_store") + 2, "vse32.v v8, (a0)", "ld a0, 0(a1)")


def test_memory_loads_and_stores(gate: Gate) -> None:
    """One kind begins when the other has ended (the core is two cycles ahead of the unit)."""
    words = gate.words(lanes=gate.machine.vector.ports)
    stored = 2 + words - 1 + gate.latency("vector_store")
    gate.opens_at(stored - 2, "vse32.v v0, (a0)", "vle32.v v8, (a1)", watch="v8")
    loaded = 2 + words - 1 + gate.load
    gate.opens_at(loaded - 2, "vle32.v v8, (a1)", "vse32.v v0, (a0)", watch="stores")


@pytest.mark.parametrize("rate", [16.0, 2.5])
def test_memory_dram(gate: Gate, rate: float) -> None:
    """The latency once, the data at the DRAM's rate."""
    machine = load_machine(
        gate.machine.name,
        {
            "dram.kind": "simple",
            "dram.bytes_per_cycle": rate,
            "dram.latency_cycles": 40,
        },
    )
    rig = replace(gate, machine=machine)
    size = rig.elements * 4
    cycles = max(-(-size // int(8 * machine.vector.ports)), -int(-size // rate))
    far = {"access": IN_DRAM}
    occupies(rig, cycles, "vle32.v v8, (a0)", **far)
    rig = replace(rig, vl=1)
    first = max(1, -int(-4 // rate)) - 1 + gate.latency("vector_load") + 40
    rig.opens_at(first + 1, "vle32.v v8, (a0)", "vfadd.vv v0, v8, v16", watch="v0", **far)


def busy(cycles: int, transfers: list[tuple[int, int]]) -> bool:
    """Whether the DMA is busy so many cycles after the first of the transfers (bytes, rows) was queued, three apart."""
    body = ""
    for size, rows in transfers:
        body += f"li a1, {size}\ndmrep a{rows}\ndmcpyi a0, a1, 2\n"
    fillers = "addi t3, t3, 1\n" * (cycles - 3 * (len(transfers) - 1) - 1)
    a = Assembler()
    a.text(".text\n.globl _start\n_start:\nbnez a0, end\nli t0, 0x80200000\nli t1, 0x10000000\nli t2, 4096\n"
           "li a2, 1\nli a3, 5\ndmsrc t0, zero\ndmdst t1, zero\ndmstr t2, t2\n"
           f"{body}{fillers}dmstati a0, 2\nend:\nli a7, 93\necall\n")  # fmt: skip
    cluster = Cluster(a.assemble().program(), SIMPLE)
    with suppress(ProgramError):  # that is exit code 1
        cluster.run()
    assert cluster.exit_code in (0, 1)
    return cluster.exit_code == 1


SIMPLE = load_machine("spatz-mx", {"dram.kind": "simple"})
DMA = SIMPLE.dma
LATENCY = DMA.setup_cycles + SIMPLE.dram.latency_cycles
BEAT = DMA.width_bits // 8


@pytest.mark.parametrize(("size", "rows", "beats"), [
    (BEAT, 2, 1), (BEAT - 1, 2, 1), (BEAT + 1, 2, 2), (9 * BEAT, 2, 9), (8, 3, 5), (BEAT + 1, 3, 10),
])  # fmt: skip
def test_dma_transfer(size: int, rows: int, beats: int) -> None:
    """Set-up and latency, then a beat per cycle, whole ones in each row (a2 holds 1 row, a3 holds 5)."""
    assert busy(LATENCY + beats - 1, [(size, rows)])
    assert not busy(LATENCY + beats, [(size, rows)])


def test_dma_overlap() -> None:
    """The latency of a transfer runs during the data of the one before it; the data follow one another."""
    long = LATENCY + 20
    ends = LATENCY + long + 3
    assert busy(ends - 1, [(long * BEAT, 2), (3 * BEAT, 2)])
    assert not busy(ends, [(long * BEAT, 2), (3 * BEAT, 2)])
    # A short transfer is over before the next one's latency, which began three cycles later.
    assert busy(3 + LATENCY + 3 - 1, [(BEAT, 2), (3 * BEAT, 2)])
    assert not busy(3 + LATENCY + 3, [(BEAT, 2), (3 * BEAT, 2)])
