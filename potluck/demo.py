"""The main job: a trained network on held-out images, in FP32 on onnxruntime and in MX formats on the machine."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from potluck import api
from potluck.assets import load_test_images, model_path
from potluck.isa.elf import Program
from potluck.isa.progress import counted
from potluck.report import layer_table
from potluck.sim.result import Result

SCHEMES = ("mxfp8", "mxfp4")


def reference_accuracy(images: NDArray[Any], labels: NDArray[Any]) -> float:
    """Accuracy of the FP32 network under onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": images})
    return float((logits.argmax(1) == labels).mean())


def run_scheme(
    program: Program, images: NDArray[Any], labels: NDArray[Any], machine: str, step: Any
) -> dict[str, Any]:
    """Run all images through one program; every instruction of every image is executed.

    Returns:
        accuracy, the first image's result, mean cycles and energy per image, host seconds.
    """
    right, cycles, joules, seconds = 0, [], [], 0.0
    first: Result | None = None
    for image, label in zip(images, labels, strict=True):
        result = api.simulate(program, {"input": image[None]}, machine=machine)
        right += int(result.outputs["logits"].argmax() == label)
        cycles.append(result.cycles)
        joules.append(result.energy_joules)
        seconds += result.host_seconds
        first = first or result
        step()
    assert first is not None
    return {
        "accuracy": right / len(labels), "first": first, "cycles_per_image": float(np.mean(cycles)),
        "energy_per_image_joules": float(np.mean(joules)), "host_seconds": seconds,
    }  # fmt: skip


def run_demo(count: int, machine: str, console: Console) -> dict[str, Any]:
    """Print and return the comparison of FP32, MXFP8 and MXFP4."""
    images, labels = load_test_images(count)
    start = time.perf_counter()
    accuracy = {"fp32": reference_accuracy(images, labels)}
    found: dict[str, Any] = {}
    for scheme in SCHEMES:
        with counted(f"{scheme} on {machine}", count) as step:
            program = api.compile(api.quantize(model_path(), scheme), machine)
            found[scheme] = run_scheme(program, images, labels, machine, step)
        accuracy[scheme] = found[scheme]["accuracy"]
    for scheme in SCHEMES:
        table = layer_table(found[scheme]["first"])
        table.title = f"{scheme}: layers, first image"
        console.print(table)
    table = Table(title=f"ResNet-8 on {count} held-out Fashion-MNIST images")
    for name in (
        "format",
        "where",
        "accuracy %",
        "cycles/image",
        "utilization %",
        "energy/image µJ",
        "host s",
    ):
        table.add_column(name, justify="left" if name in ("format", "where") else "right")
    table.add_row("FP32", "onnxruntime", f"{100 * accuracy['fp32']:.1f}", "", "", "", "")
    for scheme in SCHEMES:
        data = found[scheme]
        table.add_row(
            scheme.upper(), machine, f"{100 * data['accuracy']:.1f}", f"{data['cycles_per_image']:,.0f}",
            f"{100 * data['first'].utilization:.1f}", f"{1e6 * data['energy_per_image_joules']:.2f}",
            f"{data['host_seconds']:.1f}",
        )  # fmt: skip
    console.print(table)
    console.print(f"timing error: {found[SCHEMES[0]]['first'].timing_error_band}", markup=False)
    seconds = time.perf_counter() - start
    console.print(f"{seconds:.1f} s in all; every instruction of every image was executed")
    return {
        "images": count, "machine": machine, "seconds": seconds, "accuracy": accuracy,
        **{scheme: {**found[scheme], "first": found[scheme]["first"].to_json()} for scheme in SCHEMES},
    }  # fmt: skip
