"""What a release is made of: the source archive, the citation, the changelog, the licences of what it needs."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = [re.match(r"[\w.-]+", line)[0] for line in PROJECT["dependencies"]]  # type: ignore[index]
PERMISSIVE = re.compile(
    r"\b(MIT|BSD|BSD-[23]-Clause|0BSD|Apache-2\.0|Public [Dd]omain|PSF-2\.0|ISC|MPL-2\.0)\b"
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, as the build backend makes it of this checkout."""
    folder = tmp_path_factory.mktemp("sdist")
    code = f"import scikit_build_core.build as b; b.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (found,) = folder.glob("*.tar.gz")
    return found


def test_the_sdist_holds_what_builds_and_explains(archive: Path) -> None:
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    kept = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    wanted = {name for name in kept if name and not name.startswith(".ci/") and (ROOT / name).is_file()}
    assert wanted <= names, sorted(wanted - names)[:5]
    assert {"README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md", "docs/index.md", "PKG-INFO"} <= names
    strange = [
        name for name in names if re.search(r"(^|/)(\.venv|\.ci|\.typing|build|dist|__pycache__)/", name)
    ]
    assert not strange, strange[:5]
    assert archive.stat().st_size < 5e6


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^version: {re.escape(PROJECT['version'])}$", text, re.M)
    assert re.search(rf"^license: {re.escape(PROJECT['license'])}$", text, re.M)
    papers = set(re.findall(r"arxiv\.org/abs/([\d.]+)", text))
    assert papers == set(
        re.findall(r"^## [^(\n]*\(arXiv ([\d.]+)\)", (ROOT / "docs" / "claims.md").read_text(), re.M)
    )


def test_the_changelog_has_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings and all(
        re.fullmatch(r"\[(Unreleased|\d+\.\d+\.\d+)\]( - \d{4}-\d\d-\d\d)?", h) for h in headings
    )
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.M)) <= kinds
    assert not re.search(r"^(<<<<<<<|=======|>>>>>>>)", text, re.M)


@pytest.mark.parametrize("name", NEEDED)
def test_what_it_needs_has_a_permissive_licence(name: str) -> None:
    """Apache-2.0 can be kept: nothing that an installation pulls in by name asks for more."""
    metadata = distribution(name).metadata
    said = [metadata.get("License-Expression"), metadata.get("License")]
    said += [each for each in metadata.get_all("Classifier") or [] if each.startswith("License")]
    stated = " ".join(filter(None, said))
    assert PERMISSIVE.search(stated), f"{name}: {stated[:200]}"
    assert not re.search(r"\b(A?GPL|GNU General)", stated), name
