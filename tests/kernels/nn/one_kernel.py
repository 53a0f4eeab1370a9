"""Runs one kernel of any signature on arrays in L1, and checks what it must leave alone."""

import numpy as np

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Section
from potluck.isa.machine import load_machine
from potluck.isa.manifest import Manifest, Tensor
from potluck.kernels.conv.window import Window
from potluck.sim.simulate import simulate

MACHINE = load_machine("spatz-mx")
GUARD = 64  # bytes before and after every array that no kernel may write
HARTS = 2


class Bench:
    """Arrays in L1 and a program that runs one kernel on them."""

    def __init__(self, kernel, machine=MACHINE):
        self.kernel, self.machine = kernel, machine
        self.top = MACHINE.memory.l1_base
        self.sections, self.outputs, self.guards = [], {}, 0

    def place(self, array):
        """An input's address."""
        data = np.ascontiguousarray(array).tobytes()
        self.top += GUARD
        address = self.top
        self.sections.append(Section(f".data{len(self.sections)}", address, data, False, True))
        self.top += -(-len(data) // 64) * 64
        return address

    def output(self, name, like):
        """The address of an array that holds ``like`` at first; guarded."""
        raw = np.ascontiguousarray(like).view(np.uint8).reshape(-1)
        guard = np.full(GUARD, 0xA5, np.uint8)
        start = self.place(np.concatenate([guard, raw, guard]))
        self._tensor(name, start + GUARD, like)
        for i, at in enumerate((start, start + GUARD + raw.size)):
            self._tensor(f"{name} guard {i}", at, guard)
        return start + GUARD

    def _tensor(self, name, address, like):
        self.outputs[name] = Tensor(name, str(like.dtype), list(like.shape), "row", address, like.nbytes)

    def run(self, *arguments):
        """Run with a0, a1, ... of each hart; missing harts get the first one's with the count register 0."""
        idle = list(arguments[0])
        idle[int(self.kernel.count_register[1])] = 0
        a = Assembler()
        a("li", "sp", MACHINE.memory.l1_base + MACHINE.memory.l1_bytes)
        a("slli", "t0", "a0", 10)
        a("sub", "sp", "sp", "t0")
        a("mv", "tp", "sp")
        a("mv", "gp", "a0")
        for i in range(12):
            a("li", f"s{i}", 0x5A5 + i)
        go = a.fresh("go")
        for hart, values in enumerate([*arguments, *[idle] * (HARTS - len(arguments))]):
            onward = a.fresh("hart")
            a("li", "t0", hart)
            a("bne", "gp", "t0", onward)
            for i, value in enumerate(values):
                a("li", f"a{i}", int(value))
            a("j", go)
            a.label(onward)
        a.label(go)
        start = a.fresh("kernel")
        a.label(start)
        self.kernel.emit(a)
        bad, end = a.fresh("bad"), a.fresh("end")
        a("bne", "sp", "tp", bad)
        for i in range(12):
            a("li", "t0", 0x5A5 + i)
            a("bne", f"s{i}", "t0", bad)
        a("li", "t0", MACHINE.memory.registers_base)
        a("ld", "t0", "8(t0)")
        a("li", "a0", 0)
        a("j", end)
        a.label(bad)
        a("li", "a0", 3)
        a.label(end)
        a("li", "a7", 93)
        a("ecall")
        manifest = Manifest(outputs=list(self.outputs.values()))
        program = a.assemble().program(manifest, self.sections)
        result = simulate(program, {}, machine=self.machine, mode="timed")
        for name, value in result.outputs.items():
            if "guard" in name:
                assert (value == 0xA5).all(), f"{name} was overwritten"
        return result


def same(got, want):
    np.testing.assert_array_equal(
        np.ascontiguousarray(got).view(np.uint8), np.ascontiguousarray(want).view(np.uint8)
    )


def random_window(rng, taps=4):
    kernel, stride, dilation = ((int(rng.integers(1, n)), int(rng.integers(1, n))) for n in (taps, 3, 3))
    width = int(rng.integers(1, 20))
    reach = (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1
    return Window(reach + int(rng.integers(0, 3)), width, kernel, stride, dilation), int(rng.integers(1, 4))


def halves(rows):
    """(first, count) of each hart."""
    first = -(-rows // 2)
    return (0, first), (first, rows - first)


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def bounds(rng):
    return {"low": [None, 0.0][rng.integers(2)], "high": [None, 1.5][rng.integers(2)]}
