"""The controller of a DRAM channel as its prose says it, slowly: every rule against the whole history at every step.

It shares nothing with the engine but the declared rules: no tables, no lists of banks, no shortcuts. What is issued
next is chosen anew over all that waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from potluck.sim.dram.kind import Kind

ACT, PRE, PREA, RD, WR, RDA, WRA, REFAB, REFPB = range(9)
BYPASS = 4  # queue lengths of requests that may overtake the oldest
Command = tuple[int, int, int, int, int]  # clock, command, bank, row (-1), request (-1)


@dataclass
class Channel:
    """One channel from rest.

    Attributes:
        kind: with its rules.
        page: ``open`` or ``closed``.
        refresh: ``all-bank``, ``per-bank`` or ``none``.
        queue: requests that are seen, per pseudochannel.
        issued: every command.
        done: clock after the data, by request.
        found: by request: 0 its row was open, 1 its bank was closed, 2 another row was open.
    """

    kind: Kind
    page: str = "open"
    refresh: str = "all-bank"
    queue: int = 64
    issued: list[Command] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)
    found: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        o, t = self.kind.organization, self.kind.timing
        self.ranks, self.per_rank = o.ranks_per_channel, o.banks_per_rank
        self.rows: dict[int, int] = {}
        self.last: dict[tuple[int, int, int], list[int]] = {}  # (scope, node, command): clocks, the last four
        self.group = o.refresh_banks if self.refresh == "per-bank" else 1
        self.interval = (
            t["nREFI"] if self.refresh == "all-bank" else t["nREFI"] * self.group // o.banks_per_rank
        )
        self.due = [self.interval * (r % o.ranks + 1) // o.ranks for r in range(self.ranks)]
        self.turn = [0] * self.ranks  # per-bank refresh: the next banks
        self.unused = {"all-bank": {REFPB}, "per-bank": {REFAB, PREA}, "none": {REFAB, REFPB, PREA}}[
            self.refresh
        ]

    def node(self, scope: int, bank: int) -> int:
        """The number of a bank's channel, pseudochannel, rank, bank group or bank."""
        o = self.kind.organization
        return (0, bank // (o.ranks * self.per_rank), bank // self.per_rank, bank // o.banks, bank)[scope]

    def allowed(self, command: int, bank: int) -> int:
        """The first clock at which no rule forbids a command."""
        whole = command in (PREA, REFAB)
        judged = command - 2 if command in (RDA, WRA) else command
        clock = 0
        for rule in self.kind.rules:
            if judged not in rule.then or (whole and rule.scope in (3, 4)):
                continue
            for first in rule.first:
                if first in self.unused:
                    continue
                if rule.scope == 5:
                    ranks = self.kind.organization.ranks
                    own, home = bank // self.per_rank, bank // self.per_rank // ranks * ranks
                    nodes = [(2, r) for r in range(home, home + ranks) if r != own]
                else:
                    nodes = [(rule.scope, self.node(rule.scope, bank))]
                for scope, node in nodes:
                    clocks = self.last.get((scope, node, first), [])
                    if len(clocks) >= rule.window:
                        clock = max(clock, clocks[-rule.window] + rule.cycles)
        return clock

    def issue(self, clock: int, command: int, bank: int, row: int, request: int, count: bool = True) -> None:
        """Note a command."""
        if count:
            self.issued.append((clock, command, bank, row, request))
        for scope in range(3 if command in (PREA, REFAB) else 5):
            clocks = self.last.setdefault((scope, self.node(scope, bank), command), [])
            clocks.append(clock)
            del clocks[:-4]

    def limit(self, bank: int) -> int:
        """The clock that a bank's commands must not pass: its refresh, if that is the next one of its rank."""
        rank = bank // self.per_rank
        return self.due[rank] if self.refresh == "all-bank" or bank in self.refreshed(rank) else 1 << 60

    def refreshed(self, rank: int) -> list[int]:
        """The banks of a rank that are refreshed next."""
        if self.refresh != "per-bank":
            return []
        step = self.per_rank // self.group
        return [rank * self.per_rank + self.turn[rank] + k * step for k in range(self.group)]

    def wanted(self, bank: int, waiting: list[tuple[int, int, bool]]) -> tuple[int, int]:
        """What a bank needs next, and for which request; ``waiting``: (request, row, writes) of this bank."""
        row = self.rows.get(bank, -1)
        if row < 0:
            return ACT, waiting[0][0]
        hits = [(request, writes) for request, wants, writes in waiting if wants == row]
        if not hits:
            return PRE, waiting[0][0]
        command = WR if hits[0][1] else RD
        return command + (2 if self.page == "closed" and len(hits) == 1 else 0), hits[0][0]

    def refreshes(self, now: int) -> list[tuple[int, int, int, int, int]]:
        """(clock, 0, rank, command, bank) of every rank."""
        found = []
        for rank in range(self.ranks if self.refresh != "none" else 0):
            base, due = rank * self.per_rank, self.due[rank]
            if self.refresh == "all-bank":
                held = any(bank // self.per_rank == rank for bank in self.rows)
                command = PREA if held else REFAB
                clock = self.allowed(command, base)
            else:
                banks = self.refreshed(rank)
                base = next((bank for bank in banks if bank in self.rows), banks[0])
                command = PRE if base in self.rows else REFPB
                clock = max(self.allowed(command, bank) for bank in ([base] if command == PRE else banks))
            found.append((max(clock, now, due), 0, rank, command, base))
        return found

    def run(self, banks: list[int], rows: list[int], writes: list[bool], arrivals: list[int]) -> None:
        """Serve requests."""
        o, t = self.kind.organization, self.kind.timing
        size = self.queue * o.pseudochannels
        waiting: list[int] = []
        incoming = now = passed = 0
        while incoming < len(banks) or waiting:
            while incoming < len(banks) and len(waiting) < size and arrivals[incoming] <= now:
                waiting.append(incoming)
                incoming += 1
            best = self.choose(now, waiting, banks, rows, writes, passed > BYPASS * size)
            while (
                incoming < len(banks)
                and len(waiting) < size
                and (best is None or arrivals[incoming] <= best[0])
            ):
                waiting.append(incoming)
                at = max(now, arrivals[incoming])
                incoming += 1
                best = self.choose(at, waiting, banks, rows, writes, passed > BYPASS * size)
            assert best is not None
            clock, kind, number, command, bank = best
            if kind == 0:
                self.refresh_now(clock, number, command, bank)
                now = clock
                continue
            now = clock
            self.issue(clock, command, bank, rows[number], number)
            if command == ACT:
                self.rows[bank] = rows[number]
                self.found[number] = max(self.found.get(number, 0), 1)
            elif command == PRE:
                del self.rows[bank]
                self.found[number] = 2
            else:
                self.found.setdefault(number, 0)
                if command in (RDA, WRA):
                    del self.rows[bank]
                reads = command in (RD, RDA)
                self.done[number] = clock + (t["nCL"] if reads else t["nCWL"]) + t["nBL"]
                passed = 0 if number == waiting[0] else passed + 1
                waiting.remove(number)

    def refresh_now(self, clock: int, rank: int, command: int, bank: int) -> None:
        """One step of a rank's refresh."""
        if command == PREA:
            self.rows = {b: row for b, row in self.rows.items() if b // self.per_rank != rank}
        elif command == PRE:
            del self.rows[bank]
        else:
            self.due[rank] += self.interval
        if command == REFPB:
            for k, one in enumerate(self.refreshed(rank)):
                self.issue(clock, command, one, -1, -1, count=k == 0)
            self.turn[rank] = (self.turn[rank] + 1) % (self.per_rank // self.group)
        else:
            self.issue(clock, command, bank, -1, -1)

    def choose(
        self,
        now: int,
        waiting: list[int],
        banks: list[int],
        rows: list[int],
        writes: list[bool],
        forced: bool,
    ) -> tuple[int, int, int, int, int] | None:
        """The next command: (clock, kind, request or rank, command, bank); the smallest goes first."""
        found = self.refreshes(now)
        for bank in {banks[k] for k in (waiting[:1] if forced else waiting)}:
            here = [(k, rows[k], writes[k]) for k in (waiting[:1] if forced else waiting) if banks[k] == bank]
            command, request = self.wanted(bank, here)
            clock = max(self.allowed(command, bank), now)
            if clock < self.limit(bank):
                found.append((clock, 1 if command >= RD else 2, request, command, bank))
        return min(found, default=None)
