"""``python -m tests.differential``: run the campaign; exit status 1 if anything is unexplained."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.differential.campaign import Campaign, Size, all_groups
from tests.differential.coverage import markdown, missing
from tests.differential.scope import skipped
from tests.reference.spike import unavailable


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--group", action="append", help="extension group (default: all); 'list' prints them")
    parser.add_argument("--count", type=int, default=1_000_000, help="instructions per group")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=Size().runs, help="states that each program runs from")
    parser.add_argument("--resume", type=Path, help="file to continue from and to write after each batch")
    parser.add_argument("--coverage", type=Path, help="write the coverage page there")
    options = parser.parse_args()
    known = all_groups()
    if options.group == ["list"]:
        print("\n".join(known))
        return 0
    wrong = [name for name in options.group or () if name not in known]
    if wrong or unavailable():
        parser.error(f"no group {wrong[0]!r}; there are: {', '.join(known)}" if wrong else str(unavailable()))
    campaign = Campaign(options.seed, Size(runs=options.runs))
    if options.resume and options.resume.exists():
        campaign = Campaign.load(options.resume)
    for name, reason in sorted(skipped().items()):
        print(f"left out: {name}: {reason}")
    for name in options.group or known:
        start = time.monotonic()
        campaign.run(name, options.count, lambda tally: options.resume and campaign.save(options.resume))
        tally = campaign.tallies[name]
        print(f"{name}: {tally.instructions:,} instructions, {tally.runs:,} runs, {len(tally.findings)} unexplained, "
              f"latitude {tally.latitude or 'none'}, {time.monotonic() - start:.0f} s", flush=True)  # fmt: skip
        for finding in tally.findings:
            print(finding, flush=True)
    if options.coverage:
        options.coverage.write_text(markdown(campaign))
        print(f"{len(missing(campaign))} legal places not met")
    return int(any(tally.findings for tally in campaign.tallies.values()))


if __name__ == "__main__":
    sys.exit(main())
