"""A verilated unit with a valid/ready handshake as a function of arrays; its C++ harness follows from the ports."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from potluck.hdl.build import build_library
from tests.rtl.bench.vectors import Ports, Rows, Vectors, int_words, words

HARNESS = """// Streams operations through a unit, one a cycle, with stalls at the output if asked for.
#include <cstddef>
#include <cstdint>
#include <memory>

#include "V{unit}.h"
#include "verilated.h"

template <typename T> static void put(T& port, const uint32_t*& from) {{
    port = *from++;
    if (sizeof(T) == 8) port |= static_cast<T>(uint64_t(*from++) << 32);
}}
template <std::size_t N> static void put(VlWide<N>& port, const uint32_t*& from) {{
    for (std::size_t i = 0; i < N; i++) port[i] = *from++;
}}
template <typename T> static void get(const T& port, uint32_t*& to) {{
    *to++ = uint32_t(port);
    if (sizeof(T) == 8) *to++ = uint32_t(uint64_t(port) >> 32);
}}
template <std::size_t N> static void get(const VlWide<N>& port, uint32_t*& to) {{
    for (std::size_t i = 0; i < N; i++) *to++ = port[i];
}}

extern "C" uint64_t stream_run(uint64_t count, uint64_t stalls, const uint32_t* held, const uint32_t* in,
                               uint32_t* out) {{
    const auto context = std::make_unique<VerilatedContext>();
    const auto top = std::make_unique<V{unit}>(context.get());
    top->rst_ni = 0;
    top->clk_i = 0;
    top->valid_i = 0;
    top->ready_i = 1;
{held}
    top->eval();
    top->rst_ni = 1;
    uint64_t sent = 0, received = 0, cycles = 0, random = 1;
    bool offered = false;
    // A unit that swallows an operation would never end; no latency is longer than this.
    while (received < count && cycles < 8 * count + 1000) {{
        random = random * 6364136223846793005u + 1442695040888963407u;
        top->clk_i = 0;
        top->ready_i = !stalls || (random >> 40) % 3;
        top->valid_i = sent < count;
        if (sent < count && !offered) {{
{inputs}
            offered = true;
        }}
        top->eval();
        if (top->valid_o && top->ready_i) {{
{outputs}
            received++;
        }}
        if (top->valid_i && top->ready_o) {{
            sent++;
            offered = false;
        }}
        top->clk_i = 1;
        top->eval();
        cycles++;
    }}
    return received == count ? cycles : 0;
}}
"""


class Stream:
    """A unit, built and loaded."""

    def __init__(
        self, unit: str, ports: Ports, parameters: Mapping[str, int] | None = None, *, optimize: str = "-O1",
        replaced: Mapping[str, Path] | None = None,
    ) -> None:  # fmt: skip
        lines = {
            "held": [f"    put(top->{p}, held);" for p in ports.held],
            "inputs": [f"            put(top->{p}, in);" for p in ports.inputs],
            "outputs": [f"            get(top->{p}, out);" for p in ports.outputs],
        }
        text = HARNESS.format(unit=unit, **{name: "\n".join(each) for name, each in lines.items()})
        with tempfile.TemporaryDirectory() as folder:
            harness = Path(folder) / f"{unit}_stream.cc"
            harness.write_text(text)
            library = build_library(unit, harness, dict(parameters or {}), optimize, replaced)
        self.ports = ports
        self._run = ctypes.CDLL(str(library)).stream_run
        self._run.restype = ctypes.c_uint64

    def run(self, given: Vectors, *, stalls: bool = False) -> tuple[dict[str, Rows], int]:
        """Outputs by port, and the cycles."""
        ports, count = self.ports, len(given)
        columns = [given.inputs[p].reshape(count, words(bits)) for p, bits in ports.inputs.items()]
        source = np.ascontiguousarray(np.hstack(columns), np.uint32)
        held = np.concatenate(
            [int_words(given.held[p], bits) for p, bits in ports.held.items()] or [np.zeros(1, np.uint32)]
        )
        widths = [words(bits) for bits in ports.outputs.values()]
        result = np.zeros((count, sum(widths)), np.uint32)
        pointers = [ctypes.c_void_p(x.ctypes.data) for x in (held, source, result)]
        cycles = int(self._run(ctypes.c_uint64(count), ctypes.c_uint64(stalls), *pointers))
        assert cycles, "the unit swallowed an operation"
        parts = np.split(result, np.cumsum(widths)[:-1], axis=1)
        return dict(zip(ports.outputs, parts, strict=True)), cycles
