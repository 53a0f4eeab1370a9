"""Fields of a result as JSON: what `--json` of run and simulate writes."""

from __future__ import annotations

import inspect
import re

from potluck.reference.markdown import cell, code, table
from potluck.sim.result import VERSION, LayerResult

FIELDS = {
    "version": f"of this schema, now {VERSION}; it grows when a field changes its meaning or goes",
    "mode": "`timed`, `functional`, `traced` or `rtl`; without time the counts of cycles are 0",
    "machine": "name of the machine",
    "cycles": "of the whole run",
    "seconds_at_clock": "cycles over the machine's clock, s",
    "instructions": "executed by all harts",
    "macs": "multiply-accumulates of all layers",
    "utilization": "share of the peak of each layer's format that its multiply-accumulates reached, 0 to 1",
    "energy_joules": "`total`, and by component, J; those that begin with `dram` are outside the cluster",
    "layers": "a table per layer, below",
    "stalls": "cycles by cause, of hart 0; they sum to `cycles`",
    "dram": "reads and writes in bursts, row hits, conflicts, activations, refreshes, bytes",
    "roofs": "of the roofline: `macs_per_cycle` by format, `dram_bytes_per_cycle`",
    "timing_error_band": "what is known of the error of cycles: of the machine's file, and of `timing_error`",
    "timing_error": "median, worst and extremes of (RTL - simulator) / simulator over compared kernels, %, digests of "
    "the table of their cycles, of the core and of the RTL; null if this core has not been compared",
    "rtl": "mode `rtl`: instructions compared, cycles of both, in all and by layer, the first `difference` (empty if "
    "there is none) and the folder's waveform of the cycles before it; else null",
    "host_seconds": "time that the simulation took; the one field that differs from run to run",
    "manifest": "what the run was made of: files with hashes, scheme, options",
}
"""Name -> meaning, in the order of the file."""

_HEAD = """# Results as JSON

`--json FILE` of `potluck run` and `potluck simulate` writes these fields; `potluck explain` reads them. Cycles, counts
and energies are deterministic.

"""


def page() -> str:
    """Markdown; the fields of a run and those of a layer."""
    run = table(("field", "what it is"), ([code(name), cell(meaning)] for name, meaning in FIELDS.items()))
    layer = table(
        ("field", "what it is"), ([code(name), cell(meaning)] for name, meaning in layer_fields().items())
    )
    return _HEAD + run + "\n## Of a layer\n\n" + layer


def layer_fields() -> dict[str, str]:
    """Fields of `LayerResult` with what its docstring says of them."""
    _, _, attributes = (inspect.getdoc(LayerResult) or "").partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in attributes.splitlines():
        if match := re.match(r"    (\w+(?:, \w+)*): (.*)", line):
            names = match[1].split(", ")
            found.update(dict.fromkeys(names, match[2]))
        elif line.strip():
            found.update((name, f"{found[name]} {line.strip()}") for name in names)
    return found
