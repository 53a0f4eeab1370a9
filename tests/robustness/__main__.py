"""``python -m tests.robustness``: run hostile programs; exit status 1 if anything escaped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.robustness.campaign import GENERATORS, MOST_FINDINGS, Campaign


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.robustness", description=__doc__)
    parser.add_argument(
        "--generator", action="append", help="what is drawn (default: all); 'list' prints them"
    )
    parser.add_argument("--count", type=int, default=1_000_000, help="executions in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", type=Path, help="file to continue from and to write after each batch")
    parser.add_argument("--report", action="store_true", help="only print what the file says")
    options = parser.parse_args()
    if options.generator == ["list"]:
        print("\n".join(GENERATORS))
        return 0
    wrong = [name for name in options.generator or () if name not in GENERATORS]
    if wrong:
        parser.error(f"no generator {wrong[0]!r}; there are: {', '.join(GENERATORS)}")
    campaign = Campaign(options.seed)
    if options.resume and options.resume.exists():
        campaign = Campaign.load(options.resume)
    generators = options.generator or GENERATORS
    turn = 0
    while (
        not options.report and campaign.executions < options.count and len(campaign.findings) < MOST_FINDINGS
    ):
        generator = generators[turn % len(generators)]
        turn += 1
        found = campaign.step(generator)
        if options.resume:
            campaign.save(options.resume)
        rate = found.executions / max(found.seconds, 1e-9)
        print(
            f"{generator}: {found.executions:,} ({rate:,.0f}/s); {campaign.executions:,} in all", flush=True
        )
        for finding in found.findings:
            print(f"  {finding}", flush=True)
    campaign.child.close()
    for name, tally in campaign.tallies.items():
        print(f"{name}: {tally.executions:,} executions, {tally.stepped:,} stepped, {tally.ends}, "
              f"{len(tally.findings)} findings")  # fmt: skip
    print(f"{campaign.executions:,} executions, {len(campaign.findings)} findings")
    return int(bool(campaign.findings))


if __name__ == "__main__":
    sys.exit(main())
