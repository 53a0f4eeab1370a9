"""Batches of hostile executions: counted, resumable, every batch a function of (seed, generator, number) alone.

A batch runs in a child process with limits, so that a crash, a hang or memory without end of the host is seen and
counted as a finding, and told with the execution that caused it.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import multiprocessing as mp
import random
import resource
import signal
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.robustness.arena import TEXT, Arena, Escape, Outcome, Setting, Stepper, snapshot
from tests.robustness.elves import bases, mutated
from tests.robustness.fresh import Root, mutant
from tests.robustness.states import image, states
from tests.robustness.words import THEMES, sequence

PROGRAMS, STATES = 40, 500  # of a batch of words
STEPPED = 16  # one execution in so many is repeated instruction by instruction
MUTANTS = 250  # of a batch of executables or of processes
WORDS = (*THEMES, "noise", "mixed", "code changes", "two harts")
GENERATORS = (*(f"words: {name}" for name in WORDS), *(f"elf: {name}" for name in bases()), "calls: linux")
SLOWEST = 10.0  # seconds of CPU for one execution of a few hundred instructions
HANGS = 240.0  # seconds without any execution coming to an end
ADDRESS_SPACE = 24 << 30  # bytes a child may map
GROWTH = 2 << 30  # bytes of memory that a batch may leave behind
BATCHES_PER_CHILD = 40  # compiled handlers add up
MOST_FINDINGS = 50
PR_SET_PDEATHSIG = 1

Progress = Callable[[int], None]


@dataclass
class Tally:
    """What was done by one generator; ``stepped`` are those whose trap and state were compared step by step."""

    batches: int = 0
    executions: int = 0
    stepped: int = 0
    seconds: float = 0.0
    ends: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count a batch."""
        self.batches += other.batches
        self.executions += other.executions
        self.stepped += other.stepped
        self.seconds += other.seconds
        self.ends = dict(Counter(self.ends) + Counter(other.ends))
        self.findings += other.findings


def setting_of(theme: str, number: int, rng: random.Random) -> Setting:
    """The machine of a batch."""
    return Setting(
        vlen=(128, 512, 4096)[number % 3], timed=number % 2 == 0, cores=2 if theme == "two harts" else 1,
        tohost=rng.random() < 0.4, misaligned=rng.random() < 0.4, changes=theme == "code changes",
    )  # fmt: skip


@dataclass(frozen=True)
class Batch:
    """One batch of words: its machine, code and states."""

    setting: Setting
    text: bytes
    entries: list[int]
    seed: tuple[int, int]

    @classmethod
    def make(cls, seed: int, theme: str, number: int) -> Batch:
        """Draw it."""
        rng = random.Random(f"{seed} {theme} {number}")
        setting = setting_of(theme, number, rng)
        text, entries = bytearray(), []
        for _ in range(PROGRAMS):
            entries.append(TEXT + len(text))
            text += sequence(rng, "mixed" if theme == "two harts" else theme, rng.randrange(3, 13))
        return cls(setting, bytes(text), entries, (rng.getrandbits(32), number))

    def executions(self) -> Iterator[tuple[int, int]]:
        """(entry, number of the state), some entries in the middle of an instruction."""
        rng = random.Random(self.seed[0])
        for entry in self.entries:
            for number in range(STATES):
                yield (entry + 2 * rng.randrange(0, 8) if number % 8 == 7 else entry), number


def run_words(seed: int, theme: str, number: int, progress: Progress) -> Tally:
    """A batch of one theme."""
    batch = Batch.make(seed, theme, number)
    rng = np.random.default_rng(batch.seed)
    data = image(rng)
    initial = states(rng, batch.setting.vlen, STATES)
    arena = Arena(batch.setting, batch.text, data)
    stepper = Stepper(batch.setting, batch.text, data) if batch.setting.cores == 1 else None

    def one(index: int, entry: int, state: int) -> tuple[Outcome, bool]:
        outcome = arena.run(entry, initial[state])
        if stepper is None or (index % STEPPED and state):
            return outcome, False
        stepper.agree(entry, initial[state], outcome, snapshot(arena))
        return outcome, True

    cases = ((lambda i=i, e=e, s=s: one(i, e, s)) for i, (e, s) in enumerate(batch.executions()))
    return _count(cases, progress)


def run_elves(seed: int, base: str, number: int, progress: Progress) -> Tally:
    """A batch of mutated executables."""

    def one(index: int) -> tuple[Outcome, bool]:
        rng = random.Random(f"{seed} {base} {number} {index}")
        return mutant(mutated(rng, base), index % 2 == 0), False

    return _count((lambda k=k: one(k) for k in range(MUTANTS)), progress)


def run_calls(seed: int, _: str, number: int, progress: Progress) -> Tally:
    """A batch of processes with hostile system calls; the root stays while a batch lasts."""
    root = Root()

    def one(index: int) -> tuple[Outcome, bool]:
        return root.run(random.Random(f"{seed} calls {number} {index}"), index % 2 == 0), False

    try:
        return _count((lambda k=k: one(k) for k in range(MUTANTS)), progress)
    finally:
        root.close()


