"""Random single floating instructions, scalar and vector, run here and on Spike on one state, fcsr included."""

from __future__ import annotations

import random

import numpy as np

from potluck.isa.arithmetic.floating import IEEE, NX
from potluck.isa.context import PARTWAY, Context
from potluck.isa.errors import TrapError
from potluck.isa.insn import Insn, Kind
from potluck.sim.jit.compile import compiler
from tests.reference.vector_cases import TEXT, Case, Pair, generate

SCALAR = ("F", "D", "Zfh", "Zfhmin", "Zfbfmin")
VECTOR = ("V", "Zvfbfmin", "Zvfbfwma", "Zvfofp8min")
FORMATS = list(IEEE.values())


def in_scope(insn: Insn) -> bool:
    """Rows that compute with floats."""
    if insn.extension in SCALAR:
        return insn.kind is Kind.MAP
    if insn.extension not in VECTOR or not insn.is_vector:
        return False
    floats = any(operand.type.kind == "f" for operand in insn.syntax)
    return insn.kind not in (Kind.VLOAD, Kind.VSTORE) and (floats or insn.extension != "V")


def float_case(insn: Insn, vtype: int, masked: bool, vlen: int, rng: random.Random) -> Case:
    """A case under a random frm, sometimes a reserved one; Zvfofp8min also under either altfmt."""
    if insn.is_vector:
        case = generate(insn, vtype, masked, vlen, rng)
    else:
        fields = {piece.name: rng.getrandbits(piece.width) for piece in insn.pieces}
        case = Case(insn, fields, Context(vtype), 0, 0, rng.getrandbits(32))
        case.x = {number: rng.getrandbits(64) >> rng.randrange(64) for number in range(1, 32)}
        case.x |= {number: (1 << 64) - case.x[number] for number in range(1, 16) if case.x[number]}
    if "rm" in case.fields and rng.random() < 0.95:
        case.fields["rm"] = rng.choice([0, 1, 2, 3, 4, 7])
    alternative = 256 * rng.getrandbits(1) if insn.extension.startswith("Zvf") and vtype >> 3 & 7 == 0 else 0
    frm = rng.randrange(8) if rng.random() < 0.05 else rng.randrange(5)
    case.context = Context(vtype | alternative, frm)
    return case


def corner(rng: np.random.Generator, bits: int, count: int) -> np.ndarray:
    """Codes of a width, many at ends of ranges and many of near exponents."""
    form = next(form for form in FORMATS if form.bits == bits)
    codes = rng.integers(0, 1 << bits, count, np.uint64)
    fraction = codes & np.uint64((1 << form.mantissa) - 1)
    fraction = np.where(rng.random(count) < 0.3, fraction & np.uint64(3 << form.mantissa - 2), fraction)
    near = form.bias + rng.integers(-form.mantissa - 2, form.mantissa + 3, count)
    ends = rng.choice([0, 1, 2, 2 * form.bias - 1, 2 * form.bias, 2 * form.bias + 1], count)
    field = np.where(rng.random(count) < 0.35, ends, np.clip(near, 0, 2 * form.bias)).astype(np.uint64)
    made = codes & np.uint64(form.sign) | field << np.uint64(form.mantissa) | fraction
    return np.where(rng.random(count) < 0.2, codes, made).astype(f"u{bits // 8}")


def tame(rng: np.random.Generator, bits: int, size: int) -> np.ndarray:
    """Bytes of numbers between 1/4 and 4 of either sign; of twice the width, too, they are ordinary ones."""
    numbers = rng.uniform(0.25, 4.0, size // (bits // 8)) * rng.choice([-1, 1], size // (bits // 8))
    return numbers.astype(f"f{bits // 8}").view(np.uint8)


class FloatPair(Pair):
    """Registers full of floats, fcsr set and compared."""

    def _compile(self) -> None:
        self.store.flags = True  # as if the program read them
        wanted = {}
        for number, case in enumerate(self.cases):
            partway = PARTWAY if case.vstart else 0
            try:
                one = self.store._decode(
                    TEXT + 8 * number, Context(case.context.vtype | partway, case.context.control)
                )
            except TrapError:
                continue
            wanted[one.name] = one.variant
        names = sorted(wanted)
        for first in range(0, len(names), 100):
            compiler().addresses({name: wanted[name] for name in names[first : first + 100]})

    def _prepare(self, case: Case) -> None:
        super()._prepare(case)
        rng = np.random.Generator(np.random.Philox(key=[case.seed, 1]))
        state, spike = self.hart.state, self.spike
        mask = state.v[0].copy()
        for register in range(32):  # each register of one width, so that mixed-width instructions meet both
            widths = [case.context.sew if case.context.sew > 8 else 16, min(64, 2 * case.context.sew)]
            width = int(rng.choice(widths))
            state.v[register] = corner(rng, max(16, width), self.vlen // max(16, width)).view(np.uint8)
        if case.seed % 4 == 0 and case.context.sew > 8:  # nothing unusual in one instruction out of four
            state.v[:] = tame(rng, case.context.sew, state.v.size).reshape(state.v.shape)
        state.v[0] = mask
        some = (
            np.unpackbits(mask, bitorder="little")[: case.vl].any() if case.fields.get("vm") == 0 else case.vl
        )
        self._empty = not some
        spike.v[:] = state.v
        for register in range(32):
            width = int(rng.choice([16, 32, 64]))
            code = int(corner(rng, width, 1)[0])
            box = (1 << 64) - (1 << width) if rng.random() < 0.9 else 0
            state.f[register] = spike.f[register] = code | box
        state["fcsr"] = spike["fcsr"] = case.context.control << 5 | int(
            rng.choice([0, NX, NX, rng.integers(32)])
        )

    def compare(self, number: int) -> str | None:
        """As for other rows, and then fcsr."""
        found = super().compare(number)
        if self._empty and "redusum" in self.cases[number].insn.mnemonic:
            return None  # latitude: Spike makes a NaN in vs1[0] canonical where nothing is added to it
        mine, theirs = self.hart.state["fcsr"], self.spike["fcsr"]
        if found is None and mine != theirs:
            return f"fcsr = {mine:#x}; Spike: {theirs:#x}"
        return found and f"{found}  (fcsr {mine:#x}, Spike {theirs:#x})"
