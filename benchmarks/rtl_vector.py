"""Gates of the vector unit, unit by unit as they stand in it, and what VMXDOTP adds.

Every unit is mapped by itself: the whole is the sum of its parts and of what is left with the parts cut out, so that no
run of the mapper is longer than minutes. The register file's storage is counted, not mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from potluck.hdl.synthesis import Design, generic_gates
from potluck.isa.machine import load_machine

Report = Callable[..., None]
PRESET = "spatz-mx"
ENCLOSED = "generic gates, as it stands in the unit"
PAPER = "paper: +7.2 %, of what is not known (arXiv 2603.04979)"

DATAPATHS = (
    "vector_divider",
    "vector_fma",
    "vector_convert",
    "vector_multiplier",
    "vector_alu",
    "vector_noncomp",
)
INTEGER = ("vector_multiplier", "vector_alu")
"""Datapaths that only the first lane's instructions reach."""
CONTROL = (
    "vector_issue",
    "vector_set",
    "vector_scoreboard",
    "vector_memory",
    "vector_slide",
    "vector_results",
)
BLOCKS = (
    "vector_adder",
    "vector_shifter",
    "vector_clip",
    "vector_product",
    "vector_unpack",
    "fma_sum",
    "vector_round",
    "vector_estimate",
)
"""What datapaths are made of, at their defaults."""
LANES = ("vector_lane", "mxdotp_lane")

MULTIPLEXER = 3  # NAND2 of one of two bits
BIT = 4 + MULTIPLEXER  # a flip-flop that keeps its value
READERS, SCALE_READERS, WRITERS, READ_PORTS = 8, 2, 3, 3


@dataclass(frozen=True)
class RegisterFile:
    """NAND2 of the register file's storage, counted from its organization: 3 read ports and a write port a bank.

    Attributes:
        bits: flip-flops with the multiplexers that keep their values.
        ports: the multiplexers of the banks' read ports.
        select: from banks to readers, from writers to banks.
        scales: the part of it that belongs to the readers of scales.
    """

    bits: int
    ports: int
    select: int
    scales: int


def register_file() -> RegisterFile:
    """That of the preset's machine."""
    vector = load_machine(PRESET).vector
    width, banks = 64 * vector.lanes, vector.vrf_banks
    rows = 32 * vector.vlen // width // banks
    reader = width * (banks - 1) * MULTIPLEXER
    return RegisterFile(
        bits=32 * vector.vlen * BIT,
        ports=banks * READ_PORTS * width * (rows - 1) * MULTIPLEXER,
        select=READERS * reader + banks * width * (WRITERS - 1) * MULTIPLEXER,
        scales=SCALE_READERS * reader,
    )


def lane_designs(lane: int) -> dict[str, Design]:
    """The parts of a lane, by unit. The first lane carries what accompanies a step; in the others that is constant."""
    tied = {"tag_i": "0"} if lane else {}
    place = f"vector_arithmetic.gen_lane[{lane}]"
    parts = {
        unit: Design(unit, tied=tied, inside=f"{place}.u_lane.u_{unit.removeprefix('vector_')}")
        for unit in DATAPATHS
    }
    parts["vector_lane"] = Design("vector_lane", tied=tied, inside=f"{place}.u_lane", without=DATAPATHS)
    parts["mxdotp_lane"] = Design("mxdotp_lane", tied=tied, inside=f"{place}.gen_mxdotp.u_mxdotp")
    return parts


def control_designs() -> dict[str, Design]:
    """What stands around the lanes, by unit; those with parts without them."""
    return {
        **{unit: Design(unit) for unit in CONTROL},
        "vector_unit": Design("vector_unit", without=("vector_arithmetic", *CONTROL, "vector_registers")),
        "vector_arithmetic": Design("vector_arithmetic", without=LANES),
        "without VMXDOTP": Design("vector_arithmetic", {"HasMxdotp": 0}, without=LANES),
    }


def blocks() -> dict[str, Design]:
    """What datapaths are made of."""
    return {unit: Design(unit) for unit in BLOCKS}


def gates(design: Design) -> float:
    """NAND2 equivalents, by the flow that all units of the vector unit pass."""
    return generic_gates(design, solver=False).nand2


@dataclass(frozen=True)
class Total:
    """NAND2 of the vector unit.

    Attributes:
        first: the parts of the first lane.
        other: those of each other lane.
        control: what stands around the lanes.
        registers: the register file's storage.
    """

    first: dict[str, float]
    other: dict[str, float]
    control: dict[str, float]
    registers: RegisterFile

    @property
    def lanes(self) -> float:
        """The four lanes without VMXDOTP."""
        return sum(
            count * gates
            for count, parts in ((1, self.first), (3, self.other))
            for unit, gates in parts.items()
            if unit != "mxdotp_lane"
        )

    @property
    def vmxdotp(self) -> float:
        """Its four lanes, the scale buffers with what selects from them, the readers of scales."""
        buffers = self.control["vector_arithmetic"] - self.control["without VMXDOTP"]
        lanes = self.first["mxdotp_lane"] + 3 * self.other["mxdotp_lane"]
        return lanes + buffers + self.registers.scales

    @property
    def storage(self) -> float:
        """The register file but for the readers of scales."""
        file = self.registers
        return file.bits + file.ports + file.select - file.scales

    @property
    def without(self) -> float:
        """The vector unit without VMXDOTP."""
        around = sum(gates for unit, gates in self.control.items() if unit != "vector_arithmetic")
        return self.lanes + around + self.storage

    @property
    def idle_integer(self) -> float:
        """Integer datapaths of the other lanes, which no instruction reaches."""
        return 3 * sum(self.other[unit] for unit in INTEGER)


def measure(designs: dict[str, Design]) -> Iterator[tuple[str, float]]:
    """NAND2 of each, one after the other: the mapper takes a whole core and up to a gigabyte."""
    for name, design in designs.items():
        yield name, gates(design)


def run(report: Report) -> None:
    """Map every unit, then report the vector unit with and without VMXDOTP.

    Raises:
        ToolError: Yosys is not installed.
        RtlError: a unit does not synthesize.
    """

    def of(designs: dict[str, Design], place: str, reference: str) -> dict[str, float]:
        found = {}
        for name, count in measure(designs):
            found[name] = count
            report(f"{name}{place}", count / 1000, "kGE", reference)
        return found

    of(blocks(), "", "generic gates")
    control = of(control_designs(), "", ENCLOSED)
    first = of(lane_designs(0), ", first lane", ENCLOSED)
    other = of(lane_designs(1), ", other lanes", ENCLOSED)
    total = Total(first, other, control, register_file())
    counted = "counted: flip-flops with enable, 3 read ports and a write port a bank"
    report("register file's storage", total.storage / 1000, "kGE", counted)
    report("four lanes", total.lanes / 1000, "kGE", "sum")
    report("vector unit without VMXDOTP", total.without / 1000, "kGE", "sum")
    report("VMXDOTP", total.vmxdotp / 1000, "kGE", "lanes, scale buffers, their readers")
    report("VMXDOTP adds", 100 * total.vmxdotp / total.without, "%", PAPER)
    lean = total.without - total.idle_integer
    report("VMXDOTP adds, integer work in one lane only", 100 * total.vmxdotp / lean, "%", PAPER)
