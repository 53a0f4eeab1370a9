"""Strided accesses to L1 on machines with other banks and ports, against a count of requests bank by bank."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.errors import MachineError
from potluck.isa.machine import PRESETS, Machine, load_machine
from potluck.sim.cluster import Cluster

MACHINES = [(16, 4), (8, 2), (8, 8), (32, 4), (4, 1)]  # banks, ports


def machine_file(folder: Path, banks: int, ports: int) -> Machine:
    """The preset's file with other numbers, as a user would write it."""
    text = (PRESETS / "spatz-mx.toml").read_text()
    text = text.replace("l1_banks = 16", f"l1_banks = {banks}").replace("\nports = 4", f"\nports = {ports}")
    path = folder / "other.toml"
    path.write_text(text)
    machine = load_machine(path)
    assert (machine.memory.l1_banks, machine.vector.ports) == (banks, ports)
    return machine


def access(machine: Machine, instruction: str, vl: int, sew: int, stride: int, offset: int = 0) -> int:
    """Cycles that one more of an access takes: everything is drained before the end."""

    def cycles(count: int) -> int:
        a = Assembler()
        body = "".join(f"{instruction} v{8 * n}, (a2), t0\n" if stride else f"{instruction} v{8 * n}, (a2)\n"
                       for n in range(count))  # fmt: skip
        a.text(f".text\n.globl _start\n_start:\nli a2, {machine.memory.l1_base + 65536 + offset}\nli t0, {stride}\n"
               f"li t1, {vl}\nvsetvli zero, t1, e{sew}, m8, ta, ma\n{body}csrr t2, fcsr\n"
               "li a7, 93\nli a0, 0\necall\n")  # fmt: skip
        cluster = Cluster(a.assemble().program(), machine)
        cluster.run()
        return cluster.harts[0].cycles

    return cycles(2) - cycles(1)


def counted(machine: Machine, vl: int, sew: int, stride: int, offset: int = 0) -> int:
    """Port p fills the p-th 64 bits of each word of the register file; a bank answers one request per cycle."""
    ports, banks, per_port = machine.vector.ports, machine.memory.l1_banks, 64 // sew
    queues: list[list[int]] = [[] for _ in range(ports)]
    for element in range(vl):
        queues[element // per_port % ports].append(offset + element * stride)
    total = 0
    while any(queues):
        turn = [queue.pop(0) for queue in queues if queue]
        total += max(Counter(address // 8 % banks for address in turn).values())
    return total


@pytest.mark.parametrize(("banks", "ports"), MACHINES)
@pytest.mark.parametrize(("sew", "vl"), [(64, 64), (32, 128), (16, 64), (8, 64)])
def test_strided_access_takes_the_counted_cycles(
    tmp_path: Path, banks: int, ports: int, sew: int, vl: int
) -> None:
    machine, size = machine_file(tmp_path, banks, ports), sew // 8
    for multiple in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, -1, -2, -16, -5):
        stride = multiple * size
        found = access(machine, f"vlse{sew}.v", vl, sew, stride)
        assert found == counted(machine, vl, sew, stride), (multiple, found)


@pytest.mark.parametrize(("banks", "ports"), MACHINES[:3])
@pytest.mark.parametrize("vl", [1, 5, 8, 9, 33, 63])
def test_short_vectors_keep_few_ports_busy(tmp_path: Path, banks: int, ports: int, vl: int) -> None:
    """Also where the last turn is not full, and where those that are left meet."""
    machine = machine_file(tmp_path, banks, ports)
    for stride in (3, banks // 2, banks):
        assert access(machine, "vlse8.v", vl, 8, stride) == counted(machine, vl, 8, stride), stride
    assert access(machine, "vle16.v", vl, 16, 0, 2) == counted(machine, vl, 16, 2, 2)  # misaligned words


def test_strided_stores_meet_the_same_banks(tmp_path: Path) -> None:
    machine = machine_file(tmp_path, 8, 2)
    for multiple in (1, 4, 8):
        assert access(machine, "vsse64.v", 32, 64, 8 * multiple) == counted(machine, 32, 64, 8 * multiple)


def test_one_request_at_a_time_meets_no_other() -> None:
    machine = load_machine("spatz-mx", {"vector.element_requests": 1, "memory.l1_banks": 4})
    assert access(machine, "vlse64.v", 64, 64, 8 * 4) == 64


@pytest.mark.parametrize(("key", "value", "match"), [("memory.l1_banks", 12, "power of two"),
                                                     ("memory.l1_banks", 2, "ports needs a bank")])  # fmt: skip
def test_banks_that_cannot_interleave_are_refused(key: str, value: int, match: str) -> None:
    with pytest.raises(MachineError, match=match):
        load_machine("spatz-mx", {key: value})
