"""Which vector instructions compiled networks hold, and under which SEW."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from potluck.compiler.compile import compile_model
from potluck.isa.context import Context
from potluck.isa.decode import decoder
from potluck.isa.elf import Program
from potluck.isa.insn import Insn, Kind
from potluck.isa.machine import load_machine
from tests.compiler.networks import network, residual

SCHEMES = (
    "fp32", "bf16_weights", "fp16_weights", "int8", "int4_groups", "int4_weights", "mxfp8", "mxfp8_e5m2", "mxfp4",
    "mxfp4_mxfp8", "mxint8", "mxfp4_weights", "nvfp4", "pot_apot", "bbq3",
)  # fmt: skip


def transformer() -> object:
    """What beside products a transformer has: softmax, GELU, a root, divisions, comparisons."""
    return network(
        """g (float[1, 8, 32] x) => (float[1, 8, 32] y) {
          q = MatMul (x, w0)
          k = Transpose <perm = [0, 2, 1]> (x)
          s = MatMul (q, k)
          p = Softmax <axis = -1> (s)
          a = MatMul (p, x)
          n = LayerNormalization <axis = -1> (a, w1, b1)
          h = MatMul (n, w2)
          e = Erf (h)
          g2 = Mul (h, e)
          t = Tanh (g2)
          u = Sqrt (p)
          r = ReduceSum <keepdims = 1> (u)
          d = Div (t, r)
          f = Floor (d)
          m = Max (f, d)
          y = Sigmoid (m)
        }""",
        w0=(32, 32),
        w1=(32,),
        b1=(32,),
        w2=(32, 32),
    )


def programs(schemes: tuple[str, ...] = SCHEMES) -> Iterator[Program]:
    """A small convolutional network in every scheme, and a transformer's operators."""
    machine = load_machine("spatz-mx")
    rng = np.random.default_rng(1)
    samples = {"x": rng.standard_normal((2, 3, 8, 8)).astype(np.float32)}
    for scheme in schemes:
        yield compile_model(residual(), machine, scheme, calibration=samples)
    yield compile_model(transformer(), machine)


def emitted(program: Program) -> set[tuple[str, int]]:
    """Mnemonics of vector instructions with the SEW of the vsetvli before them in the code."""
    found: set[tuple[str, int]] = set()
    for section in program.sections:
        if section.executable:
            sew = 0
            for insn, values in _instructions(bytes(section.data)):
                if insn.kind is Kind.VSET and "vtypei" in values:
                    sew = Context(values["vtypei"]).sew
                elif insn.is_vector and sew:
                    found.add((insn.mnemonic, sew))
    return found


def _instructions(text: bytes) -> Iterator[tuple[Insn, dict[str, int]]]:
    at, known = 0, decoder("spatz")
    while at < len(text) - 1:
        count = known.length(text[at])
        found = known.decode(int.from_bytes(text[at : at + count], "little"))
        at += count
        if found:
            yield found
