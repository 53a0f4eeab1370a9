"""Which room may import which: the arrows of docs/architecture.md, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARROWS = {
    "isa": {"isa"},
    "kernels": {"isa", "kernels"},
    "compiler": {"isa", "kernels", "compiler"},
    "sim": {"isa", "sim"},
}
NETWORKS = {"onnx", "onnx_ir", "onnxscript", "onnxruntime"}


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of every import; of `from a import b` the name ``a.b``.

    Args:
        source: Python source.
        package: dotted name of the package that holds it, to which relative imports refer.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = package.split(".")
                base = ".".join(filter(None, [*anchor[: len(anchor) - node.level + 1], base]))
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def violations(source: str, package: str) -> list[str]:
    """Imports that `package` may not make, as ``line: module``."""
    room = package.split(".")[1]
    found = []
    for line, name in imported_modules(source, package):
        top, _, rest = name.partition(".")
        ours = top == "potluck" and rest.partition(".")[0] not in ARROWS[room]
        bare = top in {*ARROWS, "rtl", "benchmarks", "tests"}
        network = room in {"isa", "sim"} and top in NETWORKS
        if ours or bare or network:
            found.append(f"{line}: {name}")
    return found


@pytest.mark.parametrize("room", ARROWS)
def test_room_imports_only_what_it_may(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    found = []
    for path in files:
        package = ".".join(["potluck", *path.relative_to(ROOT).parent.parts])
        found += [f"{path.relative_to(ROOT)}:{text}" for text in violations(path.read_text(), package)]
    assert found == []


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("potluck.isa", "import potluck.sim"),
        ("potluck.isa", "from potluck.kernels.base import Kernel"),
        ("potluck.kernels", "from potluck import compiler"),
        ("potluck.sim", "from potluck.compiler import compile"),
        ("potluck.sim", "import onnx"),
        ("potluck.sim", "def late():\n    import onnx_ir"),
        ("potluck.compiler", "from potluck import sim"),
        ("potluck.compiler", "from potluck import simulate"),
        ("potluck.compiler", "import potluck"),
        ("potluck.compiler", "from potluck.api import compile"),
        ("potluck.compiler", "import isa.table"),
        ("potluck.compiler.passes", "from ...sim import simulate"),
        ("potluck.compiler", "from .. import simulate"),
    ],
)
def test_scan_sees_a_forbidden_import(package: str, source: str) -> None:
    assert len(violations(source, package)) == 1


@pytest.mark.parametrize(
    ("package", "source"),
    [
        (
            "potluck.compiler.passes",
            "from potluck.kernels import base\nfrom . import base\nfrom ..graph import Graph",
        ),
        ("potluck.compiler", "import onnx_ir as ir\nfrom potluck.isa.errors import ModelError"),
        ("potluck.sim.jit", "from potluck.isa import table\nimport numba\nfrom .ir import Symbol"),
    ],
)
def test_scan_allows_what_the_arrows_allow(package: str, source: str) -> None:
    assert violations(source, package) == []
