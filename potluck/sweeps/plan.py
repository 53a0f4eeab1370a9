"""What a sweep asks, registered before its first point, and its folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from potluck.arrays import save_npz
from potluck.compiler.schemes import written
from potluck.digest import digest_of
from potluck.isa.elf import Program
from potluck.isa.errors import DataError
from potluck.parallel.folder import Folder, Record, Seen
from potluck.replacing import replacing
from potluck.sweeps.space import Point, check, points

MODES = ("timed", "functional")
NETWORK, DATA, CALIBRATION = "network.onnx", "data.npz", "calibration.npz"
"""Files that a sweep keeps in its folder: a network of the zoo, the inputs that it runs, samples that fix ranges."""


class SweepFolder(Folder):
    """A sweep's folder."""

    what, file, format, error, begin = (
        "sweep",
        "sweep.json",
        1,
        DataError,
        "potluck sweep MODEL --set KEY=A,B",
    )


@dataclass(frozen=True)
class Plan:
    """What a sweep asks.

    Attributes:
        model: path of an ONNX or ELF file, ``demo``, or a network of the zoo.
        machines: presets or TOML files; none: the one that an ELF file was compiled for, or spatz-mx.
        schemes: of quantization, as `potluck.compiler.schemes.written` has them; none: the network as it is.
        axes: machine key -> values as text.
        samples: inputs that each point runs, and whose task metric it gives; 0: one run, no metric.
        mode: ``timed`` or ``functional``.
        dims: sizes of dynamic dimensions.
        data: .npz with inputs, and labels if a metric needs them.
        calibration: .npz with samples that fix ranges.
    """

    model: str
    machines: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    samples: int = 0
    mode: str = "timed"
    dims: Mapping[str, int] = field(default_factory=dict)
    data: Path | None = None
    calibration: Path | None = None

    @property
    def elf(self) -> bool:
        """Whether the program is compiled already."""
        return Path(self.model).suffix == ".elf"

    def check(self) -> dict[str, Any]:
        """Refuses what is wrong before any work, and says what is fixed: with the files' contents, not their names.

        Raises:
            DataError, MachineError, ModelError: naming what is wrong.
        """
        if self.mode not in MODES:
            raise DataError(
                f"mode {self.mode!r} has no place in a sweep", hint=f"Use one of {', '.join(MODES)}"
            )
        if self.elf and (self.schemes or self.samples or self.dims):
            raise DataError(f"{self.model} is compiled already: schemes, samples and sizes are of networks",
                            hint="Give the ONNX file instead")  # fmt: skip
        if not self.elf and not zoo(self.model) and self.samples and self.data is None:
            raise DataError(
                f"the metric of {self.samples} samples needs inputs and labels", hint="Give --data FILE.npz"
            )
        for name in self.schemes:
            written.parse(name)
        machines = self.machines
        if self.elf and not machines:
            machines = (Program.load(Path(self.model)).manifest.machine,)
        plain = check(machines or ("spatz-mx",), self.axes)
        return {
            "model": self.model if zoo(self.model) else digest_of(self.model),
            "machines": {machine.name: _sha(machine.model_dump_json()) for machine in plain},
            "order": list(self.machines), "schemes": list(self.schemes),
            "axes": {key: list(values) for key, values in self.axes.items()},
            "samples": self.samples, "mode": self.mode, "dims": dict(self.dims),
            "data": digest_of(self.data) if self.data else None,
            "calibration": digest_of(self.calibration) if self.calibration else None,
        }  # fmt: skip

    def points(self) -> list[Point]:
        """All points."""
        machines: tuple[str | None, ...] = self.machines or ((None,) if self.elf else ("spatz-mx",))
        return points(machines, self.schemes or (None,), self.axes)

    def store(self, folder: Path) -> None:
        """Write what every worker reads: a network of the zoo and its inputs, or the files that were given.

        Raises:
            ToolError: a package of the network is missing.
            DataError: there are fewer samples.
        """
        folder.mkdir(parents=True, exist_ok=True)
        network = zoo(self.model)
        if network is not None:
            network.check()
            with replacing(folder / NETWORK) as draft:
                draft.write_bytes(network.model().SerializeToString())
            save_npz(folder / CALIBRATION, {k: np.asarray(v) for k, v in network.calibration().items()})
        if self.data is not None:
            arrays = _arrays(self.data)
            count = min((len(array) for array in arrays.values() if array.ndim), default=0)
            if count < self.samples:
                raise DataError(f"the data have {count} samples, not {self.samples}")
            save_npz(folder / DATA, arrays)
        elif network is not None:
            made = network.samples()
            if len(made) < self.samples:
                raise DataError(f"{network.name} has {len(made)} samples, not {self.samples}")
            made = made.part(slice(0, max(1, self.samples)))
            labels = {} if made.labels is None else {"labels": made.labels}
            save_npz(folder / DATA, {**made.inputs, **labels})
        if self.calibration is not None:
            save_npz(folder / CALIBRATION, _arrays(self.calibration))

    def to_json(self) -> dict[str, Any]:
        """As it is registered."""
        place = self.model if zoo(self.model) else str(Path(self.model).resolve())
        return {"model": place, "machines": [_placed(m) for m in self.machines], "schemes": list(self.schemes),
                "axes": {key: list(values) for key, values in self.axes.items()}, "samples": self.samples,
                "mode": self.mode, "dims": dict(self.dims)}  # fmt: skip


def plan_of(held: Mapping[str, Any]) -> Plan:
    """A plan as `Plan.to_json` gave it; the data are in the folder."""
    axes = {key: tuple(values) for key, values in held["axes"].items()}
    return Plan(held["model"], tuple(held["machines"]), tuple(held["schemes"]), axes, held["samples"], held["mode"],
                held["dims"])  # fmt: skip


def zoo(name: str) -> Any:
    """A network of the zoo; None if the name is a file's.

    Raises:
        DataError: neither.
    """
    from potluck.zoo import registry

    if name == "demo":
        return registry.find("resnet8")
    if name in registry.PLACES or name in registry.LIGHT:
        return registry.find(name)
    if not Path(name).is_file():
        raise DataError(f"no file and no network {name!r}",
                        hint=f"Give a path of ONNX or ELF, or one of {', '.join(registry.PLACES)}")  # fmt: skip
    return None


class Ledger:
    """Which points are done; see `potluck.parallel.work.Ledger`.

    Args:
        count: points in all.
    """

    def __init__(self, count: int) -> None:
        self.most, self.done, self._seen = count, 0, Seen()

    def due(self) -> list[int]:
        """Points that nobody has written down."""
        return [k for k in range(self.most) if k not in self._seen]

    def add(self, records: Iterable[Record]) -> None:
        """Take records in."""
        for record in records:
            self.done += self._seen.add(record["id"])


def _placed(machine: str) -> str:
    return str(Path(machine).resolve()) if machine.endswith(".toml") else machine


def _arrays(path: Path) -> dict[str, Any]:
    from potluck.arrays import load_npz

    return load_npz(path)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hash_of(checked: Mapping[str, Any]) -> str:
    """Of what `Plan.check` gave."""
    return _sha(json.dumps(checked, sort_keys=True))
