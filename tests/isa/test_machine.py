"""Machine files: presets load, keys are checked, overrides are typed."""

import pytest

from potluck.isa.errors import MachineError
from potluck.isa.machine import load_machine, presets


@pytest.mark.parametrize("name", presets())
def test_presets_load_with_every_energy_inside_its_band(name):
    machine = load_machine(name)
    assert machine.name == name
    for entry in machine.energy.values():
        assert entry.low <= entry.pj <= entry.high and entry.source and entry.node


def test_every_preset_says_where_its_timing_comes_from():
    assert load_machine("spatz-mx").timing_error_band
    assert not load_machine("rvv-generic").isa.vmxdotp


@pytest.mark.parametrize(
    ("key", "text", "read", "value"),
    [
        ("vector.vlen", "1024", lambda m: m.vector.vlen, 1024),
        ("vector.chaining", "false", lambda m: m.vector.chaining, False),
        ("cluster.clock_hz", "9.5e8", lambda m: m.cluster.clock_hz, 9.5e8),
        ("memory.l1_base", "0x20000000", lambda m: m.memory.l1_base, 0x2000_0000),
        ("energy.vmxdotp.pj", "9", lambda m: m.pj("vmxdotp"), 9.0),
    ],
)
def test_overrides_take_the_type_of_the_key(key, text, read, value):
    assert read(load_machine("spatz-mx", {key: text})) == value


def test_unknown_key_suggests_the_nearest():
    with pytest.raises(MachineError, match=r"vector\.vlan.*\n?.*vector\.vlen|vector\.vlen"):
        load_machine("spatz-mx", {"vector.vlan": "512"})
    with pytest.raises(MachineError, match=r"timing\.fma"):
        load_machine("spatz-mx", {"timing.fmaa": "3"})
    with pytest.raises(MachineError, match=r"mean 'energy\.vmxdotp'"):
        load_machine("spatz-mx", {"energy.vmxdot.pj": "3"})
    with pytest.raises(MachineError, match=r"mean 'energy\.vmxdotp\.pj'"):
        load_machine("spatz-mx", {"energy.vmxdotp.pjj": "3"})


@pytest.mark.parametrize(
    ("key", "value"),
    [("vector.vlen", "500"), ("vector.vlen", "64"), ("vector.lanes", "three"), ("cluster.cores", "0"),
     ("timing.fma", "-1"), ("memory.l1_base", "0x7fffffff"), ("vector.queue_depth", "5"),
     ("dram.bytes_per_cycle", "inf"), ("dram.bytes_per_cycle", "1e12"), ("energy.fma32.pj", "nan")],
)  # fmt: skip
def test_impossible_values_name_the_key_or_both_regions(key, value):
    with pytest.raises(MachineError) as error:
        load_machine("spatz-mx", {key: value})
    assert key in str(error.value)


def test_missing_machine_lists_the_presets():
    with pytest.raises(MachineError, match="spatz-mx"):
        load_machine("spatz-my")


def test_a_file_that_is_no_text_is_a_machine_error(tmp_path):
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(MachineError, match="cannot read"):
        load_machine(path)


@pytest.mark.parametrize(
    ("element", "macs"),
    [
        ("mxfp8_e4m3", 64),
        ("mxfp8", 64),
        ("mxfp4", 128),
        ("fp32", 16),
        ("bf16", 32),
        ("fp64", 8),
        ("int8", 16),
    ],
)
def test_peak_of_two_cores_with_four_lanes_and_one_integer_lane(element, macs):
    assert load_machine("spatz-mx").peak_macs_per_cycle(element) == macs
