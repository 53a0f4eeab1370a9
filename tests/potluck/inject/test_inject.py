"""Faulty weights in the machine's DRAM and in ONNX: the same bits, the same answers; campaigns that replay."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from typer.testing import CliRunner

from potluck.cli import app
from potluck.inject.campaign import inject
from potluck.inject.decode import DECODERS, Image, bias_values, slices_of
from potluck.inject.target import Target, load_target
from potluck.isa.errors import DataError
from potluck.isa.formats.elements import FORMATS
from potluck.isa.machine import load_machine
from potluck.sim.dram.tensors import names_of
from potluck.sim.ecc.interface import as_words
from potluck.sim.faults.faultset import Sort, fault_set, keys_of
from potluck.sim.faults.models import EventMix, Listed, Uniform
from potluck.sim.faults.protected import Protected
from potluck.sim.faults.recipes import NAMED, recipe

SCHEMES = ("fp32", "bf16_weights", "fp16_weights", "mxfp8", "mxfp4", "int8", "pot_apot")
SAMPLES = 3


@cache
def target(scheme: str) -> Target:
    return load_target("demo", scheme, load_machine("spatz-mx"), samples=SAMPLES, engine="onnx")


def _faulty(scheme: str, rate: float, trial: int) -> list:
    one = target(scheme)
    protected = Protected(one.parts, recipe("none"), one.mapping)
    faults = Uniform(rate).draw(protected.region, (2, trial))
    kept = [part.first for part in one.parts if part.name.endswith(".table")]
    faults = faults.where(~np.isin(faults.sectors, kept) | (faults.bits % 16 < 3))  # low bits of levels
    return protected.words(protected.read(faults))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_onnx_is_the_machine(scheme: str) -> None:
    """Integer networks to the bit, whatever the faults; sums in another order agree to rounding."""
    one = target(scheme)
    for trial, rate in ((0, 0.0), (1, 2e-5), (2, 1e-3)):
        if rate == 1e-3 and scheme not in ("int8", "pot_apot"):
            continue  # weights of 1e30: rounding is all that answers consist of
        words = _faulty(scheme, rate, trial)
        fast, exact = one.fast.run(one.inputs, words), one.simulated(words)
        if scheme in ("int8", "pot_apot"):
            assert fast.tobytes() == exact.tobytes()
        else:
            scale = np.abs(exact).max()
            np.testing.assert_allclose(fast, exact, rtol=1e-5, atol=1e-5 * scale)
            assert (fast.argmax(1) == exact.argmax(1)).all()
    if scheme == "int8":
        assert not np.array_equal(one.golden, fast)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_bit_in_dram_is_the_bit_of_one_weight(scheme: str) -> None:
    """Flip single bits: the element of the graph's tensor that changes is the one that `potluck where` names."""
    one = target(scheme)
    base = one.machine.memory.dram_base
    clean = [part.clean for part in one.parts]
    rng = np.random.default_rng(4)
    seen = 0
    for p in one.fast.parameters:
        if p.kind not in DECODERS or p.kind == "mx" or any("table" in b.layout for b in p.buffers):
            continue
        before = DECODERS[p.kind](p, Image(one.parts, clean, base))
        for _ in range(4):
            buffer = p.buffers[int(rng.integers(len(p.buffers)))]
            position = int(rng.integers(8 * buffer.bytes))
            address, bit = buffer.address + position // 8, position % 8
            (name,) = names_of(one.program.manifest, address, bit)
            after = DECODERS[p.kind](p, Image(one.parts, _flipped(one, address, bit), base))
            changed = np.argwhere(before != after)
            if name.index[-1] >= p.width or not len(
                changed
            ):  # filled up, or a channel that a later slice gives
                continue
            seen += 1
            kh, kw, c, o = name.index[-4:]
            k = name.index[0] if slices_of(buffer) > 1 else 0
            o += min(k * p.width, (before.shape[1] if p.transposed else before.shape[0]) - p.width)
            where = [o, c, kh, kw] if before.ndim == 4 else [c, o] if p.transposed else [o, c]
            if len(p.buffers) == 1:
                assert changed.tolist() == [where]
            held = FORMATS[buffer.format.lower()].dtype if p.kind == "values" else before.dtype
            stored = [array[tuple(changed[0])].astype(held) for array in (before, after)]
            first, second = (number.view(f"u{held.itemsize}") for number in stored)
            wrong = first ^ second
            assert int(wrong) & (1 << name.bit)
    assert seen or scheme not in ("fp32", "bf16_weights", "fp16_weights", "int8")


def _flipped(one: Target, address: int, bit: int) -> list:
    sector, byte = divmod(address - one.machine.memory.dram_base, 32)
    protected = Protected(one.parts, recipe("none"), one.mapping)
    return protected.words(protected.read(fault_set(keys_of(sector, Sort.DATA, 8 * byte + bit))))


