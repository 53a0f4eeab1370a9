"""Batches of random programs of a group; counted, resumable, every batch a function of (seed, group, number) alone."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from potluck.isa.insn import Insn
from potluck.isa.table import TABLE
from tests.differential.generate import VTYPES, Generator, Rates, suits
from tests.differential.program import Program
from tests.differential.run import Pair
from tests.differential.scope import groups
from tests.differential.shrink import Shrinker

VLENS = (512, 128, 1024, 4096, 256, 2048)
DIRECTED = {
    "directed: vstart": Rates(partway=0.5),
    "directed: overlap and legality": Rates(wild=1.0),
    "directed: end of memory": Rates(end=0.5),
}
"""Classes of behaviour that random operands seldom meet; each draws from every vector row."""
COVERAGE = "directed: coverage"
MOST_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Size:
    """Programs in a batch, instructions in a program, states that each program is run from."""

    programs: int = 24
    length: int = 60
    runs: int = 40


@dataclass
class Tally:
    """What was done for one group."""

    batches: int = 0
    instructions: int = 0
    runs: int = 0
    latitude: dict[str, int] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


@dataclass
class Campaign:
    """Tallies by group and the coverage of vector rows: (mnemonic, vtype without policies, masked) -> executions."""

    seed: int
    size: Size = field(default_factory=Size)
    tallies: dict[str, Tally] = field(default_factory=dict)
    coverage: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    pairs: dict[int, Pair] = field(default_factory=dict, repr=False)

    def run(
        self, group: str, count: int, done: Callable[[Tally], None] = lambda tally: None,
        vlens: Sequence[int] = VLENS,
    ) -> Tally:  # fmt: skip
        """Run batches of a group until ``count`` instructions have retired; ``done`` after each batch.

        The directed coverage ends with the last place of the table, whatever the count.
        """
        tally = self.tallies.setdefault(group, Tally())
        while (tally.instructions < count or group == COVERAGE) and len(tally.findings) < MOST_FINDINGS:
            vlen = vlens[tally.batches % len(vlens)]
            programs = list(self.programs(group, tally.batches, vlen))
            if not programs:
                break
            if vlen not in self.pairs:
                self.pairs[vlen] = Pair(vlen)
            self._run_batch(self.pairs[vlen], programs, tally, timed=tally.batches % 2 == 0)
            tally.batches += 1
            done(tally)
        return tally

    def programs(self, group: str, batch: int, vlen: int) -> Iterator[Program]:
        """The programs of one batch."""
        known = groups()
        everything = [row for rows in known.values() for row in rows]
        if group == COVERAGE:
            yield from self._coverage_programs(everything, batch, vlen)
            return
        rows = known.get(group) or [row for row in everything if row.is_vector]
        rates = DIRECTED.get(group, Rates())
        for k in range(self.size.programs):
            number = batch * self.size.programs + k
            rng = random.Random(f"{self.seed} {group} {number}")
            maker = Generator(rng, vlen, rows, everything, number % 4 != 3, rates)
            yield maker.program(self.size.length, self.seed, number)

    def _coverage_programs(self, everything: list[Insn], batch: int, vlen: int) -> Iterator[Program]:
        """Every vector row at every SEW and LMUL where it is legal, masked and not, in a fixed order."""
        rng = random.Random(f"{self.seed} {COVERAGE}")
        places = [place for row in everything for place in cells(row)]
        rng.shuffle(places)
        length = self.size.length // 2
        start = batch * length * self.size.programs
        for k in range(self.size.programs):
            part = places[start + k * length : start + (k + 1) * length]
            if part:
                number = batch * self.size.programs + k
                maker = Generator(
                    random.Random(f"{self.seed} {number}"), vlen, everything, everything, number % 2 == 0
                )
                chosen = [
                    (TABLE[m], vtype | rng.getrandbits(2) << 6, bool(masked)) for m, vtype, masked in part
                ]
                yield maker.under(chosen, self.seed, number)

    def _run_batch(self, pair: Pair, programs: Sequence[Program], tally: Tally, timed: bool) -> None:
        pair.timed = timed
        pair.latitude.clear()
        before = pair.retired
        failed = []
        pair.load(programs)
        for number, program in enumerate(programs):
            for run in range(self.size.runs):
                if pair.compare(number, run):
                    failed.append((program, run))
                    break
                tally.runs += 1
            self._cover(program)
        tally.instructions += pair.retired - before
        for name, count in pair.latitude.items():
            tally.latitude[name] = tally.latitude.get(name, 0) + count
        for program, run in failed[:MOST_FINDINGS]:
            shrunk = Shrinker(pair, program, run).shrink()
            why = shrunk.latitude
            if why:
                tally.latitude[why] = tally.latitude.get(why, 0) + 1
            else:
                tally.findings.append(str(shrunk))

    def _cover(self, program: Program) -> None:
        for item in program.items:
            if item.insn.is_vector and not item.wild:
                masked = int(item.fields.get("vm", 1) == 0)
                self.coverage[item.insn.mnemonic, item.context.vtype & 0x3F, masked] += self.size.runs

    def save(self, path: Path) -> None:
        """Write all tallies; nothing partial is left behind."""
        coverage = [[*key, value] for key, value in sorted(self.coverage.items())]
        data = {"seed": self.seed, "size": asdict(self.size), "coverage": coverage,
                "tallies": {name: asdict(tally) for name, tally in self.tallies.items()}}  # fmt: skip
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(json.dumps(data, indent=1))
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Campaign:
        """A campaign where :meth:`save` left it."""
        data = json.loads(path.read_text())
        tallies = {name: Tally(**tally) for name, tally in data["tallies"].items()}
        coverage = Counter({(m, vtype, masked): count for m, vtype, masked, count in data["coverage"]})
        return cls(data["seed"], Size(**data["size"]), tallies, coverage)


def cells(row: Insn) -> list[tuple[str, int, int]]:
    """The (mnemonic, vtype, masked) of a vector row that are legal for some operands; policies undisturbed."""
    if not row.is_vector:
        return []
    vtypes = [vtype for vtype in VTYPES if vtype < 64 and suits(row.mnemonic, vtype)]
    masks = (0, 1) if row.maskable else (0,)
    return [(row.mnemonic, vtype, masked) for vtype in vtypes for masked in masks]


def all_groups() -> list[str]:
    """Extension groups, then the directed ones."""
    return [*groups(), *DIRECTED, COVERAGE]
