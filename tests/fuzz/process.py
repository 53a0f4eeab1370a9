"""One process of libFuzzer over one reader: ``python -m tests.fuzz.process READER FOLDER COUNT SEED``.

Findings go to FOLDER as files (input and what became of it); inputs are counted in FOLDER/count, so that a process that
dies leaves the number. A finding is: another exception than ours, a logged traceback, more memory than `MEMORY` for one
input, or more processor time than `SECONDS`; a crash or a hang ends the process, and libFuzzer keeps the input.
"""

from __future__ import annotations

import gc
import hashlib
import logging
import mmap
import sys
import tempfile
import time
import traceback
import types
from importlib import import_module
from pathlib import Path
from random import Random

import atheris

from potluck.isa.errors import PotluckError
from potluck.peak import peak_memory
from tests.fuzz.targets import TARGETS, Target

MEMORY = 256 << 20
"""Bytes by which the process may grow for one input."""
SECONDS = 10.0
"""Processor seconds of one input; all inputs are of some kilobytes."""
LONGEST = 1 << 15
"""Bytes of an input."""


class Logged(logging.Handler):
    """A library that logs a traceback shows it to the user: that is a finding, too."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.seen.append(f"{record.name}: {record.getMessage()}"[:200])


class Judge:
    """Runs inputs and keeps what must not happen, once for each place it happens at."""

    def __init__(self, target: Target, folder: Path) -> None:
        self._read, self._folder, self._seen = target.read, folder, set[str]()
        self._logged = Logged()
        logging.getLogger().addHandler(self._logged)
        counter = folder / "count"
        if not counter.exists():
            counter.write_bytes(bytes(16))
        with counter.open("r+b") as file:
            self._count = memoryview(mmap.mmap(file.fileno(), 16)).cast("Q")
        self._scratch = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self._peak = peak_memory()

    def __call__(self, data: bytes) -> None:
        path = self._scratch / "input.bin"
        path.write_bytes(data)
        self._count[0] += 1
        start = time.thread_time()
        try:
            self._read(path)
            self._count[1] += 1
        except PotluckError:
            pass
        except Exception as problem:
            trace = traceback.extract_tb(problem.__traceback__)
            place = trace[-1]
            self._keep(f"{type(problem).__name__} at {Path(place.filename).name}:{place.lineno}", data,
                       "".join(traceback.format_exception(problem))[-6000:])  # fmt: skip
        if self._logged.seen:
            self._keep(
                f"logged a traceback: {self._logged.seen[0].split(':')[0]}", data, self._logged.seen[0]
            )
            self._logged.seen.clear()
        spent = time.thread_time() - start
        if spent > SECONDS:
            self._keep("slow", data, f"{spent:.1f} s")
        peak = peak_memory()
        if peak - self._peak > MEMORY:
            self._keep("memory", data, f"{(peak - self._peak) >> 20} MiB for one input")
        self._peak = max(peak, self._peak)

    def _keep(self, kind: str, data: bytes, text: str) -> None:
        if kind in self._seen:
            return
        self._seen.add(kind)
        name = hashlib.sha256(kind.encode()).hexdigest()[:12]
        (self._folder / f"{name}.bin").write_bytes(data)
        (self._folder / f"{name}.txt").write_text(f"{kind}\n{text}\n", errors="backslashreplace")


def _watch(modules: tuple[str, ...]) -> None:
    """Make branches of these modules' functions visible to libFuzzer."""
    files = {import_module(name).__file__ for name in modules}
    for item in gc.get_objects():
        if isinstance(item, types.FunctionType) and item.__code__.co_filename in files:
            atheris.instrument_func(item)


def main() -> None:
    reader, folder, count, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    target = TARGETS[reader]()
    _watch(target.watched)
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.seeds():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)

    def change(data: bytes, most: int, number: int) -> bytes:
        rng = Random(number)
        try:
            made = target.change(data, rng) if rng.randrange(4) else data
        except (RecursionError, ValueError):  # of a change, not of a reader
            made = data
        if made is data or not rng.randrange(8):
            made = bytes(atheris.Mutate(made[:most], most))
        return made[:most]

    options = [f"-runs={count}", f"-seed={seed}", f"-max_len={LONGEST}", "-timeout=100", "-rss_limit_mb=4096",
               "-print_final_stats=0", "-verbosity=0", f"-artifact_prefix={folder}/died-", "-reload=0"]  # fmt: skip
    atheris.Setup([reader, *options, str(corpus)], Judge(target, folder), custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
