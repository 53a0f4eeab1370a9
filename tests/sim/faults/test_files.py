"""Fault lists come back as they were written; damaged ones and impossible addresses are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from potluck.isa.errors import CampaignError, DataError
from potluck.sim.dram.kind import load_kind
from potluck.sim.dram.mapping import Mapping
from potluck.sim.faults.faultset import Action, Sort, fault_set, keys_of, nothing, union
from potluck.sim.faults.files import read_faults, write_faults
from potluck.sim.faults.models import Uniform
from potluck.sim.faults.region import region_of
from potluck.sim.faults.tables import load_ber_table, load_rates, rate_tables

BASE = 0x8000_0000
HBM3 = Mapping(load_kind("hbm3"), 2)
HEAD = "trial,address,sort,bit,action,permanent\n"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_lists_come_back(tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    region = region_of(HBM3, [(4096, 4096)], metadata=9)
    trials = {}
    for trial in (-1, 0, 5):
        drawn = Uniform(0.02).draw(region, (1, trial))
        actions = np.arange(len(drawn)) % 3
        pins = [keys_of(130, sort, bit) for sort, bit in ((Sort.DATA_PINS, 77), (Sort.SIDEBAND_PINS, 3))]
        trials[trial] = union([fault_set(drawn.keys, actions, actions == 2), fault_set(np.concatenate(pins))])
    path = tmp_path / f"list.{suffix}"
    write_faults(path, trials, BASE)
    assert read_faults(path, HBM3, BASE) == trials
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert union(trials.values()) != nothing() and {a for t in trials.values() for a in t.actions} == set(
        Action
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0,0x90000000,data,0,flip", "line 2: not 6 values"),
        ("0,0x80000000,data,8,flip,false", "line 2: no data bit 8; hbm3 has 8"),
        ("0,0x80000000,sideband,16,flip,false", "no sideband bit 16; hbm3 has 16"),
        ("0,0x80000000,sideband-pins,16,flip,false", "no sideband-pins bit 16; hbm3 has 16"),
        ("0,0x80000004,on-die,0,flip,false", "at the first byte of their 32, not at 0x80000004"),
        ("0,0x7fffffff,data,0,flip,false", "address 0x7fffffff is outside DRAM, 2 channels of hbm3"),
        ("0,0x280000000,data,0,flip,false", "outside DRAM"),
        ("0,here,data,0,flip,false", "address is 'here', expected an integer"),
        ("0.5,0x80000000,data,0,flip,false", "trial is '0.5'"),
        ("0,0x80000000,cache,0,flip,false", "sort is 'cache'.*data, sideband, on-die, metadata"),
        ("0,0x80000000,data,0,toggle,false", "action is 'toggle'"),
        ("0,0x80000000,data,0,flip,perhaps", "permanent is 'perhaps'"),
        ("0,0x80000000,data,3,flip,false\n0,0x80000000,data,3,set1,true", "line 3: the same bit"),
        ("", "lists no fault"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(HEAD + row + ("\n" if row else ""))
    with pytest.raises(DataError, match=message):
        read_faults(path, HBM3, BASE)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("trial,address\n0,1\n")
    with pytest.raises(DataError, match="lacks the columns sort, bit, action, permanent"):
        read_faults(path, HBM3, BASE)
    path.write_bytes(b"\xff\xfe\x00\x01" * 20)
    with pytest.raises(DataError, match="is not CSV"):
        read_faults(path, HBM3, BASE)
    with pytest.raises(DataError, match=r"cannot read .*No such file"):
        read_faults(tmp_path / "none.csv", HBM3, BASE)
    with pytest.raises(DataError, match=r"ends in \.csv or \.parquet"):
        read_faults(tmp_path / "list.txt", HBM3, BASE)


def test_damaged_parquet(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "list.parquet"
    write_faults(path, {0: Uniform(0.02).draw(region_of(HBM3, [(0, 4096)]), (1, 1))}, BASE)
    whole = path.read_bytes()
    for damaged in (whole[:-40], whole[: len(whole) // 2], b"PAR1" + bytes(100) + b"PAR1", b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="is not Parquet, or damaged"):
            read_faults(path, HBM3, BASE)
    with pytest.raises(DataError, match="no such file"):
        read_faults(tmp_path / "none.parquet", HBM3, BASE)


def test_rate_tables(tmp_path: Path) -> None:
    """The default's totals are the publication's."""
    jaguar = load_rates("sridharan2012")
    assert sum(r.transient for r in jaguar.rates.values()) == pytest.approx(19.2)
    assert sum(r.permanent for r in jaguar.rates.values()) == pytest.approx(46.9)
    assert all(load_rates(name).label.startswith("DEFAULT") for name in rate_tables())
    path = tmp_path / "mine.toml"
    head = 'name = "n"\nsource = "s"\nlabel = "l"\n'
    for text, message in (
        ("name = ", "is not TOML"), ('name = "n"\n', "key 'source'"), (head, "key 'modes'"),
        (head + "[modes.plane]\ntransient = 1\n", "modes.plane.*unknown mode"),
        (head + "[modes.bit]\ntransient = -1\npermanent = 0\n", "modes.bit.transient.*-1 is no rate"),
        (head + "[modes.bit]\ntransient = 1\n", "modes.bit.permanent.*None is no rate"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(CampaignError, match=message):
            load_rates(path)
    with pytest.raises(CampaignError, match="cannot read rates 'nobody'"):
        load_rates("nobody")


def test_operating_points(tmp_path: Path) -> None:
    """Log-linear between points, nothing beyond them."""
    path = tmp_path / "ber.csv"
    path.write_text("voltage,temperature,ber\n1.0,25,1e-4\n1.1,25,1e-6\n1.0,85,1e-3\n1.1,85,1e-5\n")
    table = load_ber_table(path)
    assert table.at(1.1, 85) == pytest.approx(1e-5)
    assert table.at(1.05, 25) == pytest.approx(1e-5)
    assert table.at(1.05, 55) == pytest.approx(10**-4.5)
    with pytest.raises(DataError, match=r"1\.2 V is outside .*1\.0 to 1\.1 V.*does not extrapolate"):
        table.at(1.2, 25)
    for text, message in (
        ("voltage,ber\n1,1\n", "lacks the columns temperature"), ("voltage,temperature,ber\n", "has no line"),
        ("voltage,temperature,ber\n1,25,2\n", "line 2: BER 2"), ("voltage,temperature,ber\n1,x,0.1\n", "line 2"),
        ("voltage,temperature,ber\n1,25,0.1\n1,25,0.2\n", "line 3.*there twice"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            load_ber_table(path)
    path.write_text("voltage,temperature,ber\n1.0,25,1e-4\n1.1,85,1e-5\n")
    with pytest.raises(DataError, match="lacks"):
        load_ber_table(path).at(1.05, 25)
