"""``potluck campaign``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from potluck.cli_options import JsonPath, console, write_json, written
from potluck.isa.progress import task
from potluck.parallel.options import Jobs, SchedulerAddress

campaign = typer.Typer(
    no_args_is_help=True,
    help="Fault-injection campaigns: a question in a TOML file, an answer with an interval.",
)
SpecPath = Annotated[Path, typer.Argument(metavar="SPEC.toml", help="The campaign's specification.")]
OutPath = Annotated[
    Path | None, typer.Option("--out", help="The campaign's folder; default: SPEC.campaign beside the file.")
]


@campaign.command()
def run(
    spec: SpecPath,
    out: OutPath = None,
    jobs: Jobs = -1,
    scheduler: SchedulerAddress = None,
    json_path: JsonPath = None,
) -> None:
    """Register a campaign and run it. Killed, it goes on with `resume`; no trial that ran is lost."""
    _execute(spec, out, jobs, scheduler, json_path, False)


@campaign.command()
def resume(
    spec: SpecPath,
    out: OutPath = None,
    jobs: Jobs = -1,
    scheduler: SchedulerAddress = None,
    json_path: JsonPath = None,
) -> None:
    """Go on with a campaign. A spec, or a file that it names, must be what it was."""
    _execute(spec, out, jobs, scheduler, json_path, True)


def _execute(
    path: Path, out: Path | None, jobs: int, scheduler: str | None, json_path: Path | None, resuming: bool
) -> None:
    from potluck.campaign.api import run as execute
    from potluck.campaign.run import folder_of
    from potluck.campaign.spec import load_spec
    from potluck.campaign.store import Store

    spec, store = load_spec(path), Store(out or folder_of(path))
    if resuming:
        store.registration()  # there must be one
    with task(f"campaign {spec.name}") as step:
        result = execute(spec, path.parent, store, jobs, scheduler, step, resuming)
    result.print()
    console.print(f"trials in {store.folder}", highlight=False, soft_wrap=True)
    write_json(json_path, result.data)


@campaign.command()
def report(
    spec: SpecPath, out: OutPath = None,
    html: Annotated[Path | None, written(help="Where the page goes; default: report.html in the folder.")] = None,
    json_path: JsonPath = None,
) -> None:  # fmt: skip
    """Print what a campaign found so far, and write it as a page."""
    from potluck.campaign.api import Result
    from potluck.campaign.run import folder_of
    from potluck.campaign.store import Store

    store = Store(out or folder_of(spec))
    result = Result(store)
    result.print()
    path = result.report(html or store.folder / "report.html")
    console.print(f"wrote {path}", highlight=False, soft_wrap=True)
    write_json(json_path, result.data)


@campaign.command()
def replay(
    spec: SpecPath,
    trial: Annotated[int, typer.Option("--trial", help="Id of the trial, as in the table of trials.")],
    out: OutPath = None, json_path: JsonPath = None,
) -> None:  # fmt: skip
    """Run one trial again and tell its story: where each bit lay, what was read, what became of the answers."""
    from potluck.campaign.run import folder_of
    from potluck.campaign.store import Store
    from potluck.campaign.story import tell
    from potluck.isa.errors import CampaignError

    story = tell(Store(out or folder_of(spec)), trial)
    story.print(console)
    write_json(json_path, story.to_json())
    if story.again is False:
        raise CampaignError(f"trial {trial} gave another result than it did in the campaign",
                            hint="Compare the versions in campaign.json with those here")  # fmt: skip


@campaign.command()
def schema(
    output: Annotated[Path | None, written("--output", "-o", help="Write it here.")] = None,
) -> None:
    """Print the JSON Schema of a campaign's specification."""
    from potluck.campaign.spec import schema as made

    if output is not None:
        return write_json(output, made())
    print(json.dumps(made(), indent=1))
