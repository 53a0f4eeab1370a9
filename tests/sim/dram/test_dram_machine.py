"""DRAM in a machine: transfers and the cores' own accesses in cycles, counts and joules."""

from __future__ import annotations

import numpy as np
import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program
from potluck.isa.errors import MachineError
from potluck.isa.machine import DRAM, Machine, load_machine
from potluck.isa.manifest import Layer, Manifest
from potluck.kernels.matmul.mx import MatmulMx
from potluck.kernels.program import standalone
from potluck.sim.dram.attach import core_latency, core_rate, mapping_of, system_of
from potluck.sim.dram.kind import kinds, load_kind
from potluck.sim.simulate import simulate

COPY = """
    bnez a0, done
    li t0, 0x80100000
    li t1, 0x10000000
    dmsrc t0, zero
    dmdst t1, zero
    li t2, {size}
{start}
    dmcpyi s3, t2, 0
{end}
    wfi
done:
    li a7, 93
    li a0, 0
    ecall
"""


def _program(source: str) -> Program:
    a = Assembler()
    a.text(".globl _start\n_start:\n" + source)
    program = a.assemble(text_base=0x8000_0000).program()
    text = program.sections[0]
    layer = Layer("all", "Test", text.address, text.address + len(text.data), 1, "FP32")
    return Program(program.sections, program.symbols, program.entry, Manifest(layers=[layer]))


def _copy(machine: Machine, size: int) -> int:
    """Cycles from the request to its completion: what wfi and the request together take longer than without data."""
    result = simulate(_program(COPY.format(size=size, start="", end="")), {}, machine)
    return result.cycles


def test_every_kind_can_be_chosen() -> None:
    assert set(DRAM) == {"simple", *kinds()}


@pytest.mark.parametrize("key", kinds())
def test_a_transfer_takes_set_up_path_closed_row_and_data(key: str) -> None:
    """Of one beat exactly; of 64 KiB what the slower of bus and pins takes, within 10 % (rows, refresh)."""
    channels = {"lpddr5": 2}.get(key, 1)
    machine = load_machine(
        "spatz-mx", {"dram.kind": key, "dram.channels": channels, "memory.dram_bytes": 1 << 27}
    )
    kind = load_kind(key)
    small, nothing = _copy(machine, 8), _copy(machine, 0)
    latency = -(-kind.idle_read_ps // 1000)
    empty = machine.dma.setup_cycles + machine.dram.latency_cycles  # of a transfer without bytes
    assert 0 <= small - nothing - (machine.dma.setup_cycles + 60 + latency - empty) <= 2
    rate = min(64.0, channels * kind.peak_bytes_per_second / 1e9)
    assert _copy(machine, 65536) - small == pytest.approx(65536 / rate, rel=0.1)


def test_counts_and_energy_of_a_transfer() -> None:
    machine = load_machine("spatz-mx")
    result = simulate(_program(COPY.format(size=4096, start="", end="")), {}, machine)
    dram, energy = result.dram, result.energy
    assert (dram["reads"], dram["writes"], dram["bytes"], dram["read_bytes"]) == (128, 0, 4096, 4096)
    assert dram["row_hits"] == 128 - 16 and dram["row_closed"] == 16  # 2 channels x 2 x 4 bank groups
    assert energy["dram"] == pytest.approx(1e-12 * (16 * 900 + 4096 * 8 * 2.7))
    assert energy["dram_io"] == pytest.approx(1e-12 * 4096 * 8 * 0.8)
    seconds = result.cycles * 1e-9
    assert 8 * 12e-3 * seconds < energy["dram_standby"] < 8 * 18e-3 * seconds
    assert sum(layer.energy_joules for layer in result.layers) == pytest.approx(result.energy_joules)
    assert result.cluster_joules < result.energy_joules


def test_simple_dram_is_a_latency_and_a_rate() -> None:
    machine = load_machine("spatz-mx", {"dram.kind": "simple", "dram.bytes_per_cycle": 16})
    assert system_of(machine) is None and mapping_of(machine) is None
    assert _copy(machine, 4096) - _copy(machine, 8) == 256 - 1
    assert (core_latency(machine), core_rate(machine)) == (100, 16)


def test_the_cores_own_accesses_are_counted_and_charged() -> None:
    source = """
    bnez a0, done
    li s0, 0x80200000
    li s1, 10
loop:
    ld t0, 0(s0)
    sd t0, 8(s0)
    addi s1, s1, -1
    bnez s1, loop
    vsetivli t1, 16, e32, m1, ta, ma
    vle32.v v0, (s0)
    li t2, 256
    vlse32.v v1, (s0), t2
    vse32.v v0, (s0)
    li s0, 0x10000000
    vle32.v v0, (s0)
done:
    li a7, 93
    li a0, 0
    ecall
    """
    program = _program(source)
    result = simulate(program, {}, load_machine("spatz-mx"))
    dram = result.dram
    assert (dram["core_reads"], dram["core_writes"]) == (10 + 2 + 16, 10 + 2)
    assert dram["activations"] == 10 + 1 + 16 + 10 + 1
    assert (dram["reads"], dram["writes"], dram["bytes"]) == (28, 12, 40 * 32)
    assert result.energy["dram"] == pytest.approx(1e-12 * (38 * 900 + 40 * 256 * 2.7))
    simple = simulate(program, {}, load_machine("spatz-mx", {"dram.kind": "simple"}))
    assert (simple.dram["core_reads"], simple.dram["core_writes"]) == (10 + 1 + 16, 10 + 1)
    assert simple.cycles - result.cycles == 10 * (100 - 94)  # the vector loads' results are not waited for


@pytest.mark.parametrize("key", ["hbm3", "ddr4", "simple"])
def test_host_threads_change_nothing(key: str) -> None:
    machine = load_machine("spatz-mx", {"dram.kind": key})
    program = standalone.build(MatmulMx(64, 128), 64, granule=8)
    generator = np.random.Generator(np.random.Philox(5))
    inputs = {
        tensor.name: generator.integers(100, 120, tensor.shape).astype(tensor.dtype)
        for tensor in program.manifest.inputs
    }
    one, two = (simulate(program, inputs, machine, threads=threads) for threads in (1, 2))
    assert (one.cycles, one.dram, one.energy, one.stalls) == (two.cycles, two.dram, two.energy, two.stalls)


def test_impossible_machines_are_refused_by_key() -> None:
    program = _program(COPY.format(size=8, start="", end=""))
    large = {"dram.kind": "hbm3", "dram.channels": 1, "memory.dram_bytes": 1 << 31}
    for keys, message in (
        (large, r"memory\.dram_bytes.*1 channels of hbm3"),
        ({"dram.kind": "ddr4", "dram.refresh": "per-bank"}, r"dram\.refresh.*ddr4 has no per-bank"),
        ({"dram.mapping": "roba"}, r"dram\.mapping"),
        ({"dram.channels": 3}, r"dram\.channels.*power of two"),
    ):  # fmt: skip
        with pytest.raises(MachineError, match=message):
            simulate(program, {}, load_machine("spatz-mx", keys))
