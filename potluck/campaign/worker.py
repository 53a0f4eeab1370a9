"""What a worker process does: trials by their ids, each written down before the next begins."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from potluck.campaign.bench import Bench
from potluck.campaign.record import Record, record_trial
from potluck.campaign.store import Store
from potluck.isa.errors import CampaignError


@lru_cache(maxsize=2)
def bench_of(folder: Path, expected: str) -> Bench:
    """The networks of a registered campaign; made once per process.

    Args:
        folder: of the campaign, which every worker has to see.
        expected: hash of the spec.

    Raises:
        CampaignError: another campaign lies there.
    """
    store = Store(folder)
    held, spec = store.registration(), store.spec()
    if spec.hash != expected:
        raise CampaignError(f"the campaign in {folder} is {spec.hash[:12]}, not {expected[:12]}",
                            hint="Workers need the folder of the process that began it")  # fmt: skip
    return Bench(spec, Path(held["base"]), folder, [facts["golden"] for facts in held["cells"]])


def run_chunk(folder: str, expected: str, identities: list[int]) -> list[Record]:
    """Run trials.

    Args:
        folder: of the campaign.
        expected: hash of its spec.
        identities: of the trials.

    Returns:
        Their records, all of them in the journal.
    """
    bench = bench_of(Path(folder), expected)
    journal, made = Store(folder).journal(), []
    for identity in identities:
        record = record_trial(bench, identity)
        journal.append(record)
        made.append(record)
    journal.sync()
    return made
