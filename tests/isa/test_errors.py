"""Errors name the thing, say the next step and survive a process boundary."""

import pickle

import pytest

from potluck.isa import errors

CASES = [
    (
        errors.ModelError("unsupported operator 'Foo'", node="n1", hint="Replace it"),
        ["node 'n1'", "Replace it"],
    ),
    (
        errors.MachineError("unknown key", key="vector.vlne", hint="Did you mean vlen?"),
        ["vector.vlne", "vlen?"],
    ),
    (errors.ProgramError("bad magic", elf="a.elf", pc=0x80000000), ["a.elf", "pc 0x80000000"]),
    (
        errors.TrapError("load fault", pc=0x10, symbol="gemm", layer="fc1", address=0x9000),
        ["pc 0x10", "gemm", "fc1", "address 0x9000"],
    ),
    (errors.DataError("wrong shape", tensor="x"), ["tensor 'x'"]),
    (errors.CampaignError("unknown key", key="faults.rat"), ["faults.rat"]),
    (errors.ToolError("version 5.006 is too old", tool="verilator"), ["tool 'verilator'", "5.006"]),
    (errors.RtlError("does not build", unit="lzc", log="%Error: 3"), ["unit 'lzc'", "%Error: 3"]),
]


@pytest.mark.parametrize(("error", "parts"), CASES, ids=lambda c: type(c).__name__)
def test_message_names_the_thing(error: errors.PotluckError, parts: list[str]) -> None:
    assert isinstance(error, errors.PotluckError)
    for part in parts:
        assert part in str(error)


@pytest.mark.parametrize("error", [case[0] for case in CASES], ids=lambda e: type(e).__name__)
def test_pickle_keeps_everything(error: errors.PotluckError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert back.__dict__ == error.__dict__


def test_unknown_location_is_left_out() -> None:
    assert str(errors.TrapError("illegal instruction", pc=4)) == "pc 0x4: illegal instruction"
