"""Beginning, continuing and ending a campaign."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from potluck import api
from potluck.campaign.bench import Bench
from potluck.campaign.plan import Progress
from potluck.campaign.spec import Spec
from potluck.campaign.store import Store
from potluck.campaign.worker import run_chunk
from potluck.isa.documents import flat
from potluck.isa.errors import CampaignError
from potluck.parallel.journal import Damage
from potluck.parallel.schedulers import Scheduler
from potluck.parallel.work import Step, work_off

CHUNK = 25
"""Trials of a worker between two messages at most."""
JOURNAL_LIMIT = 1 << 24
"""Bytes of journals that are compacted while the campaign goes on."""


def folder_of(path: Path) -> Path:
    """Where the campaign of a spec file lies unless told: ``x.toml`` in ``x.campaign``."""
    return path.with_suffix(".campaign")


def begin(spec: Spec, base: Path, store: Store) -> None:
    """Register a campaign.

    Args:
        spec: what is asked.
        base: folder that its paths count from.
        store: a folder without a campaign.

    Raises:
        CampaignError: there is one already, or the spec names something that is not there.
    """
    if store.registered:
        raise CampaignError(
            f"a campaign was begun in {store.folder}",
            hint="Continue it with resume, or give another folder with --out",
        )
    store.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(spec, base.resolve(), store.folder)
    assert bench.cells and bench.source  # what is wrong with the spec is said before anything is read
    store.register({
        "hash": spec.hash, "spec": spec.model_dump(mode="json"), "base": str(bench.base),
        "files": bench.files(), "versions": api.versions(), "cells": [bench.facts(cell) for cell in bench.cells],
    })  # fmt: skip


def check_unchanged(spec: Spec, base: Path, store: Store) -> None:
    """Whether a spec and its files are those that were registered.

    Raises:
        CampaignError: they are not; names what differs.
    """
    held = store.registration()
    if spec.hash != held["hash"]:
        old, new = flat(held["spec"]), flat(spec.model_dump(mode="json"))
        different = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        key = different[0] if different else None
        was = f"it was {old[key]!r}" if key in old else "it was not there"
        raise CampaignError(
            f"the spec differs from the one that was registered: {was}", key=key,
            hint="Undo the change, or begin another campaign with --out",
        )  # fmt: skip
    files = Bench(spec, base.resolve(), store.folder).files()
    for key, digest in held["files"].items():
        if files.get(key) != digest:
            raise CampaignError("the file is not the one that was registered", key=key,
                                hint="Restore it, or begin another campaign with --out")  # fmt: skip


def work(
    store: Store, scheduler: Scheduler, step: Step = lambda done, most: None, damage: Damage | None = None
) -> Progress:
    """Run what is missing of a registered campaign, and compact it.

    Args:
        store: its folder.
        scheduler: that runs trials.
        step: told of progress.
        damage: to which bytes of journals are added that could not be read before; their trials run again.

    Returns:
        How far it came: to the end.

    Raises:
        CampaignError: workers die over and over, or whatever a trial raises.
    """
    held, spec = store.registration(), store.spec()
    progress = Progress(spec, held["cells"])
    progress.add(store.records(damage, ["id", "outcome"]))

    def compact_much() -> None:
        if store.journal_bytes > JOURNAL_LIMIT:
            store.compact()

    try:
        work_off(
            progress, scheduler, partial(run_chunk, str(store.folder.resolve()), spec.hash), CHUNK,
            lambda: store.records(columns=["id", "outcome"]), CampaignError, step, compact_much,
        )  # fmt: skip
    finally:
        store.leave()
    store.compact()
    return progress
