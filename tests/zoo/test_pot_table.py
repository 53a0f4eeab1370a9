"""``potluck bench pot``: the table of trained networks, on the smallest of them."""

import pytest

from potluck.benchmarks import pot_energy, pot_table
from potluck.isa.machine import load_machine


def test_a_small_networks_row(zoo, monkeypatch):
    zoo("resnet8")
    monkeypatch.setattr(pot_table, "NETWORKS", ("resnet8",))
    monkeypatch.setattr(pot_table, "SAMPLES", 8)
    monkeypatch.setattr(pot_table, "RUN", 1)
    monkeypatch.setattr(pot_table, "WAYS", (pot_table.ARRAY, pot_table.CORES))
    found = {}

    def report(figure, value, unit="", reference="", target="", met=None):
        found[figure] = (value, met)

    pot_table.run(report)
    array, cores = (f"resnet8, {way.title}: " for way in pot_table.WAYS)
    assert found[array + "SQNR to the same graph on the host"][0] == float("inf")
    assert found[array + "agreement with FP32"] == found[cores + "agreement with FP32"]
    assert found["resnet8: accelerator = cores"] == (1, True)
    assert found["resnet8: over the cores alone"][1] and found["resnet8: over v12, accelerator time"][1]
    assert found["resnet8: cores beside the array save"][0] > 3
    ratio = found[cores + "energy"][0] / found[array + "energy"][0]
    ranked = found["resnet8, PoT on the cores alone: energy to the first row's"][0]
    assert ranked == pytest.approx(ratio) and ratio > 1


def test_energies_are_ranked_only_where_bands_are_apart():
    def ran(low, high):
        return pot_table.Ran(None, (low, high), None)

    assert pot_table._ranking(ran(1e-6, 2e-6), ran(3e-6, 5e-6)) == "bands in µJ: 1 to 2 and 3 to 5"
    assert pot_table._ranking(ran(3e-6, 5e-6), ran(1e-6, 2e-6))
    assert not pot_table._ranking(ran(1e-6, 3e-6), ran(2e-6, 5e-6))


def test_scaling_is_the_papers_example():
    """Stillmaker and Baas, 4.2.1 as they corrected it: from 1.3 V to 0.9 V."""
    assert pot_energy.factor(32, 0.9) / pot_energy.factor(65, 1.3) == pytest.approx(0.1755, rel=1e-3)


@pytest.mark.parametrize(("name", "band"), [
    ("pot_line", pot_energy.line(1)), ("pot_line8", pot_energy.line(2)), ("pot_post", pot_energy.requantization()),
])  # fmt: skip
def test_entries_of_the_machine_are_derived(name, band):
    entry = load_machine("spatz-mx-pot").energy[name]
    assert (entry.low, entry.pj, entry.high) == pytest.approx(band, rel=0.01)
