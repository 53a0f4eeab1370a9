"""One block of MiniLM in MXFP8 on 1 to 16 cores: cycles, and whether the outputs keep their bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from potluck import api
from potluck.isa.machine import load_machine
from potluck.zoo import minilm
from potluck.zoo.registry import find

if TYPE_CHECKING:
    from potluck.benchmarks import Report

CORES = (1, 2, 4, 8, 16)


def run(report: Report) -> None:
    """Reports the speed-up over one core; nothing if MiniLM's package is not here."""
    if find("minilm").missing():
        return
    model, inputs = minilm.model(layers=1), minilm.encoded(minilm.documents("lee.cor")[:1])
    quantized = api.quantize(model, "mxfp8")
    first, bits = 0, b""
    for cores in CORES:
        machine = load_machine("spatz-mx", {"cluster.cores": cores})
        result = api.simulate(api.compile(quantized, machine), inputs, machine=machine)
        output = np.ascontiguousarray(result.outputs["embedding"]).tobytes()
        first, bits = first or result.cycles, bits or output
        text = f"{result.cycles:,} cycles, utilization {100 * result.utilization:.1f} %"
        same = "the same bits" if output == bits else "OTHER BITS"
        report(f"a block of MiniLM on {cores} cores", first / result.cycles, "x", f"{text}, {same}")