@pytest.mark.parametrize("scheme", ["mxfp8", "mxfp4"])
def test_mx_codes_and_scales_by_field(scheme: str) -> None:
    """A flipped sign negates one weight; a flipped lowest scale bit doubles or halves the 32 of its block."""
    one = target(scheme)
    base, clean = one.machine.memory.dram_base, [part.clean for part in one.parts]
    for p in [p for p in one.fast.parameters if p.kind == "mx"][:4]:
        before = DECODERS["mx"](p, Image(one.parts, clean, base))
        codes = next(b for b in p.buffers if b.layout.endswith("chunks"))
        scales = next(b for b in p.buffers if b.layout.endswith("blocks"))
        width = FORMATS[codes.format.lower()].bits
        for byte in (3, 64, 129):
            after = DECODERS["mx"](p, Image(one.parts, _flipped(one, codes.address + byte, width - 1), base))
            changed = before.view(np.uint32) != after.view(np.uint32)
            assert changed.sum() == 1 and after[changed][0] == -before[changed][0]
        after = DECODERS["mx"](p, Image(one.parts, _flipped(one, scales.address + 1, 0), base))
        changed = (before != after) | (np.signbit(before) != np.signbit(after))
        ratio = after[changed] / before[changed]
        assert 1 <= changed.sum() <= 32 and set(ratio.tolist()) in ({2.0}, {0.5})


def test_biases_come_back() -> None:
    one = target("fp32")
    image = Image(one.parts, [part.clean for part in one.parts], one.machine.memory.dram_base)
    biases = [p for p in one.fast.parameters if p.kind == "bias"]
    assert len(biases) == 10
    for p in biases:
        weights = next(q for q in one.fast.parameters if q.name == p.weights)
        assert np.array_equal(bias_values(p, image, sum(map(slices_of, weights.buffers))), p.clean)


def test_large_levels_need_the_machine() -> None:
    one = target("pot_apot")
    table = next(part for part in one.parts if part.name.endswith(".table"))
    faults = fault_set(keys_of(table.first, Sort.DATA, np.arange(40)))
    with pytest.raises(DataError, match="no exact meaning in ONNX"):
        inject(one, "none", Listed({-1: faults}), 1, 1)
    loose = Target(one.program, one.machine, {"input": one.inputs["input"][:1]}, one.labels[:1], one.fast)
    report = inject(loose, "none", Listed({-1: faults}), 1, 1)
    assert report.trials[0].changed and report.outcomes.sum() == 1 and report.counts[2].sum() == 1


def test_trials_replay_alone_and_stacks_share_faults() -> None:
    one = target("mxfp8")
    every = inject(one, "ondie+RG", EventMix(3e-4), 5, 9)
    assert inject(one, "ondie+RG", EventMix(3e-4), [3], 9).trials == every.trials[3:4]
    other = inject(one, "none", EventMix(3e-4), 5, 9)
    alike = inject(one, "ondie+CRC", EventMix(3e-4), 5, 9)
    # The range table of the first is faulty, too; HBM3's cells are the same.
    assert all(a.faults >= b.faults for a, b in zip(every.trials, other.trials, strict=True))
    assert [t.faults for t in other.trials] == [t.faults for t in alike.trials]
    assert [t.number for t in every.trials] == list(range(5)) and every.seed == 9
    assert every.outcomes.sum() == every.counts.sum() and other.outcomes[:, 1:].sum() == other.outcomes.sum()
    assert len({t.metric for t in other.trials}) > 1


def test_observed_rates_and_what_protection_is_for() -> None:
    """Raw BER as asked for, within five standard deviations; single errors leave nothing behind on-die correction."""
    one = target("fp32")
    report = inject(one, "ondie+CRC", Uniform(2e-6), 6, 5)
    raw, after = report.observed_ber()
    bits = report.bits[0] * 6
    assert abs(raw * bits - 2e-6 * bits) < 5 * (2e-6 * bits) ** 0.5 and after <= raw / 4
    assert report.metric[0] == report.golden and report.check_bits == 48
    bare = inject(one, "none", Uniform(3e-4), 2, 5)
    assert bare.metric[0] < report.golden and bare.changed[0] == 1.0
    stopped = inject(one, "hsiao", Uniform(3e-3), 2, 5, "fail")
    assert all(t.failed for t in stopped.trials) and np.isnan(stopped.metric[0])


