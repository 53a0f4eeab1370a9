"""Sizes of language models against the parameter counts that their publishers state."""

from __future__ import annotations

import pytest

from potluck.isa.errors import DataError
from potluck.scale.families import FAMILIES, find
from potluck.scale.shard import BLOCK, shard

# Parameter counts of the published checkpoints (safetensors metadata, GGUF general.parameter_count).
PUBLISHED = {
    "smollm2-135m": 134_515_008, "smollm2-360m": 361_821_120, "smollm2-1.7b": 1_711_376_384,
    "tinyllama-1.1b": 1_100_048_384, "llama3.2-1b": 1_235_814_400,
    "llama-7b": 6_738_415_616, "mistral-7b": 7_241_732_096,
    "llama3-8b": 8_030_261_248, "llama-13b": 13_015_864_320, "llama-33b": 32_528_943_616,
    "llama-65b": 65_285_660_672, "llama2-70b": 68_976_648_192, "llama3-70b": 70_553_706_496,
}  # fmt: skip


def test_parameters_are_the_published_ones() -> None:
    assert {name: family.parameters for name, family in FAMILIES.items()} == PUBLISHED


def test_caches_are_the_known_ones() -> None:
    """Llama-2-7B keeps 512 KiB of FP16 a token, Llama-2-70B, with groups of queries, 320 KiB."""
    assert 2 * find("llama-7b").cache_values(1) == 512 * 1024
    assert 2 * find("llama2-70b").cache_values(1) == 320 * 1024


def test_near_names() -> None:
    with pytest.raises(DataError, match="Did you mean llama-7b"):
        find("llama-7")


@pytest.mark.parametrize("name", FAMILIES)
def test_parts_make_up_the_whole(name: str) -> None:
    family = find(name)
    for clusters in (1, 2, 3, 8, 64, 128):
        most = min(family.width, family.hidden, family.vocabulary) // BLOCK
        if clusters > most:
            with pytest.raises(DataError, match=f"Give 1 to {most}"):
                shard(family, clusters)
            continue
        part = shard(family, clusters)
        queries = part.heads * part.head * clusters
        assert queries >= family.heads * family.head and part.hidden * clusters >= family.hidden
        assert (
            part.vocabulary * clusters >= family.vocabulary
            and part.hidden % BLOCK == 0
            and part.head % 2 == 0
        )
        if family.groups % clusters == 0:
            assert (
                part.attention_weights * clusters + 3 * family.width * family.hidden == family.layer_weights
            )
    whole = shard(family, 1)
    assert whole.attention_weights + whole.hidden_weights == family.layer_weights and whole.sharing == 1
    assert shard(find("llama-7b"), 64).sharing == 2