def _count(cases: Iterator[Callable[[], tuple[Outcome, bool]]], progress: Progress) -> Tally:
    tally, ends = Tally(batches=1), Counter[str]()
    begin = time.monotonic()
    for index, case in enumerate(cases):
        progress(index)
        start = time.process_time()
        try:
            outcome, stepped = case()
            ends[outcome.kind] += 1
            tally.stepped += stepped
        except Escape as problem:
            tally.findings.append(f"execution {index}: {problem}")
        except Exception as problem:  # anything else that a user would see is a finding, too
            place = traceback.extract_tb(problem.__traceback__)[-1]
            where = f"{Path(place.filename).name}:{place.lineno}"
            tally.findings.append(f"execution {index}: {type(problem).__name__} at {where}: {problem}")
        if time.process_time() - start > SLOWEST:
            tally.findings.append(f"execution {index}: took {time.process_time() - start:.0f} s")
        tally.executions += 1
    tally.seconds, tally.ends = time.monotonic() - begin, dict(ends)
    return tally


RUNNERS: dict[str, Callable[[int, str, int, Progress], Tally]] = {
    "words": run_words, "elf": run_elves, "calls": run_calls,
}  # fmt: skip


def run_batch(seed: int, generator: str, number: int, progress: Progress = lambda index: None) -> Tally:
    """One batch, in this process."""
    kind, _, theme = generator.partition(": ")
    return RUNNERS[kind](seed, theme, number, progress)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def _child(pipe: Connection, shared: mmap.mmap) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing runs on when the campaign is stopped

    def progress(index: int) -> None:
        struct.pack_into("<Q", shared, 0, index)

    while True:
        order = pipe.recv()
        if order is None:
            return
        before = _resident()
        tally = run_batch(*order, progress)
        grown = _resident() - before
        if grown > GROWTH:
            tally.findings.append(f"the batch left {grown >> 20} MiB behind")
        pipe.send(tally)


class Child:
    """A process for batches; a crash or a hang ends it alone."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self._process: mp.process.BaseProcess | None = None
        self._done = 0

    def run(self, seed: int, generator: str, number: int) -> Tally:
        """A batch; a crash or a hang of the host is a finding."""
        if self._process is None:
            context = mp.get_context("fork")
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_child, args=(theirs, self._shared), daemon=True)
            self._process.start()
            theirs.close()
            self._done = 0
        struct.pack_into(
            "<Q", self._shared, 0, 0
        )  # nothing of this batch has run: a loss must not count the last one's
        self._pipe.send((seed, generator, number))
        begin, seen, since = time.monotonic(), -1, time.monotonic()
        while not self._pipe.poll(1.0):
            index = struct.unpack_from("<Q", self._shared, 0)[0]
            if index != seen:
                seen, since = index, time.monotonic()
            if not self._process.is_alive() and not self._pipe.poll(0):
                return self._lost(f"the host ended with code {self._process.exitcode}", begin)
            if time.monotonic() - since > HANGS:
                return self._lost(f"nothing came to an end for {HANGS:.0f} s", begin)
        try:
            tally = self._pipe.recv()
        except EOFError:
            self._process.join()
            return self._lost(f"the host ended with code {self._process.exitcode}", begin)
        assert isinstance(tally, Tally)
        self._done += 1
        if self._done >= BATCHES_PER_CHILD:
            self.close()
        return tally

    def _lost(self, what: str, begin: float) -> Tally:
        index = struct.unpack_from("<Q", self._shared, 0)[0]
        self.close(kill=True)
        return Tally(1, index, 0, time.monotonic() - begin, {}, [f"execution {index}: {what}"])

    def close(self, kill: bool = False) -> None:
        """End the process."""
        if self._process is None:
            return
        if kill:
            self._process.kill()
        else:
            self._pipe.send(None)
        self._process.join()
        self._process = None


@dataclass
class Campaign:
    """Tallies by generator."""

    seed: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    child: Child = field(default_factory=Child, repr=False)

    @property
    def executions(self) -> int:
        """Of all generators."""
        return sum(tally.executions for tally in self.tallies.values())

    @property
    def findings(self) -> list[str]:
        """All of them, each with its batch."""
        return [finding for tally in self.tallies.values() for finding in tally.findings]

    def step(self, generator: str, first: int = 0, stride: int = 1) -> Tally:
        """The next batch of a generator; ``first`` and ``stride`` divide the numbers between processes."""
        tally = self.tallies.setdefault(generator, Tally())
        number = first + stride * tally.batches
        found = self.child.run(self.seed, generator, number)
        found.findings = [f"{generator}, batch {number}, {text}" for text in found.findings]
        tally.add(found)
        return found

    def save(self, path: Path) -> None:
        """Write all tallies; nothing partial is left behind."""
        data = {"seed": self.seed, "executions": self.executions,
                "tallies": {name: asdict(tally) for name, tally in self.tallies.items()}}  # fmt: skip
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(json.dumps(data, indent=1))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Campaign:
        """A campaign where :meth:`save` left it."""
        data = json.loads(path.read_text())
        return cls(data["seed"], {name: Tally(**tally) for name, tally in data["tallies"].items()})
