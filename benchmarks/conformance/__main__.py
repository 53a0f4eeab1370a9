"""Renews docs/conformance.md: the whole page, or what it says of the operators (or cases) named."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from potluck.benchmarks.conformance.cases import cases
from potluck.benchmarks.conformance.page import renewed, write
from potluck.benchmarks.conformance.running import Outcome, run
from potluck.isa.machine import load_machine


def main() -> int:
    """Exit status 1 if a case gives wrong values or fails without a reason."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="operators or cases; default: all")
    parser.add_argument("--page", type=Path, default=Path("docs/conformance.md"))
    parser.add_argument("--dry", action="store_true", help="leave the page as it is")
    chosen = parser.parse_args()
    every = cases()
    some = [case for case in every.values() if not chosen.names or {case.op, case.name} & set(chosen.names)]

    def show(outcome: Outcome) -> None:
        if outcome.status in ("wrong", "error") or (chosen.names and outcome.status != "pass"):
            print(f"{outcome.status:8}{outcome.case}: {outcome.reason}", flush=True)

    outcomes = run(some, load_machine("spatz-mx"), show)
    if not chosen.dry:
        if len(some) == len(every):
            text = write({outcome.case: outcome for outcome in outcomes}, every)
        else:
            text = renewed(chosen.page.read_text(), every, outcomes)
        chosen.page.write_text(text)
    counts = {outcome.status: 0 for outcome in outcomes}
    for outcome in outcomes:
        counts[outcome.status] += 1
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())))
    return int(bool(counts.get("wrong") or counts.get("error")))


if __name__ == "__main__":
    sys.exit(main())
