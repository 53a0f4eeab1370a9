"""Specifications: what they say, what is wrong with them, and that the hash is that of the meaning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from potluck.campaign.cells import cells, place_of, sources, trial_id
from potluck.campaign.spec import Spec, load_spec, schema, validated
from potluck.cli import app
from potluck.isa.errors import CampaignError

ROOT = Path(__file__).parents[2]
TEXT = """
seed = 7
[network]
model = "demo"
schemes = ["int8", "mxfp8"]
[[faults]]
kind = "uniform"
ber = [1e-5, 1e-4]
[[faults]]
kind = "modes"
modes = ["bit", "row"]
[protection]
stacks = ["none", "ondie+RG"]
"""


def spec(tmp_path: Path, text: str = TEXT) -> Spec:
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load_spec(path)


def test_the_hash_is_of_the_meaning(tmp_path: Path) -> None:
    one = spec(tmp_path)
    written_otherwise = """
    # another order, a default written out, a number written otherwise
    [protection]
    policy = "pass"
    stacks = ["none", "ondie+RG"]
    [[faults]]
    ber = [0.00001, 0.0001]
    kind = "uniform"
    [[faults]]
    modes = ["bit", "row"]
    kind = "modes"
    residency = 1
    [network]
    schemes = ["int8", "mxfp8"]
    model = "demo"
    """
    text = "seed = 0x7\nname = 'campaign'\n" + written_otherwise
    assert spec(tmp_path, text).hash == one.hash
    assert validated(json.loads(one.canonical())).hash == one.hash
    for old, new in (
        ("seed = 7", "seed = 8"),
        ("1e-5", "2e-5"),
        ("ondie+RG", "ondie+CRC"),
        ('"row"', '"bank"'),
    ):
        assert spec(tmp_path, TEXT.replace(old, new)).hash != one.hash


def test_cells_are_the_product_of_what_is_asked(tmp_path: Path) -> None:
    one = spec(tmp_path)
    labels = [source.label for source in sources(one, tmp_path)]
    assert labels == [
        "uniform 1e-05", "uniform 0.0001", "modes bit transient", "modes bit permanent", "modes row transient",
        "modes row permanent",
    ]  # fmt: skip
    made = cells(one, tmp_path)
    assert [cell.index for cell in made] == list(range(2 * 6 * 2))
    assert {(c.scheme, c.source.label, c.stack) for c in made} == {
        (scheme, label, stack)
        for scheme in ("int8", "mxfp8")
        for label in labels
        for stack in ("none", "ondie+RG")
    }


@given(st.integers(1, 1000), st.data())
def test_ids_say_cell_and_number(count: int, data: st.DataObject) -> None:
    cell, number = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, 10**8))
    assert place_of(trial_id(cell, number, count), count) == (cell, number)


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    [
        ("seed = 7", "sede = 7", "sede", "Did you mean 'seed'"),
        ("schemes =", "schema =", "network.schema", "Did you mean 'schemes'"),
        ("ber = [1e-5, 1e-4]", "bers = [1e-5]", "faults.0.bers", "Did you mean 'ber'"),
        ("ber = [1e-5, 1e-4]", "", "faults.0.ber", "is missing"),
        ("seed = 7", "", "seed", "is missing"),
        ("seed = 7", "seed = 'x'", "seed", "valid integer"),
        ("1e-4]", "2.0]", "faults.0.ber.1", "less than or equal to 1, not 2.0"),
        ("1e-4]", "nan]", "faults.0.ber.1", "finite"),
        ('"uniform"', '"unifrom"', "faults.0.kind", "Did you mean 'uniform'"),
        ('kind = "uniform"', "", "faults.0", "kind is missing"),
        ('"row"]', '"rwo"]', "faults.1.modes", "no rate of a mode 'rwo'"),
        ('"ondie+RG"]', '"ondie+RGG"]', "protection.stacks", "no layer 'rgg'"),
        ('"ondie+RG"]', '"none"]', None, "stacks name something twice"),
        ('modes = ["bit", "row"]', 'rates = "nobody"', None, "cannot read rates"),
    ],
)  # fmt: skip
def test_errors_name_the_key(tmp_path: Path, old: str, new: str, key: str | None, message: str) -> None:
    assert old in TEXT
    with pytest.raises(CampaignError) as caught:
        cells(spec(tmp_path, TEXT.replace(old, new, 1)), tmp_path)
    assert caught.value.key == key and message in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(b"seed = ", "is not TOML"), (b"\xff\xfe\x00", "is not TOML")]
)
def test_what_is_no_toml(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)
    with pytest.raises(CampaignError, match=message):
        load_spec(path)
    with pytest.raises(CampaignError, match="cannot read"):
        load_spec(tmp_path / "other.toml")


def test_two_sources_of_one_name_need_labels(tmp_path: Path) -> None:
    twice = TEXT + '[[faults]]\nkind = "uniform"\nber = 1e-5\n'
    with pytest.raises(CampaignError, match=r"faults.2.label|faults.0.label"):
        cells(spec(tmp_path, twice), tmp_path)
    cells(spec(tmp_path, twice + 'label = "again"\n'), tmp_path)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples/campaigns").glob("*.toml")), ids=lambda path: path.stem
)
def test_examples_are_specifications(path: Path) -> None:
    assert cells(load_spec(path), path.parent)


def test_the_published_schema_is_the_spec(tmp_path: Path) -> None:
    held = json.loads((ROOT / "docs" / "campaign.schema.json").read_text())
    assert held == schema(), "potluck campaign schema -o docs/campaign.schema.json"
    printed = CliRunner().invoke(app, ["campaign", "schema"])
    assert printed.exit_code == 0 and json.loads(printed.output) == held
    assert set(held["properties"]) == set(Spec.model_fields) and "seed" in held["required"]
    written = tmp_path / "s.json"
    assert CliRunner().invoke(app, ["campaign", "schema", "-o", str(written)]).exit_code == 0
    assert json.loads(written.read_text()) == held
