"""`potluck.Campaign`: a campaign from Python."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from potluck.arrays import save_npz
from potluck.campaign.bench import AS_IS
from potluck.campaign.report import print_summary, write_report
from potluck.campaign.run import begin, check_unchanged, work
from potluck.campaign.spec import Spec, load_spec, validated
from potluck.campaign.store import Store
from potluck.campaign.story import Story, tell
from potluck.campaign.summary import summarize
from potluck.isa.elf import Program
from potluck.isa.errors import CampaignError
from potluck.parallel.journal import Damage
from potluck.parallel.schedulers import scheduler_of
from potluck.parallel.work import Step


class Result:
    """What a campaign found.

    Attributes:
        store: its folder.
        data: plain JSON values, see `potluck.campaign.summary.summarize`.
        damage: what the run that gave this could not read of earlier ones' journals, and so did again.
    """

    def __init__(self, store: Store, damage: Damage | None = None) -> None:
        self.store = store
        self.data = summarize(store)
        self.damage = damage or Damage()

    @property
    def cells(self) -> list[dict[str, Any]]:
        """One for each scheme under each fault model and stack."""
        return list(self.data["cells"])

    @property
    def fit(self) -> list[dict[str, Any]]:
        """FIT_SDC and FIT_DUE, if faults are of kind ``modes``."""
        return list(self.data["fit"])

    @property
    def trials(self) -> list[dict[str, Any]]:
        """Every trial, by id."""
        return sorted(self.store.records(), key=lambda record: int(record["id"]))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return self.data

    def print(self) -> None:
        """As ``potluck campaign report`` prints it."""
        console = Console()
        print_summary(self.data, console)
        torn, corrupt = self.damage.torn, self.damage.corrupt
        if torn or corrupt:
            console.print(f"journals: {torn} torn and {corrupt} damaged bytes, whose trials ran again",
                          highlight=False, soft_wrap=True)  # fmt: skip

    def report(self, path: str | Path) -> Path:
        """Write an HTML page."""
        return write_report(self.data, Path(path))


class Campaign:
    """A campaign of trials on one network.

    Args:
        program: a compiled program, what `potluck.quantize` gives, ``demo``, a network of the zoo, or a path.
        faults: one or several fault models with the keys of the spec, such as ``{"kind": "uniform", "ber": 1e-4}``.
        protection: one or several stacks.
        data: arrays by input, and ``labels``, or the path of an .npz file; None where the network brings its own.
        folder: where trials are kept; None: a temporary one, gone with this object and its results.
        seed: of the faults.
        trials: of each cell at most.
        samples: inputs of a trial; 64, or all if there are fewer.
        options: further tables of the spec: ``network``, ``metrics``, ``stop``, ``name``, ``policy``.

    Raises:
        CampaignError: see `potluck.campaign.spec.validated`.
    """

    def __init__(
        self, program: Any, *, faults: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        protection: str | Sequence[str] = "none", data: Mapping[str, Any] | str | Path | None = None,
        folder: str | Path | None = None, seed: int = 1, trials: int = 200, samples: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        temporary = tempfile.TemporaryDirectory(prefix="potluck-campaign-") if folder is None else None
        place = Path(temporary.name if temporary else folder or "")
        place.mkdir(parents=True, exist_ok=True)
        self.store = Store(place, temporary)
        given = {"model": _stored(program, place), "schemes": [AS_IS]} | dict(options.pop("network", {}))
        found = _data(data, place)
        if isinstance(program, Program):
            given.setdefault("machine", program.manifest.machine)
        if samples is None:
            samples = 64 if not found else min(64, _count(found))
        policy = options.pop("policy", "pass")
        self.spec: Spec = validated({
            "seed": seed, "network": given, "data": {"path": found, "samples": samples},
            "faults": [dict(faults)] if isinstance(faults, Mapping) else [dict(one) for one in faults],
            "protection": {"stacks": protection, "policy": policy},
            "stop": {"trials": trials} | dict(options.pop("stop", {})), **options,
        })  # fmt: skip

    @property
    def base(self) -> Path:
        """Folder that relative paths count from."""
        return Path.cwd()

    def run(
        self, jobs: int = 1, scheduler: str | None = None, step: Step = lambda done, most: None
    ) -> Result:
        """Run what has not run yet.

        Args:
            jobs: processes of this host; -1: one per processor.
            scheduler: address of a Dask scheduler instead.
            step: told of progress.
        """
        return run(self.spec, self.base, self.store, jobs, scheduler, step, resume=True)

    def replay(self, trial: int) -> Story:
        """Run one trial again, and tell what happened."""
        return tell(self.store, trial)


def run(
    spec: Spec, base: Path, store: Store, jobs: int = 1, scheduler: str | None = None,
    step: Step = lambda done, most: None, resume: bool = False,
) -> Result:  # fmt: skip
    """Begin a campaign, or go on with it, to its end.

    Args:
        spec: what is asked.
        base: folder that its paths count from.
        store: the campaign's folder.
        jobs: processes of this host; -1: one per processor.
        scheduler: address of a Dask scheduler instead.
        step: told of progress.
        resume: whether it may have been begun.

    Raises:
        CampaignError: it was begun and may not have been, or with another spec.
    """
    with store.locked():
        if resume and store.registered:
            check_unchanged(spec, base, store)
        else:
            begin(spec, base, store)
        workers, damage = scheduler_of(scheduler, jobs), Damage()
        try:
            work(store, workers, step, damage)
        finally:
            workers.close()
    return Result(store, damage)


def _stored(network: Any, place: Path) -> str:
    if isinstance(network, Program):
        network.save(place / "program.elf")
        return str((place / "program.elf").resolve())
    if hasattr(network, "save"):
        network.save(place / "network.onnx")
        return str((place / "network.onnx").resolve())
    path = Path(str(network))
    return str(path.resolve()) if path.is_file() else str(network)


def _data(data: Mapping[str, Any] | str | Path | None, place: Path) -> str:
    if data is None:
        return ""
    path = place / "data.npz"
    if isinstance(data, Mapping):
        save_npz(path, {name: np.asarray(value) for name, value in data.items()})
    else:
        source = Path(data)
        if not source.is_file():
            raise CampaignError(f"cannot read {source}: no such file", key="data.path")
        if source.resolve() != path.resolve():
            shutil.copyfile(source, path)
    return str(path.resolve())


def _count(path: str) -> int:
    with np.load(path) as held:
        return min(len(held[name]) for name in held.files)


__all__ = ["Campaign", "Result", "Spec", "load_spec", "run"]
