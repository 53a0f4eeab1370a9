"""The declaration of units against the files, and its mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from potluck.hdl import sources
from potluck.isa.errors import RtlError


@pytest.mark.parametrize("unit", sources.unit_names())
def test_sources_come_in_compile_order(unit: str) -> None:
    files = sources.sources(unit)
    assert len(set(files)) == len(files)
    assert files[-1].stem == unit
    names = [path.stem for path in files]
    for position, path in enumerate(files):
        text = re.sub(r"//.*", "", path.read_text())
        used = {
            name for name in sources.unit_names() if name != path.stem and re.search(rf"\b{name}\b", text)
        }
        assert used <= set(names[:position]), path.name


def test_every_file_is_declared() -> None:
    found = {path.stem for path in sources.rtl_directory().rglob("*.sv")}
    generated = {name for name in sources.unit_names() if sources.find_unit(name).generated}
    assert found | generated == set(sources.unit_names())


def test_replaced_file_takes_the_place(tmp_path: Path) -> None:
    mutant = tmp_path / "x.sv"
    mutant.write_text("")
    files = sources.sources("mxdotp_lane", {"lzc": mutant})
    assert mutant in files
    assert "lzc" not in {path.stem for path in files}
    with pytest.raises(RtlError, match="fifo"):
        sources.sources("mxdotp_lane", {"fifo": mutant})


def test_unknown_unit_names_near_ones() -> None:
    with pytest.raises(RtlError, match="mxdotp_lane"):
        sources.sources("mxdotp_lan")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[a]\nuse = ["b"]', "unknown key 'use'"),
        ('[a]\nuses = ["b"]', "no unit 'b'"),
        ('[a]\nuses = ["b"]\n[b]\nuses = ["a"]', "a -> b -> a"),
    ],
)
def test_wrong_declaration_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "units.toml"
    path.write_text(text)
    with pytest.raises(RtlError, match=message):
        sources.load_units(path)
