"""Checks a command log against the standards' constraints; written from the fact sheet's tables, not from our kinds.

The numbers are typed in again from facts rangeguard_dram §2.2 (memory clocks; times in ns), the constraints are code
of their own: what a command may not do is said here by its prose, pair by pair, over the whole history.
"""

from __future__ import annotations

from math import ceil
from types import SimpleNamespace

ACT, PRE, PREA, RD, WR, RDA, WRA, REFAB, REFPB = range(9)

_DDR4 = dict(tck=.625, bl=4, cl=22, cwl=16, rcdr=22, rcdw=22, rp=22, rpab=22, ras=52, rc=74, wr=24, rtp=12, ccds=4,
             ccdl=8, ccdlw=8, rrds=4, rrdl=8, wtrs=4, wtrl=12, faw=34, rfc=360, refi=7800, pcs=1, ranks=1, groups=4,
             banks=4, act_slots=1, split=False)  # fmt: skip
_DDR5 = dict(tck=.416, bl=8, cl=36, cwl=34, rcdr=36, rcdw=36, rp=36, rpab=36, ras=77, rc=113, wr=72, rtp=18, ccds=8,
             ccdl=12, ccdlw=48, rrds=8, rrdl=12, wtrs=6, wtrl=24, faw=48, rfc=295, refi=3900, pcs=1, ranks=1,
             groups=8, banks=4, act_slots=2, split=False)  # fmt: skip
_HBM3 = dict(tck=.625, bl=2, cl=20, cwl=10, rcdr=31, rcdw=15, rp=26, rpab=26, ras=45, rc=72, wr=33, rtp=9, ccds=2,
             ccdl=4, ccdlw=4, rrds=4, rrdl=5, wtrs=7, wtrl=10, faw=24, rfc=260, rfcpb=200, refi=3900, rtw=20, pcs=2,
             ranks=2, groups=4, banks=4, act_slots=2, split=True, rrefd=13)  # fmt: skip
NUMBERS = {
    "ddr4": _DDR4,
    "ddr4-2400": _DDR4 | dict(tck=.833, cl=16, cwl=12, rcdr=16, rcdw=16, rp=16, rpab=16, ras=39, rc=55, wr=18, rtp=9,
                              ccdl=6, ccdlw=6, rrdl=6, wtrs=3, wtrl=9, faw=26),
    "ddr5": _DDR5,
    "ddr5-6400": _DDR5 | dict(tck=.312, cl=46, cwl=44, rcdr=46, rcdw=46, rp=46, rpab=46, ras=103, rc=149, wr=96,
                              rtp=24, ccdl=16, ccdlw=64, rrdl=16, wtrs=5, wtrl=32, faw=64),
    "lpddr5": dict(tck=1.25, bl=2, cl=17, cwl=9, rcdr=15, rcdw=15, rp=15, rpab=17, ras=34, rc=49, wr=28, rtp=8, ccds=2,
                   ccdl=4, ccdlw=4, rrds=4, rrdl=4, wtrs=5, wtrl=10, faw=16, rfc=280, rfcpb=140, refi=3906, rtw=0,
                   pcs=1, ranks=1, groups=4, banks=4, act_slots=2, split=False, rrefd=4),
    "hbm2": dict(tck=1., bl=2, cl=14, cwl=5, rcdr=14, rcdw=12, rp=14, rpab=14, ras=34, rc=48, wr=16, rtp=5, ccds=2,
                 ccdl=4, ccdlw=4, rrds=4, rrdl=4, wtrs=6, wtrl=8, faw=15, rfc=350, rfcpb=160, refi=3900, pcs=2, ranks=1,
                 groups=4, banks=4, act_slots=1, split=True, rrefd=8),
    "hbm3": _HBM3,
    "hbm4": _HBM3 | dict(tck=.5, rcdr=39, rcdw=19, rp=33, rpab=33, ras=57, rc=90, wr=42, rtp=12, rrds=5, rrdl=7, wtrs=9,
                         wtrl=13, faw=30, rfc=400, rfcpb=280, rtw=25, groups=2, banks=8, rrefd=16),
}  # fmt: skip


