"""Trace files: format by name or suffix, compressed if the name ends in .gz, written whole or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from potluck.isa.errors import DataError
from potluck.replacing import replacing
from potluck.sim.observation.trace import Trace
from potluck.views.konata import konata
from potluck.views.perfetto import perfetto

Writer = Callable[[Trace], Iterator[Any]]
FORMATS: dict[str, Writer] = {"konata": konata, "perfetto": perfetto}
SUFFIXES = {
    ".kanata": "konata",
    ".konata": "konata",
    ".log": "konata",
    ".json": "perfetto",
    ".perfetto": "perfetto",
}
LEVEL = 1  # of zlib: what higher ones save is not worth their time here


def format_of(path: Path, name: str | None = None) -> str:
    """The format that a file is to have: the one named, else the one its suffix stands for.

    Raises:
        DataError: no such format, or a suffix that stands for none.
    """
    if name is not None:
        if name not in FORMATS:
            raise DataError(f"no trace format {name!r}; there are {', '.join(FORMATS)}")
        return name
    suffix = Path(path.stem if path.suffix == ".gz" else path.name).suffix
    if suffix not in SUFFIXES:
        known = ", ".join(f"{suffix} ({kind})" for suffix, kind in SUFFIXES.items())
        raise DataError(f"{path}: the suffix names no trace format; known are {known}, each also with .gz")
    return SUFFIXES[suffix]


def write_trace(trace: Trace, path: str | Path, name: str | None = None) -> None:
    """Write a trace.

    Args:
        trace: of a run in mode traced.
        path: of the file; compressed if it ends in .gz.
        name: ``konata`` or ``perfetto``; default: as the suffix says.

    Raises:
        DataError: unknown format, or the file cannot be written.
    """
    path = Path(path)
    parts = FORMATS[format_of(path, name)](trace)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            for piece in _compressed(parts) if path.suffix == ".gz" else parts:
                file.write(piece)
    except OSError as problem:
        raise DataError(f"cannot write {path}: {problem.strerror}") from None


def _compressed(parts: Iterator[Any]) -> Iterator[bytes]:
    """One gzip member (browsers read no second one); a part is compressed while the next is made."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 31)
    with ThreadPoolExecutor(1) as pool:
        under_way: Future[bytes] | None = None
        for part in parts:
            data = bytes(part)
            if under_way:
                yield under_way.result()
            under_way = pool.submit(packer.compress, data)
        if under_way:
            yield under_way.result()
    yield packer.flush()


__all__ = ["FORMATS", "format_of", "write_trace"]
