"""``potluck isa``: every row can be shown on every machine, and what is shown agrees with decoder and timer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from potluck.instruction import describe
from potluck.isa.insn import Kind
from potluck.isa.machine import load_machine, presets
from potluck.isa.sources import TAGS
from potluck.isa.table import TABLE, table_of


@pytest.mark.parametrize("encoding", ["spatz", "custom", "wide64"])
def test_bit_fields_cover_the_word_and_give_mask_and_match(encoding):
    machine = load_machine("spatz-mx", {"isa.vmxdotp_encoding": encoding})
    for insn in table_of(encoding).values():
        if encoding != "spatz" and TABLE.get(insn.mnemonic) == insn:
            continue
        about = describe(insn, machine)
        covered, mask, match = 0, 0, 0
        for field in about["encoding"]:
            high, _, low = field["bits"].partition(":")
            low = int(low or high)
            width = int(high) - low + 1
            covered += width
            if set(field["content"]) <= {"0", "1"}:
                assert len(field["content"]) == width
                mask |= ((1 << width) - 1) << low
                match |= int(field["content"], 2) << low
        assert covered == 8 * insn.length
        assert (mask, match) == (int(about["mask"], 0), int(about["match"], 0)) == (insn.mask, insn.match)


@pytest.mark.parametrize("encoding", ["spatz", "custom", "wide64"])
@pytest.mark.parametrize("name", presets())
def test_every_row_has_meaning_unit_timing_and_energy(name, encoding):
    """All rows, compressed ones and each encoding of VMXDOTP; the other encodings change no other row."""
    machine = load_machine(name, {"isa.vmxdotp_encoding": encoding})
    for insn in table_of(encoding).values():
        if encoding != "spatz" and TABLE.get(insn.mnemonic) == insn:
            continue
        about = describe(insn, machine)
        assert about["unit"] and about["timing"] and about["meaning"] and about["operands"] is not None, (
            insn.mnemonic
        )
        assert insn.kind is Kind.COMPRESSED or about["summary"]
        assert about["rules"] and about["bytes"] == insn.length
        for key, stated in about["keys"].items():
            assert stated["value"] is not None, (insn.mnemonic, key)
            tag = stated["source"].replace(":", " ").split()[0] if stated["source"] else ""
            assert tag in TAGS, (insn.mnemonic, key, stated)
        for sew, timing in about["timing"].items():
            assert timing["latency"] >= 0
            throughput = [timing.get(n) for n in ("elements_per_cycle", "instructions_per_cycle", "cycles")]
            assert sum(value is not None and value > 0 for value in throughput) == 1, insn.mnemonic
            for part in about["energy"][sew].values():
                assert 0 <= part["low"] <= part["pj"] <= part["high"]
            assert about["energy"][sew]["fixed"]["pj"] >= machine.pj("instruction")
        assert "energy.instruction" in about["energy_sources"]


def test_vfmacc_on_two_machines():
    """Facts: every FMA of Spatz has 3 cycles and 256 bits per cycle; Ara 5 and 4 stages (and the result queue)."""
    spatz = describe(TABLE["vfmacc.vv"], load_machine("spatz-mx"))
    assert {k: (v["latency"], v["elements_per_cycle"]) for k, v in spatz["timing"].items()} == {
        "e16": (3, 16), "e32": (3, 8), "e64": (3, 4)}  # fmt: skip
    ara = describe(TABLE["vfmacc.vv"], load_machine("ara-like"))
    assert [v["latency"] for v in ara["timing"].values()] == [4, 5, 6]
    assert spatz["syntax"] == "vfmacc.vv vd, vs1, vs2[, v0.t]" and spatz["unit"] == "VFU (floating point)"
    assert [o["role"] for o in spatz["operands"]][:3] == ["read and written", "read", "read"]
    assert "energy.fma64" in spatz["energy_sources"]
    assert spatz["meaning"].startswith("lambda vd, vs1, vs2, fp: f(fp, vd, vs1, vs2)\nf = lambda")


def test_every_meaning_is_shown_as_a_function():
    for insn in TABLE.values():
        if insn.meaning is not None:
            shown = describe(insn, load_machine())["meaning"]
            assert shown.startswith(("lambda ", "def ", "@")), (insn.mnemonic, shown)
            if shown.startswith("lambda "):  # of this very function
                named = shown[7 : shown.index(":")]
                assert all(name in named for name in insn.parameters), insn.mnemonic


def test_widths_and_legality_are_the_tables():
    about = describe(TABLE["vfwadd.vv"], load_machine())
    assert [(o["eew"], o["emul"]) for o in about["operands"][:3]] == [
        ("2*SEW", "2*LMUL"), ("SEW", "LMUL"), ("SEW", "LMUL")]  # fmt: skip
    assert "e32 m4" in about["legal"] and "e32 m8" not in about["legal"] and "e64 m1" not in about["legal"]
    segments = describe(TABLE["vlseg3e32.v"], load_machine())
    assert segments["timing"]["e32"]["elements_per_cycle"] == pytest.approx(4 / 3, abs=1e-3)
    assert "e32 m2" in segments["legal"] and "e32 m4" not in segments["legal"]


def test_compressed_rows_show_what_they_stand_for():
    about = describe(TABLE["c.lwsp"], load_machine())
    assert about["stands_for"].startswith("lw ") and about["bytes"] == 2 and about["timing_class"] == "load"


def test_accesses_show_what_they_move():
    def meaning(mnemonic):
        return describe(TABLE[mnemonic], load_machine())["meaning"]

    assert meaning("sb").endswith("8 memory[rs1 + imm] = rs2")
    assert meaning("lh") == "rd = s16 memory[rs1 + imm]"
    assert meaning("vlse16.v").endswith("vd[i] = u16 memory[rs1 + i * rs2]")
    assert meaning("vsuxei8.v").endswith("memory[rs1 + vs2[i]] = vs3[i]")
    assert "for f < 3" in meaning("vlseg3e32.v") and "i * 3 * 4 + f * 4" in meaning("vlseg3e32.v")
    assert "i < 2 * VLEN/8" in meaning("vl2re8.v") and "ceil(vl/8)" in meaning("vlm.v")
    assert "sets vl = i" in meaning("vle64ff.v")


def test_sources_follow_the_machine_and_what_the_user_sets():
    def keys(mnemonic, machine, **settings):
        return describe(TABLE[mnemonic], load_machine(machine, settings))["keys"]

    assert keys("vfmacc.vv", "spatz-mx")["timing.fma"] == {
        "value": 3, "source": "RTL: 2 pipeline registers + the VFU's input register"}  # fmt: skip
    assert keys("vfmacc.vv", "ara-like")["timing.fma"]["source"].startswith("FACT: 5, 4, 3, 2 FPU stages")
    assert keys("vfmacc.vv", "ara-like", **{"timing.fma": 9})["timing.fma"] == {
        "value": 9,
        "source": "set by the user",
    }
    assert set(keys("vadd.vv", "ara-like")) == {
        "timing.integer",
        "vector.integer_lanes",
        "vector.integer_unit",
    }


def test_command_prints_and_writes_the_same(potluck, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "about.json"
    status, text = potluck("isa", "vfmacc.vv", "--machine", "ara-like", "--json", path)
    assert status == 0
    about = json.loads(path.read_text())
    assert about == json.loads(json.dumps(describe(TABLE["vfmacc.vv"], load_machine("ara-like"))))
    for said in (
        "101100",
        "vs2",
        "EEW SEW, EMUL LMUL",
        "latency 6",
        "elements per cycle 4",
        "energy.fma64",
        "timing.fma = ",
        "FACT: 5, 4, 3, 2 FPU stages",
        "unit-float-rate",
        "legal at",
    ):
        assert said in " ".join(text.split())


def test_list_has_a_line_each_and_filters(potluck) -> None:  # type: ignore[no-untyped-def]
    status, text = potluck("isa", "--extension", "Zba")
    expected = [insn.mnemonic for insn in TABLE.values() if insn.extension == "Zba"]
    assert status == 0 and [line.split()[0] for line in text.strip().splitlines()] == expected
    assert len(potluck("isa")[1].strip().splitlines()) == len(TABLE)
    status, text = potluck("isa", "--extension", "Zbz")
    assert status == 1 and "Zbb" in text