def test_command_line(tmp_path: Path) -> None:
    """Two stacks, faults written, and read again with the same result."""
    out, faults = tmp_path / "r.json", tmp_path / "f.csv"
    common = ["inject", "demo", "--scheme", "int8", "--samples", "3", "--json", str(out)]
    stacks = ["--stack", "none", "--stack", "ondie+rgx"]
    drawn = ["--ber", "1e-4", "--trials", "2", "--export", str(faults)]
    result = CliRunner().invoke(app, [*common, *stacks, *drawn])
    assert result.exit_code == 0, result.output
    assert "exact/bounded/wrong" in result.output and "has no ranges: Hsiao" in result.output
    first = json.loads(out.read_text())
    assert [r["stack"] for r in first] == ["none", "ondie+rgx"] and first[0]["check_bits_per_256"] == 0
    again = CliRunner().invoke(app, [*common, "--stack", "none", "--fault-list", str(faults)])
    assert again.exit_code == 0, again.output
    second = json.loads(out.read_text())[0]
    assert second["outcomes"] == first[0]["outcomes"] and second["metric"] == first[0]["metric"]


def test_rows_are_grouped_by_stored_check_bits() -> None:
    stacks = ["ondie+RG", "none", "rg-ssc", "ondie+CRC", "clamp"]
    options = [item for stack in stacks for item in ("--stack", stack)]
    common = ["inject", "demo", "--scheme", "bf16_weights", "--samples", "1", "--trials", "1"]
    result = CliRunner().invoke(app, [*common, "--ber", "1e-5", "--ber", "1e-6", *options])
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines() if line.split(" ")[0] in stacks]
    bits = [row[1] for row in rows if row[1].isdigit()]
    assert bits == ["0", "0", "16", "48", "48"] * 2
    assert [row[0] for row in rows[:5]] == ["none", "clamp", "rg-ssc", "ondie+RG", "ondie+CRC"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--ber", "2"], "2.0 is no probability"),
        ([], "Give one of --ber, --fault-list and --rates"),
        (["--ber", "1e-4", "--stack", "ondie+vapi_78_64"], "do not fit hbm3's 16 sideband bits"),
        (["--ber", "1e-4", "--set", "dram.kind=ddr4"], "ddr4 stores 0 on-die check bits"),
        (["--ber", "1e-4", "--set", "dram.kind=simple"], "simple DRAM has no cells"),
        (["--rates", "nobody"], "cannot read rates 'nobody'"),
        (["--ber", "1e-4", "--policy", "hope"], "policy 'hope' on DUE"),
        (["--ber", "1e-4", "--engine", "gpu"], "engine 'gpu'"),
        (["--ber", "1e-4", "--site", "caches"], "site 'caches'"),
        (["--ber", "1e-4", "--site", "module_outputs", "--scheme", "int8"], "an FP32 network alone"),
        (["--ber", "1e-4", "--weak-density", "0.1", "--one-to-zero", "0.1"], "several fault models"),
        (["--ber", "1e-4", "--faults", "cosmic"], "fault model 'cosmic'"),
    ],
)  # fmt: skip
def test_command_line_errors(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["inject", "demo", "--samples", "1", "--trials", "1", *options])
    assert result.exit_code != 0
    assert message in f"{result.output} {result.exception}"


HEAD = "trial,address,sort,bit,action,permanent\n"


