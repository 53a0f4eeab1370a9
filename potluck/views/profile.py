"""The profile as text: the hottest blocks as assembly, each instruction with its cycles and what it waited for."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from potluck.sim.observation.profile import Entry, HotBlock, Profile

BLOCKS = 10
_COLUMNS = f"{'cycles':>14} {'%':>5} {'each':>8}  {'address':<10} {'instruction':<42} waited for"


def print_profile(console: Console, profile: Profile, blocks: int = BLOCKS) -> None:
    """The hottest blocks over all cores; percentages are of all cores' cycles."""
    for line in profile_lines(profile, blocks):
        console.print(
            line, highlight=False, markup=False, no_wrap=True, overflow="ignore", crop=False, soft_wrap=True
        )


def profile_lines(profile: Profile, blocks: int = BLOCKS) -> Iterator[str]:
    """Lines of :func:`print_profile`."""
    total = sum(core.cycles for core in profile.cores)
    found = [block for block in profile.blocks() if block.cycles]
    shown = found[:blocks]
    share = sum(block.cycles for block in shown) / max(1, total)
    clocks = ", ".join(f"core {core.number} {core.cycles:,}" for core in profile.cores)
    yield ""
    yield f"profile: {total:,} cycles of all cores ({clocks})"
    yield f"the {len(shown)} hottest of {len(found)} blocks, {100 * share:.1f} % of the cycles"
    for block in shown:
        yield from _block_lines(block, total)


def _block_lines(block: HotBlock, total: int) -> Iterator[str]:
    first = block.entries[0].line
    layer = f"{first.layer}: " if first.layer else ""
    runs = max(1, block.executions)
    yield ""
    yield (
        f"{layer}{first.place}: {block.cycles:,} cycles ({100 * block.cycles / total:.1f} %), executed "
        f"{block.executions:,} times, {block.cycles / runs:,.2f} cycles each"
    )
    yield _COLUMNS
    for entry in block.entries:
        yield (
            f"{entry.cycles:14,} {100 * entry.cycles / total:5.1f} {entry.cycles / runs:8,.2f}  "
            f"{entry.line.pc:<10x} {entry.line.text:<42} {_waits(entry)}"
        ).rstrip()


def _waits(entry: Entry) -> str:
    """Cycles besides the one of each execution, by cause, the largest first."""
    waits = [(cycles, cause) for cause, cycles in entry.causes.items() if cycles and cause != "issue"]
    return ", ".join(f"{cause} {cycles:,}" for cycles, cause in sorted(waits, reverse=True))


__all__ = ["print_profile", "profile_lines"]
