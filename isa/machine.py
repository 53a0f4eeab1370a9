"""Machine descriptions: a TOML file, validated on load, with dotted overrides.

Every key is declared here once, with its unit; its value and the source of its value stand in ``isa/machines/*.toml``.
A file that ``extends`` another machine states only what differs.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from potluck.isa.documents import toml_of
from potluck.isa.errors import MachineError
from potluck.isa.latency import LONGEST, parse
from potluck.isa.plugins import files, names
from potluck.isa.sources import stated_sources

PRESETS = Path(__file__).parent / "machines"


Cycles = Annotated[int, Field(ge=0, le=LONGEST)]


def _latency(least: int) -> Any:
    """A validator of latencies: a number has a least value, a formula is checked where it is evaluated."""

    def check(value: Any) -> Any:
        found = parse(value)
        if isinstance(found, int) and not least <= found <= LONGEST:
            raise ValueError(f"{found} is not between {least} and {LONGEST} cycles")
        return found

    return check


_AS_WRITTEN = PlainSerializer(
    lambda value: value if isinstance(value, int) else value.source, return_type=Any
)
Latency = Annotated[Any, BeforeValidator(_latency(1)), _AS_WRITTEN]
Tail = Annotated[Any, BeforeValidator(_latency(0)), _AS_WRITTEN]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _checked_power(value: int) -> int:
    if value & (value - 1):
        raise ValueError(f"{value} is not a power of two")
    return value


class Isa(_Group):
    """Instruction set: register width in bits, whether VMXDOTP exists and how it is encoded.

    ``spatz``: the prototype's opcodes; ``custom``: the four custom opcodes, instead of Xdma and Xf8;
    ``wide64``: 64-bit words with mask, rounding mode and element format.
    """

    xlen: Literal[64] = 64
    vmxdotp: bool = True
    vmxdotp_encoding: Literal["spatz", "custom", "wide64"] = "spatz"


class ClusterKeys(_Group):
    """Cores and clock (Hz)."""

    cores: Annotated[int, Field(ge=1, le=64)] = 2
    clock_hz: Annotated[float, Field(gt=0)] = 1e9


class MemoryKeys(_Group):
    """Addresses and sizes in bytes.

    ``l1_bytes = 0``: the machine has DRAM only. Compiled programs then work on tiles in ``workspace_bytes`` of it, to
    which the core copies (also where the DMA's custom instructions are missing): as much as a near cache holds.

    ``l1_banks`` of 64 bits, between which the addresses of L1 interleave.

    ``misaligned``: a scalar load or store may have any address (at no extra cost); otherwise it traps.
    """

    l1_base: Annotated[int, Field(ge=0)] = 0x1000_0000
    l1_bytes: Annotated[int, Field(ge=0)] = 131072
    l1_banks: Annotated[int, Field(ge=1)] = 16
    registers_base: Annotated[int, Field(ge=0)] = 0x1100_0000
    pot_base: Annotated[int, Field(ge=0)] = 0x1200_0000
    dram_base: Annotated[int, Field(ge=0)] = 0x8000_0000
    dram_bytes: Annotated[int, Field(ge=1 << 20)] = 1 << 30
    misaligned: bool = False
    workspace_bytes: Annotated[int, Field(ge=0)] = 1 << 17

    @field_validator("l1_banks")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        return _checked_power(value)


class Vector(_Group):
    """Vector unit.

    ``vlen`` bits per register, ``lanes`` of 64 bits for floating and MX work and ``integer_lanes`` for integer work,
    ``in_flight`` instructions, ``queue_depth`` per unit (executing instruction included), ``ports`` of 64 bits to
    memory, ``vrf_banks`` of the register file, ``chaining`` of dependent instructions.

    ``integer_unit``: integer work shares the unit of floating work and waits until it is idle (``shared``), or has a
    unit with a queue of its own, but for products and quotients (``separate``). ``element_requests``: requests per
    cycle of strided, indexed and misaligned accesses; 0: one per port.
    """

    vlen: Annotated[int, Field(ge=128, le=4096)] = 512
    lanes: Annotated[int, Field(ge=1, le=64)] = 4
    integer_lanes: Annotated[int, Field(ge=1, le=64)] = 1
    in_flight: Annotated[int, Field(ge=1, le=8)] = 4
    queue_depth: Annotated[int, Field(ge=1, le=4)] = 2
    ports: Annotated[int, Field(ge=1, le=64)] = 4
    vrf_banks: Annotated[int, Field(ge=1)] = 4
    chaining: bool = True
    integer_unit: Literal["shared", "separate"] = "shared"
    element_requests: Annotated[int, Field(ge=0, le=64)] = 0

    @field_validator("vlen", "lanes", "integer_lanes", "ports", "vrf_banks")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        return _checked_power(value)


class Timing(_Group):
    """Latencies in cycles; vector latencies are operand read to result write. docs/timing.md says where each enters.

    Each is a number, a table by width or a formula (:mod:`potluck.isa.latency`), but for the three penalties.
    """

    load: Latency
    mul: Latency
    div: Latency
    amo: Latency
    branch_taken: Cycles
    jump: Cycles
    fence_i: Cycles
    float_load: Latency
    float_result: Tail
    fma: Latency
    noncomp: Latency
    convert: Latency
    integer: Latency
    vmxdotp: Latency
    move: Latency
    vector_load: Latency
    vector_store: Latency
    divide_per_element: Latency
    reduction_tail: Tail
    gather_per_element: Latency


class Dma(_Group):
    """Cluster DMA: width in bits, cycles to set a transfer up."""

    width_bits: Annotated[int, Field(ge=64)] = 512
    setup_cycles: Cycles = 12


DRAM = ("simple", "ddr4", "ddr4-2400", "ddr5", "ddr5-6400", "lpddr5", "hbm2", "hbm3", "hbm4")


def _dram_kind(value: str) -> str:
    """A kind of DRAM that the simulator declares, or an installed package."""
    if value in DRAM or value in names("potluck.dram"):
        return value
    raise ValueError(f"no DRAM kind {value!r}; there are {', '.join((*DRAM, *names('potluck.dram')))}")


DramKind = Annotated[str, AfterValidator(_dram_kind)]


class Dram(_Group):
    """DRAM behind the DMA and the cores.

    ``kind``: ``simple`` is a latency in cluster cycles and a bandwidth in bytes per cycle (``latency_cycles``,
    ``bytes_per_cycle``), the others are modeled command by command (docs/dram.md): ``channels`` of them with an
    address ``mapping`` (empty: the kind's own), rows kept open or closed (``page``), a way to ``refresh``, and
    ``queue`` requests per pseudochannel. ``path_cycles`` pass between DMA or core and the controllers, both ways.
    """

    kind: DramKind = "simple"
    latency_cycles: Cycles = 100
    bytes_per_cycle: Annotated[float, Field(ge=1 / 64, le=65536)] = 64.0
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    mapping: str = ""
    page: Literal["open", "closed"] = "open"
    refresh: Literal["all-bank", "per-bank", "none"] = "all-bank"
    queue: Annotated[int, Field(ge=1, le=1024)] = 64
    path_cycles: Cycles = 60


class PotConstants(_Group):
    """Cycles of the v12 array's control: to broadcast a line of inputs, and between two weight blocks of one PPU."""

    broadcast_cycles: Annotated[int, Field(ge=1, le=64)]
    post_cycles: Annotated[int, Field(ge=1, le=1024)]


class PotEngine(_Group):
    """What the cluster's own accelerator adds to the array (docs/pot.md).

    Weights and inputs are loaded into one half of their buffers while the array computes from the other; two slots of
    ``output_bytes`` likewise. ``fetch_bytes`` of a window are read per unit and cycle, whatever their address;
    ``post_cycles`` pass between two weight blocks of a PPU, ``fill_cycles`` of a computation beyond its reads and its
    lines; ``command_cycles`` per command; ``accumulator_groups`` tiles are kept per unit where a
    depth is computed in parts.
    """

    output_bytes: Annotated[int, Field(ge=64)]
    fetch_bytes: Annotated[int, Field(ge=4, le=64)]
    post_cycles: Annotated[int, Field(ge=1, le=1024)]
    fill_cycles: Cycles
    command_cycles: Annotated[int, Field(ge=1, le=1024)]
    accumulator_groups: Annotated[int, Field(ge=1)]


class Pot(_Group):
    """PoT accelerator (docs/pot.md).

    ``units`` of 64 PEs at ``clock_hz``. Each has ``weight_lines`` (four depths of four filters of 4-bit weights; INT8
    weights take two), ``input_lines`` (four depths of four rows) in each of its buffers, and parameters of
    ``parameter_groups`` weight blocks; ``global_lines`` beats of inputs wait for all. ``multipliers``: the INT8 build.

    ``engine``: the array is the cluster's, with a command queue at ``memory.pot_base``; else a board's.

    ``constants`` chooses cycles of the control: ``sysc`` as the authors' simulation waits, ``hw`` nearer to silicon.

    The board: ``beats_per_cycle`` that DRAM gives to loads (of 16 bytes), ``transfer_seconds`` of software per DMA
    transfer, ``pack_seconds_per_byte`` for im2col, packing and unpacking on the CPU.
    """

    clock_hz: Annotated[float, Field(gt=0)]
    units: Annotated[int, Field(ge=1, le=64)]
    weight_lines: Annotated[int, Field(ge=8)]
    input_lines: Annotated[int, Field(ge=4)]
    global_lines: Annotated[int, Field(ge=4)]
    parameter_groups: Annotated[int, Field(ge=1)]
    multipliers: bool = False
    constants: Literal["sysc", "hw"] = "hw"
    sysc: PotConstants
    hw: PotConstants
    beats_per_cycle: Annotated[float, Field(gt=0, le=1)]
    transfer_seconds: Annotated[float, Field(ge=0)]
    pack_seconds_per_byte: Annotated[float, Field(ge=0)]
    engine: PotEngine | None = None

    @property
    def input_slot_bytes(self) -> int:
        """Bytes of one of the cluster's accelerator's two input slots."""
        return 8 * self.global_lines

    @property
    def weight_slot_lines(self) -> int:
        """Lines of one of its two weight slots, per unit."""
        return self.weight_lines * 4 // self.weight_bits // 2

    @property
    def weight_bits(self) -> int:
        """Bits of a weight that a PE takes."""
        return 8 if self.multipliers else 4

    @property
    def parameter_slot_groups(self) -> int:
        """Weight blocks whose parameters one of its weight slots holds, per unit."""
        return self.parameter_groups // 2

    @field_validator("units")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        return _checked_power(value)


class EnergyEntry(_Group):
    """One energy: picojoules with the node, voltage, source and band it stands on."""

    pj: Annotated[float, Field(ge=0)]
    low: Annotated[float, Field(ge=0)]
    high: Annotated[float, Field(ge=0)]
    node: str
    voltage: float
    source: str


class Machine(_Group):
    """A machine; see the groups for keys and units."""

    name: str
    description: str = ""
    timing_error_band: str
    isa: Isa = Isa()
    cluster: ClusterKeys = ClusterKeys()
    memory: MemoryKeys = MemoryKeys()
    vector: Vector = Vector()
    timing: Timing
    dma: Dma = Dma()
    dram: Dram = Dram()
    pot: Pot | None = None
    energy: dict[str, EnergyEntry]
    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def source(self, key: str) -> str:
        """Where the value of a dotted key comes from, as the machine file says behind it.

        Empty if the file gives the value without a comment, or leaves it at its default.
        """
        return self._sources.get(key, "")

    def pj(self, entry: str) -> float:
        """The energy of an entry in picojoules.

        Raises:
            MachineError: the machine has no such entry.
        """
        if entry not in self.energy:
            raise MachineError("the energy table lacks this entry", key=f"energy.{entry}")
        return self.energy[entry].pj

    @model_validator(mode="after")
    def _regions_are_apart(self) -> Machine:
        memory = self.memory
        regions = sorted([
            (memory.l1_base, memory.l1_bytes, "l1"),
            (memory.registers_base, 24, "registers"),
            (memory.pot_base, 40, "pot"),
            (memory.dram_base, memory.dram_bytes, "dram"),
        ])  # fmt: skip
        if memory.l1_bytes and memory.l1_banks < self.vector.ports:
            raise ValueError(
                f"memory.l1_banks = {memory.l1_banks}: each of the {self.vector.ports} vector.ports needs a bank"
            )
        for (low, size, name), (high, _, other) in pairwise(regions):
            if low + size > high:
                raise ValueError(
                    f"memory.{name}_base + size = {low + size:#x} overlaps memory.{other}_base = {high:#x}"
                )
        return self

    @model_validator(mode="after")
    def _accelerator_fits(self) -> Machine:
        if self.pot and self.pot.engine:
            if self.pot.clock_hz != self.cluster.clock_hz:
                raise ValueError(
                    "pot.clock_hz differs from cluster.clock_hz: the accelerator has the cluster's clock"
                )
            if not self.memory.l1_bytes:
                raise ValueError("pot.engine needs L1 for its queue")
        return self

    def peak_macs_per_cycle(self, element: str) -> float:
        """Multiply-accumulates per cycle of the whole cluster for an element format.

        MX formats use ``vmxdotp`` (8 FP8 or 16 FP4 products per lane), others the vector multiply-add; integer
        work has its own lanes. ``... on array`` is the PoT accelerator's, ``x4`` if a weight is four codes.
        """
        name = element.lower()
        if " on array" in name and self.pot:
            return 64.0 * self.pot.units / int(name.partition(" x")[2] or 1)
        lanes = self.cluster.cores * (self.vector.integer_lanes if name == "int8" else self.vector.lanes)
        if "fp8" in name or name.startswith("mxfp6"):
            return 8.0 * lanes
        if "fp4" in name:
            return 16.0 * lanes
        return {"int8": 8.0, "fp16": 4.0, "bf16": 4.0, "fp64": 1.0}.get(name, 2.0) * lanes


@cache
def _files() -> dict[str, Path]:
    return files("potluck.machines", PRESETS)


def presets() -> list[str]:
    """Names of the machines that Potluck and installed packages bring."""
    return list(_files())


def load_machine(name: str | Path = "spatz-mx", overrides: Mapping[str, Any] | None = None) -> Machine:
    """Read a preset or a TOML file.

    Args:
        name: preset name or path.
        overrides: dotted key to value, e.g. ``{"vector.vlen": "1024"}``; text is converted to the key's type.

    Raises:
        MachineError: no such machine, an unknown key (suggesting the nearest), or a value of the wrong type.
    """
    data, sources = _read(name, ())
    for key, value in (overrides or {}).items():
        _set(data, key, value)
    try:
        machine = Machine.model_validate(data)
    except ValidationError as error:
        raise _explain(error, data) from None
    machine._sources |= sources | dict.fromkeys(overrides or {}, "set by the user")
    return machine


def _read(name: str | Path, heirs: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """Keys and their sources in a file, over those of the machine that it ``extends``."""
    path = Path(name) if str(name).endswith(".toml") else _files().get(str(name), PRESETS / f"{name}.toml")
    try:
        text = path.read_text()
        data = toml_of(text)
    except FileNotFoundError:
        raise MachineError(f"no machine {str(name)!r}", hint=f"Presets: {', '.join(presets())}") from None
    except UnicodeDecodeError as error:
        raise MachineError(f"cannot read {path}: {error}") from None
    except ValueError as error:
        raise MachineError(f"{path} is not TOML: {error}") from None
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error}") from None
    if "extends" not in data:
        return data, stated_sources(text)
    parent, line = data.pop("extends"), (*heirs, str(name))
    if not isinstance(parent, str) or parent in line:
        raise MachineError(f"{path} extends {parent!r}", key="extends", hint="Name another machine")
    base, sources = _read(parent, line)
    return _merged(base, data), sources | stated_sources(text)


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Keys of both, group by group; the second's where both have one."""
    both = {
        key: _merged(base[key], value)
        if isinstance(value, dict) and isinstance(base.get(key), dict)
        else value
        for key, value in over.items()
    }
    return base | both


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    group = data
    *path, last = key.split(".")
    for part in path:
        group = group.setdefault(part, {})
        if not isinstance(group, dict):
            raise MachineError(f"{part!r} is a value, not a group of keys", key=key)
    group[last] = _plain(value)


def _plain(value: Any) -> Any:
    """Text of a number with a base (``0x1000``) as the number; pydantic converts all else by the key's type."""
    if isinstance(value, str) and value[:2].lower() in ("0x", "0b", "0o"):
        try:
            return int(value, 0)
        except ValueError:
            return value
    return value


def _explain(error: ValidationError, data: dict[str, Any]) -> MachineError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    energies = data.get("energy", {})
    known = {name for name, entry in energies.items() if isinstance(entry, dict) and "source" in entry}
    misspelled = first["type"] == "missing" and key.startswith("energy.") and first["loc"][1] not in known
    if first["type"] != "extra_forbidden" and not misspelled:
        return MachineError(first["msg"].removeprefix("Value error, "), key=key)
    if misspelled:
        key = f"energy.{first['loc'][1]}"
    fields = [
        f"energy.{name}{end}" for name in known for end in ("", *(f".{f}" for f in EnergyEntry.model_fields))
    ]
    near = difflib.get_close_matches(key, _keys(Machine) + sorted(fields), 1, 0.4)
    return MachineError("unknown key", key=key, hint=f"Did you mean {near[0]!r}?" if near else "")


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, info in model.model_fields.items():
        kind = info.annotation
        groups = [k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, BaseModel)]
        if groups:
            found += _keys(groups[0], f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found
