"""The DRAM of a machine: channels, their state from transfer to transfer, traces, counts and energy."""

from __future__ import annotations

from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import DataError, MachineError
from potluck.sim.dram import clocks, engine
from potluck.sim.dram.kind import Kind
from potluck.sim.dram.mapping import FIELDS, Mapping
from potluck.sim.dram.requests import DramArrays, range_beats, run_all, serve_range, work_words
from potluck.sim.dram.rules import COMMANDS, WAITING, compile_rules, waits
from potluck.sim.raw import address_of

Page = Literal["open", "closed"]
Refresh = Literal["all-bank", "per-bank", "none"]
PIECE = 1 << 16  # bursts that are scheduled at a time, for the host's memory
MODELED = 1 << 22  # bursts of one transfer that are scheduled at all
NODES = 4  # of a bank: channel, rank, bank group, bank
BYPASS_LIMIT = 4  # columns that may overtake the oldest request, in queue lengths


@dataclass(frozen=True)
class Counts:
    """What a DRAM has done.

    Attributes:
        reads: bursts read.
        writes: bursts written.
        row_hits: of them, those that found their row open.
        row_closed: those that found their bank closed.
        row_conflicts: those that had to close another row.
        activations: rows opened.
        refreshes: REFab commands.
        bank_refreshes: REFpb commands.
        bytes: read and written, whole bursts.
    """

    reads: int = 0
    writes: int = 0
    row_hits: int = 0
    row_closed: int = 0
    row_conflicts: int = 0
    activations: int = 0
    refreshes: int = 0
    bank_refreshes: int = 0
    bytes: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def times(self, count: int) -> Counts:
        """The same so many times."""
        return Counts(*(count * getattr(self, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Served:
    """Outcome of a trace.

    Attributes:
        done: int64 [n], clock after each request's last data beat.
        log: int64 [m, 6]: clock, command, channel, bank, row, request; in the order of issue within a channel.
    """

    done: NDArray[np.int64]
    log: NDArray[np.int64]


class System:
    """Channels of one kind.

    Args:
        kind: the DRAM.
        channels: how many.
        mapping: address mapping; empty: the kind's own.
        page: ``open``: rows stay open; ``closed``: the last waiting access to a row closes it.
        refresh: ``all-bank``, ``per-bank`` or ``none``.
        queue: requests that the scheduler sees, per pseudochannel.
        cycle_ps: period of the clock in which transfers are given, in picoseconds.

    Raises:
        MachineError: a mapping that does not fit, or per-bank refresh of a kind that has none.
    """

    def __init__(
        self, kind: Kind, channels: int = 1, mapping: str = "", page: Page = "open", refresh: Refresh = "all-bank",
        queue: int = 64, cycle_ps: Fraction | int = 1000,
    ) -> None:  # fmt: skip
        self.kind, self.channels, self.refresh = kind, channels, refresh
        self.mapping = Mapping(kind, channels, mapping)
        if refresh == "per-bank" and not kind.refreshes_banks:
            raise MachineError(
                f"{kind.key} has no per-bank refresh", key="dram.refresh", hint="Use all-bank."
            )
        o, t = kind.organization, kind.timing
        banks = o.ranks_per_channel * o.banks_per_rank
        tables, records = compile_rules(kind.rules, refresh, o.ranks), bank_records(kind)
        self._waits = waits(tables, records[:, :NODES], o.banks_per_rank, o.ranks)
        self._banks = np.repeat(records[None], channels, axis=0)
        self._allowed = np.zeros((channels, int(records[:, :NODES].max()) + WAITING), np.int64)
        self._ranks = np.zeros((channels, o.ranks_per_channel, clocks.RANK_RECORD), np.int64)
        self._record = np.zeros((channels, clocks.RECORD), np.int64)
        p = self._parameters = np.zeros(clocks.PARAMETERS, np.int64)
        group = o.refresh_banks if refresh == "per-bank" else 1
        interval = t["nREFI"] if refresh == "all-bank" else t["nREFI"] * group // o.banks_per_rank
        for word, value in (
            (clocks.BANKS, banks), (clocks.RANKS, o.ranks_per_channel), (clocks.PER_RANK, o.banks_per_rank),
            (clocks.RANKS_PER_PC, o.ranks), (clocks.QUEUE, queue * o.pseudochannels),
            (clocks.CLOSED_PAGE, page == "closed"), (clocks.PER_BANK, refresh == "per-bank"),
            (clocks.INTERVAL, interval), (clocks.WINDOW_CYCLES, tables.window[1]),
            (clocks.READ_DONE, t["nCL"] + t["nBL"]), (clocks.WRITE_DONE, t["nCWL"] + t["nBL"]),
            (clocks.GROUP, group), (clocks.CAP, BYPASS_LIMIT * queue * o.pseudochannels),
            (clocks.ENGINE, address_of(engine.run_channel, engine.RUN_CHANNEL)),
        ):  # fmt: skip
            p[word] = value
        p[clocks.SAME :] = self._waits.same.ravel()
        self._ranks[:, :, clocks.RING : clocks.RING + 4] = -(1 << 40)
        for rank in range(o.ranks_per_channel):
            # Ranks of a pseudochannel take turns, pseudochannels do not: a stream over all of them would wait twice.
            due = interval * (rank % o.ranks + 1) // o.ranks if refresh != "none" else int(clocks.NEVER)
            self._ranks[:, rank, clocks.DUE] = due
            base = rank * o.banks_per_rank
            blocked = (
                range(o.banks_per_rank)
                if refresh == "all-bank"
                else range(0, o.banks_per_rank, o.banks_per_rank // group)
            )
            for bank in blocked:
                self._banks[:, base + bank, clocks.LIMIT] = due
        ratio = Fraction(cycle_ps) / t["tCK_ps"]
        if ratio.limit_denominator(1 << 20) != ratio:
            ratio = ratio.limit_denominator(1 << 20)
        self._burst = o.burst_bytes
        self._ratio_words = ratio.numerator, ratio.denominator
        words = work_words(banks, int(p[clocks.QUEUE]), PIECE)
        self.state = DramArrays(
            np.array([ratio.numerator, ratio.denominator], np.int64), self.mapping.shifts, p, self._waits.first,
            self._waits.entries, self._waits.delays, self._allowed, self._banks, self._ranks, self._record,
            np.zeros((channels, 0, 5), np.int64), np.zeros((channels, words), np.int64),
        )  # fmt: skip

    def clocks(self, cycle: int) -> int:
        """Memory clocks at the beginning of a cycle, rounded up."""
        return -(-cycle * self._ratio_words[0] // self._ratio_words[1])

    def cycles(self, clock: int) -> int:
        """Cycles at a memory clock, rounded up."""
        return -(-clock * self._ratio_words[1] // self._ratio_words[0])

    def serve(
        self,
        offsets: NDArray[np.int64],
        writes: NDArray[np.bool_],
        arrivals: NDArray[np.int64],
        log: bool = False,
    ) -> Served:
        """Run a trace.

        Args:
            offsets: int64 [n], byte offsets from the start of DRAM; each is one burst.
            writes: bool [n].
            arrivals: int64 [n], memory clocks, not decreasing.
            log: whether to record every command.

        Raises:
            DataError: an offset outside DRAM, or arrivals that decrease.
        """
        if offsets.size and (int(offsets.min()) < 0 or int(offsets.max()) >= self.mapping.bytes):
            raise DataError(f"offset outside DRAM of {self.mapping.bytes} bytes")
        if (np.diff(arrivals) < 0).any():
            raise DataError("arrivals decrease")
        done = np.zeros(offsets.size, np.int64)
        end = int(arrivals[-1]) if offsets.size else 0
        room = (4 * offsets.size + 8 * end // int(self._parameters[clocks.INTERVAL]) + 1024) if log else 0
        lists = np.zeros((self.channels, room, 5), np.int64)
        logged = self._run(offsets, writes, arrivals, done, 0, lists)
        if log and int(logged.max()) > room:
            raise AssertionError("more commands than the log holds")
        parts = [
            np.insert(lists[c, : logged[c]], 2, c, axis=1) for c in range(self.channels if log else 0)
        ]  # fmt: skip
        return Served(done, np.concatenate(parts) if parts else np.zeros((0, 6), np.int64))

    def transfer(
        self, start: int, step: int, rows: int, size: int, write: bool, begin: int, width: int,
        tally: NDArray[np.int64],
    ) -> tuple[int, int, int]:  # fmt: skip
        """Read or write a two-dimensional range through a bus that asks for one beat per cycle.

        A transfer of more than :data:`MODELED` bursts (a broadcast of a row without end, say) is modeled up to there;
        the time of the rest is in proportion, and its commands are not counted.

        Args:
            start: byte offset from the start of DRAM.
            step: bytes from row to row.
            rows: how many.
            size: bytes of a row.
            write: direction.
            begin: cycle of the first beat.
            width: bytes of a beat.
            tally: int64 [RECORD], raised by what the transfer did (:meth:`counts`).

        Returns:
            Cycle after the first burst's data, cycle after the last data, beats.
        """
        limits = np.array(self.limits)
        done = [
            serve_range(
                channel, start, step, rows, size, write, begin, width, self._burst, limits, tally, self.state
            )
            for channel in range(self.channels)
        ]
        beats = range_beats(start, step, rows, size, width, self._burst, limits)
        return int(max(first for first, _ in done)), int(max(last for _, last in done)), int(beats)

    @property
    def limits(self) -> tuple[int, int]:
        """Bursts of a transfer that are scheduled at a time, and at all."""
        return PIECE, MODELED

    def advance(self, cycle: int) -> None:
        """Let time pass: refreshes up to a cycle."""
        none = np.zeros(0, np.int64)
        self._run(none, np.zeros(0, np.bool_), none, none, self.clocks(cycle), self.state.log)

    def _run(
        self, offsets: NDArray[np.int64], writes: NDArray[np.bool_], arrivals: NDArray[np.int64],
        done: NDArray[np.int64], until: int, log: NDArray[np.int64],
    ) -> NDArray[np.int64]:  # fmt: skip
        logged = np.zeros(self.channels, np.int64)
        run_all(
            offsets, arrivals, writes, done, until, log, logged, self.state,
        )  # fmt: skip
        return logged

    @staticmethod
    def tally() -> NDArray[np.int64]:
        """An empty tally: counters in the engine's words, for :meth:`counts`."""
        return np.zeros(clocks.RECORD, np.int64)

    def counts(self, tally: NDArray[np.int64] | None = None) -> Counts:
        """What a tally says; without one, everything so far."""
        record = (self._record.sum(axis=0) if tally is None else tally).tolist()
        command = dict(zip(COMMANDS, record[clocks.COUNTS :], strict=True))
        reads, writes = command["RD"] + command["RDA"], command["WR"] + command["WRA"]
        return Counts(
            reads, writes, record[clocks.HITS], record[clocks.CLOSED], record[clocks.CONFLICTS], command["ACT"],
            command["REFab"], command["REFpb"], (reads + writes) * self.kind.organization.burst_bytes,
        )  # fmt: skip

    def dynamic_energy(self, counts: Counts) -> dict[str, float]:
        """Picojoules of activations and data: ``dram`` inside the devices, ``dram_io`` on the pins."""
        energy = {name: entry.pj for name, entry in self.kind.energy.items()}
        bits = 8 * self.kind.organization.burst_bytes
        core = counts.activations * energy["act"]
        core += bits * (counts.reads * energy["read"] + counts.writes * energy["write"])
        return {"dram": core, "dram_io": bits * (counts.reads + counts.writes) * energy["io"]}

    def background_energy(self, cycles: int) -> dict[str, float]:
        """Picojoules of standby and refresh of all channels over a run of so many cycles (see :meth:`advance`)."""
        o, energy = self.kind.organization, {name: entry.pj for name, entry in self.kind.energy.items()}
        nanoseconds = self.kind.timing["tCK_ps"] / 1000
        elapsed = self.clocks(cycles)
        ranks = self._ranks.reshape(-1, clocks.RANK_RECORD)
        since = np.where(ranks[:, clocks.OPEN] > 0, np.maximum(0, elapsed - ranks[:, clocks.SINCE]), 0)
        active = int((ranks[:, clocks.ACTIVE] + since).sum())
        standby = (
            active * energy["active"] + (elapsed * len(ranks) - active) * energy["precharged"]
        )  # mW x clocks
        counts = self.counts()
        share = o.refresh_banks / o.banks_per_rank
        refresh = energy["refresh"] * (counts.refreshes + counts.bank_refreshes * share)
        return {"dram_standby": standby * nanoseconds, "dram_refresh": refresh}


def bank_records(kind: Kind) -> NDArray[np.int64]:
    """int64 [banks, BANK_RECORD] of a channel at rest; the clocks of all nodes lie one after the other."""
    o = kind.organization
    bank = np.arange(o.ranks_per_channel * o.banks_per_rank)
    rank = bank // o.banks_per_rank
    records = np.full((bank.size, clocks.BANK_RECORD), -1, np.int64)
    base = 0
    for place, node in enumerate((0 * bank, rank, bank // o.banks, bank)):
        records[:, place] = base + node * WAITING
        base += (int(node.max()) + 1) * WAITING
    records[:, clocks.RANK], records[:, clocks.HOME] = rank, rank // o.ranks * o.ranks * o.banks_per_rank
    records[:, clocks.LIMIT], records[:, clocks.WANT] = clocks.NEVER, clocks.RD
    return records


assert len(FIELDS) == 7
