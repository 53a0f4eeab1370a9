"""Cycles of v12: the closed form is the events', the published one is near, five networks are at their anchors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from potluck.benchmarks.pot_networks import NETWORKS
from potluck.isa.errors import DataError, MachineError
from potluck.isa.machine import Pot, load_machine
from potluck.isa.pot.array import code_set
from potluck.sim.pot.product import Product, Tile, buffers_of, tiles
from potluck.sim.pot.v12 import Cost, layer_cost, published_cycles, tile_cycles, tile_events

BITS = {4: code_set("pot_apot"), 8: code_set("int8")}


def board(name: str, constants: str = "sysc") -> Pot:
    pot = load_machine(name, {"pot.constants": constants}).pot
    assert pot is not None
    return pot


TILES = st.builds(
    Tile,
    st.integers(1, 30),
    st.integers(1, 70),
    st.integers(1, 200).map(lambda n: 4 * n),
    st.just(True),
    st.just(True),
)


@given(TILES, st.sampled_from([1, 2, 4, 8, 16]), st.integers(1, 4), st.integers(1, 120))
@example(Tile(1, 16, 4, True, True), 16, 1, 1)  # polls come to the last unit later than its result
@example(Tile(6, 23, 4, True, True), 16, 1, 91)  # PPU and dispatch are as slow as each other
def test_the_closed_form_is_exact(tile: Tile, units: int, broadcast: int, post: int) -> None:
    assert tile_cycles(tile, units, broadcast, post) == tile_events(tile, units, broadcast, post)


@pytest.mark.parametrize(("broadcast", "post"), [(3, 57), (1, 29)])
def test_published_approximation_is_within_a_percent_on_layers(broadcast: int, post: int) -> None:
    rng = np.random.default_rng(8)
    pot = board("pynq-z2")
    for _ in range(100):
        product = Product(
            int(rng.integers(7, 57)) ** 2, int(rng.integers(4, 513)), int(rng.integers(16, 4609))
        )
        found = list(tiles(product, buffers_of(pot, BITS[4])))
        exact = sum(tile_cycles(tile, 4, broadcast, post) for tile in found)
        near = sum(published_cycles(tile, 4, broadcast, post) for tile in found)
        assert near == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_those_of_the_facts(name: str) -> None:
    make, anchor = NETWORKS[name]
    products = make()
    assert len(products) == anchor.layers
    assert sum(product.macs for product in products) / 1e9 == pytest.approx(anchor.giga_macs, abs=5e-4)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("machine", ["pynq-z2", "kria-kv260"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_the_published_tiles_and_milliseconds(name: str, machine: str, bits: int) -> None:
    make, anchor = NETWORKS[name]
    for constants in ("sysc", "hw"):
        pot = board(machine, constants)
        costs = [layer_cost(product, pot, BITS[bits]) for product in make()]
        total = sum(costs[1:], costs[0])
        assert total.tiles == anchor.tiles[machine][bits == 8]
        expected = anchor.milliseconds[machine, constants][bits == 8]
        assert total.cycles / pot.clock_hz * 1e3 == pytest.approx(expected, rel=0.01)


def test_tiles_cover_a_layer_once_and_fit_the_buffers() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        pot = board(str(rng.choice(["pynq-z2", "kria-kv260"])))
        kind = BITS[int(rng.choice([4, 8]))]
        product = Product(*(int(2 ** rng.uniform(0, top)) for top in (14, 11.5, 13)))
        buffers = buffers_of(pot, kind)
        found = list(tiles(product, buffers))
        rows, filters = -(-product.rows // 4), -(-product.filters // 4)
        assert sum(tile.row_blocks * tile.blocks for tile in found) in range(
            rows * filters, (rows + 1) * filters + 1
        )
        assert found[0].loads_inputs and found[0].loads_weights
        for tile in found:
            depth = 4 * tile.lines
            assert depth == -(-product.depth // 16) * 16 and buffers.depth_fits(depth)
            assert buffers.weights_fit(tile.blocks, depth) and buffers.inputs_fit(tile.row_blocks, depth)


def test_a_depth_that_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match=r"depth 8208 .* 8192"):
        layer_cost(Product(49, 64, 8193), board("pynq-z2"), BITS[4])


def test_slower_memory_and_software_cost_what_the_keys_say() -> None:
    pot = board("pynq-z2", "hw")
    cost = layer_cost(Product(16, 8, 32), pot, BITS[4])
    assert cost == Cost(1, cost.compute, 32, 8, 6, 5, 16 * 32 + 16 * 8)
    assert cost.device_seconds(pot) == pytest.approx((cost.compute + 46 / 0.6) / 200e6)
    assert cost.host_seconds(pot) == pytest.approx(5 * 5e-6 + 640 * 1.5e-9)


def test_keys_of_the_accelerator_are_checked_by_name() -> None:
    assert load_machine("spatz-mx").pot is None
    with pytest.raises(MachineError, match=r"pot\.hw\.post_cycle.*pot\.hw\.post_cycles"):
        load_machine("pynq-z2", {"pot.hw.post_cycle": "3"})
    with pytest.raises(MachineError, match=r"pot\.units"):
        load_machine("kria-kv260", {"pot.units": "3"})
