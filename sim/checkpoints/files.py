"""Golden runs in files that several processes map: one records them, all share the pages."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.sim.checkpoints.golden import Golden
from potluck.sim.checkpoints.pages import PageStore
from potluck.sim.checkpoints.stage import Point

PAGES, TABLE = "pages.npy", "golden.npz"


@dataclass(frozen=True, eq=False)
class Recorded:
    """Golden runs of one program.

    Attributes:
        store: of the contents of pages.
        arena: page numbers that runs may write.
        runs: one for each sample.
    """

    store: PageStore
    arena: tuple[int, ...]
    runs: Sequence[Golden]


def shared(folder: Path, key: str, make: Callable[[], Recorded]) -> Recorded:
    """What lies in a folder under a key; made and written if this process is the first.

    Args:
        folder: is made if it is missing.
        key: that stands for all that the runs depend on.
        make: records them.
    """
    place = folder / key
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / f"{key}.lock"):
        if not place.exists():
            temporary = Path(mkdtemp(dir=folder, prefix=f"{key}."))
            try:
                _write(temporary, make())
                temporary.rename(place)
            except BaseException:
                shutil.rmtree(temporary, ignore_errors=True)
                raise
    return _read(place)


@contextmanager
def _locked(path: Path) -> Any:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(folder: Path, made: Recorded) -> None:
    np.save(folder / PAGES, made.store.pages[: made.store.count])
    points = [point for run in made.runs for point in run.points]
    tables, which = _distinct([run.reads for run in made.runs])
    width = max(run.contents.shape[1] for run in made.runs)
    arrays: dict[str, NDArray[Any]] = {
        "arena": np.array(made.arena, np.int64), "lengths": np.array([len(run.points) for run in made.runs]),
        "widths": np.array([run.contents.shape[1] for run in made.runs]),
        "contents": np.concatenate([np.pad(r.contents, ((0, 0), (0, width - r.contents.shape[1]))) for r in made.runs]),
        "layers": np.concatenate([run.layers for run in made.runs]),
        "rounds": np.array([point.rounds for point in points]),
        "transfers": np.array([point.transfers for point in points]),
        "harts": np.stack([point.harts for point in points]), "states": np.stack([point.states for point in points]),
        "first": np.array([run.first for run in made.runs]), "reads": np.stack(tables), "which": np.array(which),
        "by_hart": np.array([run.by_hart for run in made.runs]),
        "names": np.array(list(made.runs[0].outputs)),
    }  # fmt: skip
    for k, name in enumerate(made.runs[0].outputs):
        arrays[f"output{k}"] = np.stack([run.outputs[name] for run in made.runs])
    np.savez(folder / TABLE, **arrays)  # type: ignore[arg-type]


def _distinct(tables: list[NDArray[np.uint64]]) -> tuple[list[NDArray[np.uint64]], list[int]]:
    """Each table once (most runs read the same at the same time), and which one every run has."""
    known: dict[bytes, int] = {}
    which = [known.setdefault(table.tobytes(), len(known)) for table in tables]
    return [tables[which.index(k)] for k in range(len(known))], which


def _read(folder: Path) -> Recorded:
    store = PageStore(np.load(folder / PAGES, mmap_mode="r"))
    with np.load(folder / TABLE, allow_pickle=False) as held:
        table = {name: held[name] for name in held.files}
    ends = np.cumsum(table["lengths"])
    runs = []
    for k, (end, length) in enumerate(zip(ends.tolist(), table["lengths"].tolist(), strict=True)):
        mine = range(end - length, end)
        points = [Point(int(table["rounds"][n]), table["harts"][n], table["states"][n], int(table["transfers"][n]))
                  for n in mine]  # fmt: skip
        contents = np.ascontiguousarray(table["contents"][mine.start : end, : table["widths"][k]])
        outputs = {str(name): table[f"output{n}"][k] for n, name in enumerate(table["names"])}
        runs.append(
            Golden(
                points, contents, table["layers"][mine.start : end], int(table["first"][k]),
                table["reads"][table["which"][k]], outputs, tuple(table["by_hart"][k].tolist()),
            )
        )  # fmt: skip
    return Recorded(store, tuple(table["arena"].tolist()), runs)