def violations(kind: str, log: list[list[int]]) -> list[str]:
    """Every constraint that a channel's log breaks.

    Args:
        kind: name of the kind.
        log: (clock, command, bank, row) in the order of issue.
    """
    n = SimpleNamespace(**NUMBERS[kind])
    per_rank = n.groups * n.banks
    rfc, rfcpb = ceil(n.rfc / n.tck - 1e-9), ceil(getattr(n, "rfcpb", 0) / n.tck - 1e-9)
    rtw = getattr(n, "rtw", 0) or n.cl + n.bl + 2 - n.cwl
    broken: list[str] = []
    row: dict[int, int] = {}
    closing: dict[int, float] = {}  # bank: clock at which its precharge is complete
    opened: dict[int, int] = {}
    busy: dict[int, int] = {}  # bank: end of its refresh
    acts: dict[int, list[int]] = {}
    columns: list[tuple[int, int, int]] = []  # clock, command, bank
    data: dict[int, int] = {}  # pseudochannel: end of the last burst on its pins
    row_bus = column_bus = 0
    refreshed: dict[int, int] = {}  # rank: its last REFab
    bank_refreshes: dict[int, tuple[int, int]] = {}  # rank: its last REFpb

    def need(condition: bool, rule: str, entry: list[int]) -> None:
        if not condition:
            broken.append(f"{rule} at {entry}")

    last = 0
    for entry in log:
        t, command, bank, wanted = entry[:4]
        need(t >= last, "commands go backwards", entry)
        last = t
        is_column = RD <= command <= WRA
        slots = n.act_slots if command == ACT or (kind.startswith("ddr5") and is_column) else 1
        if is_column and n.split:
            need(t >= column_bus, "column command bus", entry)
            column_bus = t + 1
        else:
            need(t >= row_bus, "command bus", entry)
            row_bus = t + slots
        rank, group = bank // per_rank, bank // n.banks
        pc = rank // n.ranks
        members = range(rank * per_rank, (rank + 1) * per_rank)
        if command == ACT:
            need(bank not in row, "ACT to an open bank", entry)
            need(t >= closing.get(bank, 0), "tRP", entry)
            need(t >= opened.get(bank, -n.rc) + n.rc, "tRC", entry)
            need(t >= busy.get(bank, 0), "tRFC", entry)
            history = acts.setdefault(rank, [])
            need(len(history) < 4 or t >= history[-4] + n.faw, "tFAW", entry)
            for other, when in opened.items():
                if other // per_rank == rank:
                    gap = n.rrdl if other // n.banks == group else n.rrds
                    need(other == bank or t >= when + gap, "tRRD", entry)
            history.append(t)
            row[bank], opened[bank] = wanted, t
        elif is_column:
            write = command in (WR, WRA)
            need(row.get(bank) == wanted, "column command to a row that is not open", entry)
            need(t >= opened.get(bank, 0) + (n.rcdw if write else n.rcdr), "tRCD", entry)
            begin = t + (n.cwl if write else n.cl)
            need(begin >= data.get(pc, 0), "data bus", entry)
            data[pc] = begin + n.bl
            for when, before, other in columns[-24:]:
                was_write = before in (WR, WRA)
                if other // per_rank != rank:
                    continue
                same = other // n.banks == group
                if write == was_write:
                    long = n.ccdlw if write else n.ccdl
                    need(t >= when + (long if same else n.ccds), "tCCD", entry)
                elif write:
                    need(t >= when + rtw, "read to write", entry)
                else:
                    need(t >= when + n.cwl + n.bl + (n.wtrl if same else n.wtrs), "tWTR", entry)
            columns.append((t, command, bank))
            if command in (RDA, WRA):
                recovery = n.cwl + n.bl + n.wr if write else n.rtp
                closing[bank] = max(t + recovery, opened[bank] + n.ras) + n.rp
                del row[bank]
        elif command in (PRE, PREA):
            for b in [bank] if command == PRE else members:
                if b not in row:
                    need(command == PREA, "PRE to a closed bank", entry)
                    continue
                need(t >= opened[b] + n.ras, "tRAS", entry)
                for when, before, other in columns[-200:]:
                    if other == b and when >= opened[b]:
                        recovery = n.cwl + n.bl + n.wr if before in (WR, WRA) else n.rtp
                        need(t >= when + recovery, "tWR" if before in (WR, WRA) else "tRTP", entry)
                closing[b] = t + (n.rp if command == PRE else n.rpab)
                del row[b]
        elif command == REFAB:
            for b in members:
                need(b not in row, "REFab with an open row", entry)
                need(t >= closing.get(b, 0), "tRP before REFab", entry)
                need(t >= busy.get(b, 0), "tRFC before REFab", entry)
                busy[b] = t + rfc
            need(t <= refreshed.get(rank, 0) + 2 * n.refi / n.tck, "refresh too late", entry)
            refreshed[rank] = t
        elif command == REFPB:
            pair = [bank, bank + per_rank // 2] if kind == "lpddr5" else [bank]
            for b in pair:
                need(b not in row, "REFpb with an open row", entry)
                need(t >= closing.get(b, 0), "tRP before REFpb", entry)
                need(t >= busy.get(b, 0), "tRFCpb", entry)
                busy[b] = t + rfcpb
        if command in (ACT, REFPB) and rank in bank_refreshes:
            when, other = bank_refreshes[rank]
            need(bank == other or t >= when + n.rrefd, "tRREFD", entry)
        if command == REFPB:
            bank_refreshes[rank] = t, bank
    return broken
