"""docs/campaigns.md says every key; tests/docs runs its commands."""

from __future__ import annotations

import re
from pathlib import Path

from potluck.campaign.spec import Spec, load_spec

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "campaigns.md").read_text()


def test_the_page_and_the_example_know_every_table() -> None:
    spec = load_spec(ROOT / "examples" / "campaigns" / "resnet8.toml")
    for name in Spec.model_fields:
        assert f"`[{name}]`" in PAGE or f"`[[{name}]]`" in PAGE or f"`{name}`" in PAGE or name == "name"
        assert name in spec.model_fields_set
    schema = (ROOT / "docs" / "campaign.schema.json").read_text()
    for kind in re.findall(r'"const": "([a-z-]+)"', schema):
        assert f"`{kind}`" in PAGE