@pytest.mark.parametrize(
    ("suffix", "content", "message"),
    [
        ("csv", HEAD.encode() + b"0,0x80100000,data,3,flip,fal\xff\xfe", "is not CSV"),
        ("csv", HEAD.encode() + b"0,0x80100000,data,3", "line 2: not 6 values"),
        ("csv", HEAD.encode() + b"0,0x7ffffff0,data,3,flip,false", "line 2: address 0x7ffffff0 is outside DRAM"),
        ("csv", HEAD.encode() + b"0,0x80100003,sideband,3,flip,false", "not at 0x80100003"),
        ("csv", HEAD.encode() + b"0,0x80100000,on-die,32,flip,false", "no on-die bit 32; hbm3 has 32"),
        ("parquet", b"PAR1" + bytes(64) + b"PAR1", "is not Parquet, or damaged"),
    ],
)  # fmt: skip
def test_damaged_fault_lists_stop_the_command(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"list.{suffix}"
    path.write_bytes(content)
    options = ["inject", "demo", "--samples", "1", "--stack", "none", "--fault-list", str(path)]
    result = CliRunner().invoke(app, options)
    assert result.exit_code != 0
    assert message in f"{result.output} {result.exception}".replace("\n", " ")


@pytest.mark.parametrize(
    ("kind", "stack", "message"),
    [
        ("lpddr5", "ondie+rg", "16 check bits do not fit lpddr5's 0 sideband bits"),
        ("hbm2", "ondie+crc", "hbm2 stores 0 on-die check bits per 32 bytes"),
        ("hbm4", "ondie+chipkill_10_8", "64 check bits do not fit hbm4's 16 sideband bits"),
    ],
)
def test_a_layout_that_no_code_fits_is_refused(kind: str, stack: str, message: str) -> None:
    options = ["--ber", "1e-4", "--stack", stack, "--set", f"dram.kind={kind}"]
    result = CliRunner().invoke(app, ["inject", "demo", "--samples", "1", "--trials", "1", *options])
    assert result.exit_code != 0
    assert message in f"{result.output} {result.exception}".replace("\n", " ")


def test_rates_by_voltage_and_of_weak_cells(tmp_path: Path) -> None:
    table, out = tmp_path / "ber.csv", tmp_path / "r.json"
    table.write_text("voltage,temperature,ber\n1.0,45,1e-3\n1.2,45,1e-5\n")
    common = ["inject", "demo", "--scheme", "int8", "--samples", "1", "--trials", "1", "--stack", "none"]
    for options, expected in (
        (["--ber-table", str(table)], 1e-4),
        (["--weak-density", "1e-3", "--ber", "0.5"], 2.5e-4),
    ):
        result = CliRunner().invoke(app, [*common, *options, "--json", str(out)])
        assert result.exit_code == 0, result.output
        assert json.loads(out.read_text())[0]["expected_raw_ber"] == pytest.approx(expected)
    result = CliRunner().invoke(app, [*common, "--ber-table", str(table), "--voltage", "0.9"])
    assert "does not extrapolate" in f"{result.output} {result.exception}" and result.exit_code != 0


def test_field_rates_are_given_one() -> None:
    options = [
        "--rates",
        "rangeguard_mix",
        "--hours",
        "1e5",
        "--forced",
        "--scheme",
        "int8",
        "--samples",
        "1",
    ]
    result = CliRunner().invoke(app, ["inject", "demo", *options, "--trials", "2", "--stack", "ondie+CRC"])
    assert result.exit_code == 0, result.output
    assert "every trial is given one" in result.output and "of 2 trials" in result.output


def test_words_of_parts_are_the_programs_bytes() -> None:
    one = target("int8")
    part = next(p for p in one.parts if p.role == "elements")
    buffer = next(b for b in one.program.manifest.buffers if b.name == part.name)
    section = next(s for s in one.program.sections if s.address <= buffer.address < s.end)
    at = buffer.address - section.address
    assert np.array_equal(as_words(section.data[at : at + 32 * part.count]), part.clean)
    assert set(NAMED) == {"ondie+CRC", "ondie+RG", "RG alone (compat_artifact)", "ondie+top4"}


def _tokens_model(path: Path) -> None:
    """A table of embeddings, a gain, and two products without biases: constants that are no product's weights."""
    rng = np.random.Generator(np.random.Philox(3))
    held = {"table": (50, 64), "gain": (64,), "first": (64, 96), "second": (96, 64)}
    constants = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in held.items()
    ]
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["rows"], "rows"),
        helper.make_node("Mul", ["rows", "gain"], ["scaled"], "scaled"),
        helper.make_node("MatMul", ["scaled", "first"], ["wide"], "wide"),
        helper.make_node("Sigmoid", ["wide"], ["positive"], "positive"),
        helper.make_node("MatMul", ["positive", "second"], ["answers"], "answers"),
    ]
    inputs = [helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, [1, 8])]
    outputs = [helper.make_tensor_value_info("answers", onnx.TensorProto.FLOAT, [1, 8, 64])]
    graph = helper.make_graph(nodes, "tokens", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


@pytest.mark.parametrize("scheme", [None, "bf16_weights", "mxfp8", "int8"])
def test_constants_of_any_operator_come_back(scheme: str | None, tmp_path: Path) -> None:
    """Embeddings, gains, and biases of zeros that the program adds and that products share."""
    path = tmp_path / "tokens.onnx"
    _tokens_model(path)
    tokens = np.random.Generator(np.random.Philox(4)).integers(0, 50, (3, 8))
    one = load_target(path, scheme, load_machine("spatz-mx"), {"tokens": tokens}, 3, "onnx")
    assert one.fast is not None
    clean = [part.clean for part in one.parts]
    golden = one.simulated(clean)
    near = (
        1e-2 if scheme == "mxfp8" else 1e-4
    )  # a sum that rounds otherwise may be quantized to the next code
    assert np.abs(one.fast.run(one.inputs, clean) - golden).max() <= near * np.abs(golden).max()
    for number, part in enumerate(one.parts):
        if part.role != "elements":
            continue
        words = [w.copy() for w in clean]
        raw = words[number].view(np.uint8).reshape(-1)
        raw[3 : min(raw.size, part.clean.nbytes) : 64] ^= 0x40 if "bias" in part.name else 0x08
        fast, exact = one.fast.run(one.inputs, words), one.simulated(words)
        assert np.array_equal(np.isnan(fast), np.isnan(exact)), part.name
        assert np.nanmean(np.abs(fast - exact)) <= near * np.nanmax(np.abs(exact)), part.name
        assert not np.array_equal(exact, golden), part.name
