"""What pip installs: one package, all its files, the rooms only under `potluck`, and nothing heavy on import."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("isa", "kernels", "compiler", "sim")
HEAVY = (
    "numba",
    "llvmlite",
    "onnx",
    "onnx_ir",
    "onnxscript",
    "onnxruntime",
    "numpy",
    "pydantic",
    "typer",
    "rich",
)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output; both streams in the failure's text, for a child's traceback is what one needs to see."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")
    inherited = {key: value for key, value in os.environ.items() if key not in hidden}
    child = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=inherited | environment, capture_output=True, text=True
    )
    assert child.returncode == 0, f"{command} exited {child.returncode}\n{child.stdout}\n{child.stderr}"
    return child.stdout


def pip(*arguments: str | Path, cwd: Path) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, cwd=cwd)


@dataclass(frozen=True)
class Installed:
    """A virtual environment that received the wheel, and borrows every other package from this one."""

    wheel: Path
    python: Path
    site: Path
    added: set[str]

    def evaluate(self, code: str, cwd: Path) -> str:
        return run(self.python, "-c", code, cwd=cwd).strip()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("packaging")
    pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder / "dist", ROOT, cwd=folder)
    (wheel,) = (folder / "dist").glob("*.whl")

    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    before = {path.name for path in site.iterdir()}
    pip("--python", python, "install", "-q", "--no-deps", "--no-index", wheel, cwd=folder)
    added = {path.name for path in site.iterdir()} - before
    # A folder that a .pth file names is searched last and its own .pth files are not read: the editable install of
    # the environment that runs the tests stays out.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return Installed(wheel, python, site, added)


def test_site_packages_receives_only_potluck(installed: Installed) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert installed.added == {"potluck", f"potluck-{version}.dist-info"}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_from_another_folder(installed: Installed, room: str, tmp_path: Path) -> None:
    file = installed.evaluate(f"import potluck.{room} as room; print(room.__file__)", tmp_path)
    assert Path(file) == installed.site / "potluck" / room / "__init__.py"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_have_no_second_name(installed: Installed, room: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=f"No module named '{room}'"):
        installed.evaluate(f"import {room}", tmp_path)


def test_every_file_ships(installed: Installed) -> None:
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["scikit-build"]["wheel"]["packages"]
    expected = {
        f"{package}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in table.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix not in {".nbi", ".nbc"}
        and not any(part == "__pycache__" or part.startswith(".") for part in path.relative_to(ROOT).parts)
    }
    with zipfile.ZipFile(installed.wheel) as archive:
        shipped = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {"potluck/py.typed", "potluck/assets/resnet8_fashion.onnx", "potluck/assets/README.md"} <= expected
    assert shipped == expected


def test_the_command_is_installed(installed: Installed, tmp_path: Path) -> None:
    assert "demo" in run(installed.python.with_name("potluck"), "--help", cwd=tmp_path)


def test_packaged_data_is_readable(installed: Installed, tmp_path: Path) -> None:
    code = "from potluck import assets; print(assets.load_test_images(3)[0].shape, assets.model_path().is_file())"
    assert installed.evaluate(code, tmp_path) == "(3, 1, 28, 28) True"


@pytest.mark.parametrize("room", ROOMS)
def test_editable_install_maps_to_the_checkout(room: str, tmp_path: Path) -> None:
    file = run(sys.executable, "-c", f"import potluck.{room} as room; print(room.__file__)", cwd=tmp_path)
    assert Path(file.strip()) == ROOT / room / "__init__.py", (
        "install the checkout with `pip install -e '.[test]'`"
    )


def test_rooms_load_once_inside_the_checkout() -> None:
    """There `import isa` would find the folder, and make second copies of its classes."""
    names = ", ".join(f"potluck.{room}" for room in ROOMS)
    code = f"import sys, {names}; print(*[room for room in {ROOMS} if room in sys.modules])"
    assert run(sys.executable, "-c", code, cwd=ROOT).strip() == ""


def test_import_potluck_is_cheap(tmp_path: Path) -> None:
    code = f"import sys; before = set(sys.modules); import potluck; print(*({set(HEAVY)} & set(sys.modules) - before))"
    assert run(sys.executable, "-c", code, cwd=tmp_path).strip() == ""
