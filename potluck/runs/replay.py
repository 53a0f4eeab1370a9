"""``potluck replay``: a run, campaign or sweep done again from what was written down, compared byte by byte."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from potluck import api, saved
from potluck.digest import digest_of
from potluck.isa.documents import flat
from potluck.isa.errors import DataError
from potluck.isa.progress import steps, task

HOST = ("host_seconds", "manifest.recipe", "manifest.versions")
"""Keys of a result that depend on who made it where."""
SWEEP_HOST = ("seconds_host", "simulation_seconds", "worker")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys of results whose values differ, but for what depends on the host."""
    a, b = flat(old), flat(new)
    keys = dict.fromkeys((*a, *b))
    return {
        key: (a.get(key), b.get(key))
        for key in keys
        if not any(key == name or key.startswith(f"{name}.") for name in HOST)
        and repr(a.get(key)) != repr(b.get(key))
    }


def check_versions(held: Mapping[str, str], anyway: bool) -> None:
    """Whether the packages are those of then.

    Raises:
        DataError: one is not; names it with both versions.
    """
    here = api.versions()
    for name, version in held.items():
        if here.get(name) != version and not anyway:
            raise DataError(f"it was made with {name} {version}, here is {here.get(name, 'none')}",
                            hint=f"pip install {name}=={version}, or try it with --any-version")  # fmt: skip


def replay(path: Path, folder: Path | None, anyway: bool, count: int | None) -> dict[str, Any]:
    """Do again what was written down.

    Args:
        path: a result's JSON, or the folder of a campaign or sweep.
        folder: where a run's files are now; None: where they were.
        anyway: also with other versions.
        count: trials or points at most; None: all.

    Returns:
        ``what`` it is, how ``many`` were done again, and ``different``: key -> value then and now.

    Raises:
        DataError: a file is gone or another, a version is another, or the manifest says nothing of how it was made.
    """
    if path.is_dir():
        from potluck.campaign.store import Store

        return _campaign(path, anyway, count) if (path / Store.file).exists() else _sweep(path, anyway, count)
    old = saved.load(path)
    recipe = old["manifest"].get("recipe")
    if not recipe:
        raise DataError(f"{path} does not say how it was made",
                        hint="Runs of the command line do: potluck run MODEL --json RESULT.json")  # fmt: skip
    check_versions(old["manifest"]["versions"], anyway)
    place = folder or Path(recipe["folder"])
    if not place.is_dir():
        raise DataError(f"the folder {place} is gone", hint="Say where its files are now: --folder FOLDER")
    for name, expected in recipe["files"].items():
        if not (place / name).is_file():
            raise DataError(
                f"the file {name!r} is gone from {place}", hint="Restore it, or give --folder FOLDER"
            )
        if digest_of(place / name) != expected:
            raise DataError(f"the file {name!r} in {place} is not the one of the run", hint="Restore it")
    with tempfile.TemporaryDirectory() as temporary, task(f"again: potluck {shlex.join(recipe['command'])}"):
        made = Path(temporary) / "again.json"
        command = [sys.executable, "-m", "potluck", *_with_json(recipe["command"], made)]
        ended = subprocess.run(
            command, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if not made.exists():
            said = ended.stderr.strip().splitlines() or [f"status {ended.returncode}"]
            raise DataError(
                f"it cannot be done again: {said[0]}", hint=f"By hand: potluck {shlex.join(command[3:-2])}"
            )
        return {"what": "run", "many": 1, "different": differences(old, saved.load(made))}


def _with_json(command: list[str], path: Path) -> list[str]:
    at = command.index("--") if "--" in command else len(command)
    return [*command[:at], "--json", str(path), *command[at:]]


def _campaign(path: Path, anyway: bool, count: int | None) -> dict[str, Any]:
    from potluck.campaign.bench import Bench
    from potluck.campaign.record import essence, record_trial
    from potluck.campaign.run import check_unchanged
    from potluck.campaign.store import Store

    store = Store(path)
    held, spec = store.registration(), store.spec()
    check_versions(held["versions"], anyway)
    base = Path(held["base"])
    check_unchanged(spec, base, store)
    bench = Bench(spec, base, path)
    records = sorted(store.records(), key=lambda record: int(record["id"]))[:count]
    found: dict[str, Any] = {}
    for old in steps(records, "trials again"):
        new = record_trial(bench, old["id"])
        found |= {
            f"trial {old['id']}: {key}": pair for key, pair in differences(essence(old), essence(new)).items()
        }
    return {"what": "campaign", "many": len(records), "different": found}


def _sweep(path: Path, anyway: bool, count: int | None) -> dict[str, Any]:
    from potluck.sweeps.plan import SweepFolder, plan_of
    from potluck.sweeps.worker import Runner

    store = SweepFolder(path)
    held = store.registration()
    check_versions(held["versions"], anyway)
    plan = plan_of(held["plan"])
    if not plan.model or (not Path(plan.model).is_file() and "/" in plan.model):
        raise DataError(f"the file {plan.model!r} of the sweep is gone", hint="Restore it")
    now = plan.check()
    for key in ("model", "machines"):
        if now.get(key) != held["checked"].get(key):
            raise DataError(f"the sweep's {key} is not what it was", hint="Restore the files that it names")
    runner = Runner(store)
    rows = sorted(store.records(), key=lambda row: int(row["id"]))[:count]
    found: dict[str, Any] = {}
    for old in steps(rows, "points again"):
        new = runner.row(runner.points[old["id"]])
        pair = ({k: v for k, v in row.items() if k not in SWEEP_HOST} for row in (old, new))
        found |= {f"point {old['id']}: {key}": both for key, both in differences(*pair).items()}
    return {"what": "sweep", "many": len(rows), "different": found}
