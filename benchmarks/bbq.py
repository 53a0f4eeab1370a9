"""Bell Box beside QuEST and LSQ, trained from scratch: same budget, same learning rates to choose from, paired seeds.

    python -m potluck.benchmarks.bbq --images DIR --out FILE.json     the whole comparison, 100 runs of 10 to 60 s
    potluck bench bbq                                                 the recorded comparison, and one short seed

For each method the learning rate is the grid's best on validation data with a seed of its own; then every method is
trained with the same seeds and measured on test data once. Reported is the mean of the paired differences with its 95 %
interval (Student's t), whichever sign it has.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potluck.benchmarks import bbq_data

if TYPE_CHECKING:
    from potluck.benchmarks import Report

RECORD = Path(__file__).parent / "bbq_training.json"
"""The recorded comparison."""
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
CHOOSING = 1000
"""Seed of the runs that choose a learning rate; no other run has it."""
SHORT = {"image": (60, 64), "text": (30, 8)}
"""Steps and batch of the short seed."""
PAIRS = (("bbq2", "quest2"), ("bbq2", "lsq2"), ("bbq1", "quest1"))
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""97.5 % point of Student's t for so many differences."""


def interval(differences: Sequence[float]) -> tuple[float, float]:
    """(mean, half width of its 95 % interval)."""
    count = len(differences)
    half = STUDENT[count] * statistics.stdev(differences) / math.sqrt(count)
    return statistics.fmean(differences), half


def paired(runs: list[dict[str, Any]], task: str, one: str, other: str, metric: str) -> list[float]:
    """Differences of test results, seed by seed."""
    results = {
        (run["method"], run["seed"]): run[metric]
        for run in runs
        if run["task"] == task and run["part"] == "test"
    }
    seeds = sorted({seed for method, seed in results if (other, seed) in results and method == one})
    return [results[one, seed] - results[other, seed] for seed in seeds]


def run(report: Report) -> None:
    """Reports the recorded differences, and trains one short seed."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    for task in ("image", "text"):
        for one, other in PAIRS:
            mean, half = interval(paired(record["runs"], task, one, other, "loss"))
            report(
                f"{task} loss, {one} less {other}", mean, "nats", f"recorded, 95 % +-{half:.4f}, docs/bbq.md"
            )
    importlib.import_module("potluck.train")  # names the extra if torch is missing
    import torch

    from potluck.benchmarks.bbq_training import Budget, train

    torch.set_num_threads(1)
    for data in (bbq_data.images(None), bbq_data.text()):
        budget = Budget(*SHORT[data.name])
        found = {
            method: train(data, method, RATES[1], 0, budget, "test")["loss"] for method in ("bbq2", "quest2")
        }
        report(f"{data.name} loss, one short seed", found["bbq2"], "nats", f"quest2 {found['quest2']:.4f}")


def compare(
    tasks: Sequence[bbq_data.Parts], seeds: int, out: Path, steps: dict[str, tuple[int, int]]
) -> None:
    """Runs what is not yet in ``out``, which is written after each run."""
    import torch

    from potluck.benchmarks.bbq_training import METHODS, Budget, train

    torch.set_num_threads(1)
    record: dict[str, Any] = {"runs": []}
    if out.exists():
        record = json.loads(out.read_text(encoding="utf-8"))
    done: dict[tuple[Any, ...], dict[str, Any]] = {
        (run["task"], run["method"], run["rate"], run["seed"]): run for run in record["runs"]
    }

    def once(data: bbq_data.Parts, method: str, rate: float, seed: int, part: str) -> dict[str, Any]:
        key = (data.name, method, rate, seed)
        if key not in done:
            budget = Budget(*steps[data.name])
            done[key] = train(data, method, rate, seed, budget, part)
            record["runs"].append(done[key])
            record[data.name] = {"budget": asdict(budget), "hashes": data.hashes, "torch": torch.__version__}
            draft = out.with_suffix(".tmp")
            draft.write_text(json.dumps(record, indent=0) + "\n", encoding="utf-8")
            draft.replace(out)
            print(*key, part, done[key]["loss"], done[key]["accuracy"], done[key]["seconds"], flush=True)
        return done[key]

    for data in tasks:
        best = {
            method: min(RATES, key=lambda rate: once(data, method, rate, CHOOSING, "validation")["loss"])
            for method in METHODS
        }
        for seed in range(seeds):
            for method in METHODS:
                once(data, method, best[method], seed, "test")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=("image", "text"), action="append")
    parser.add_argument("--images", type=Path, help="folder with Fashion-MNIST's IDX files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--image-budget", type=int, nargs=2, default=(400, 128), metavar=("STEPS", "BATCH"))
    parser.add_argument("--text-budget", type=int, nargs=2, default=(300, 8), metavar=("STEPS", "BATCH"))
    parser.add_argument("--out", type=Path, default=Path("bbq_training.json"))
    options = parser.parse_args()
    makers = {"image": lambda: bbq_data.images(options.images), "text": bbq_data.text}
    steps = {"image": tuple(options.image_budget), "text": tuple(options.text_budget)}
    compare([makers[task]() for task in options.task or makers], options.seeds, options.out, steps)


if __name__ == "__main__":
    main()
