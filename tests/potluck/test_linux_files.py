"""From the command line to a Linux process and back: compile, unpack, run under QEMU, pack, simulate."""

import subprocess

import numpy as np
import pytest

from potluck import cli
from potluck.assets import model_path
from potluck.isa.errors import DataError
from potluck.tensor_files import read_files, write_files


def potluck(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["potluck", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        assert stop.code in (None, 0), stop.code


@pytest.mark.parametrize("scheme", ["none", "mxfp4"])
def test_the_same_file_on_the_simulator_and_under_linux(monkeypatch, tmp_path, qemu, scheme):
    elf, x, y, z = (tmp_path / name for name in ("model.elf", "x.npz", "y.npz", "z.npz"))
    potluck(monkeypatch, "compile", model_path(), "-m", "rvv-generic", "--scheme", scheme, "-o", elf)
    usage = subprocess.run([qemu, elf], capture_output=True, check=False).stderr.decode()
    name = usage.split("input ")[1].split(":")[0]
    shape = [int(n) for n in usage.split("float32 [")[1].split("]")[0].split(",")]
    np.savez(x, **{name: np.random.default_rng(3).standard_normal(shape)})  # float64, as users have it
    potluck(monkeypatch, "simulate", elf, "--input", x, "-o", y, "--mode", "functional")
    expected = dict(np.load(y))
    potluck(monkeypatch, "unpack", x, tmp_path / "in")
    (source,) = (tmp_path / "in").iterdir()
    (result,) = expected
    subprocess.run([qemu, elf, source, tmp_path / f"{result}.npy"], check=True)
    potluck(monkeypatch, "pack", tmp_path / f"{result}.npy", "-o", z)
    assert np.array_equal(np.load(z)[result].view(np.uint32), expected[result].view(np.uint32))


def test_files_are_float32_in_c_order(tmp_path):
    arrays = {"a/b:0": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "n": np.float64(4)}
    paths = write_files(arrays, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["a_b_0.npy", "n.npy"]
    back = read_files(paths)
    assert back["a_b_0"].dtype == "<f4" and back["a_b_0"].flags.c_contiguous and back["n"].shape == ()
    assert np.array_equal(back["a_b_0"], arrays["a/b:0"])


def test_files_that_do_not_fit_are_named(tmp_path):
    with pytest.raises(DataError, match=r"a_b\.npy"):
        write_files({"a/b": np.zeros(1), "a:b": np.zeros(1)}, tmp_path)
    with pytest.raises(DataError, match="float32"):
        write_files({"text": np.array(["x"])}, tmp_path)
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"bad\.npy"):
        read_files([tmp_path / "bad.npy"])
    (path,) = write_files({"one": np.zeros(1)}, tmp_path)
    with pytest.raises(DataError, match="two files"):
        read_files([path, path])
