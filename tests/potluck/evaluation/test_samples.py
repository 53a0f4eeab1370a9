"""Data files as users have them, and parts that share no sample."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from potluck.evaluation.network import Bench, batches, free_batch
from potluck.evaluation.samples import Samples, from_arrays, read, split
from potluck.isa.errors import DataError, ModelError


def value(name="x", shape=("n", 4), dtype=ir.DataType.FLOAT):
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


def rows(count, seed=0):
    return np.random.default_rng(seed).random((count, 4))


def test_reading(tmp_path):
    np.savez(tmp_path / "d.npz", x=rows(5), labels=np.arange(5))
    found = read(tmp_path / "d.npz", [value()])
    assert found.inputs["x"].dtype == np.float32
    assert found.labels.tolist() == [0, 1, 2, 3, 4]
    np.savez(tmp_path / "other.npz", images=rows(5), label=np.eye(5))  # another name; one-hot
    assert read(tmp_path / "other.npz", [value()]).labels.tolist() == [0, 1, 2, 3, 4]
    tokens = from_arrays({"ids": np.ones((3, 4), np.int32)}, [value("ids", dtype=ir.DataType.INT64)])
    assert tokens.inputs["ids"].dtype == np.int64
    assert tokens.labels is None


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": rows(3), "b": rows(3)}, "x"),
        ({"x": rows(3), "labels": np.arange(4)}, "different numbers"),
        ({"x": rows(3)[:, :2]}, "shape"),
        ({"x": np.full((3, 4), np.nan)}, "NaN"),
        ({"x": np.array([["a"] * 4])}, "numbers"),
        ({"x": rows(0)}, "none"),
    ],
)
def test_what_is_wrong_is_named(arrays, said):
    with pytest.raises(DataError, match=said):
        from_arrays(arrays, [value()])


def test_parts_share_nothing():
    data = Samples({"x": rows(200).astype(np.float32)}, np.arange(200))
    fixed, (one, other) = split(data, None, (0.5, 0.5))
    assert [len(part) for part in (fixed, one, other)] == [20, 90, 90]
    hashes = [set(part.hashes) for part in (fixed, one, other)]
    assert not (hashes[0] & hashes[1] or hashes[0] & hashes[2] or hashes[1] & hashes[2])
    twice = Samples({"x": np.concatenate([data.inputs["x"]] * 2)})
    _, (rest,) = split(twice, None, (1.0,))
    assert len(rest) == 160  # neither calibration samples nor anything a second time
    with pytest.raises(DataError, match="also in the data"):
        split(data, data.part(slice(7, 9)), (1.0,))
    with pytest.raises(DataError, match="too few"):
        split(data.part(slice(0, 2)), None, (0.5, 0.5))


def test_batches_cover_every_sample_once():
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
    g (float[n, 4] x) => (float[n, 4] y) { y = Relu (x) }""")
    assert free_batch(model, 8) == {"n": 8}
    bench = Bench(model, {}, batch=8)
    data = Samples({"x": rows(19).astype(np.float32)})
    found = list(batches(bench.quantized("fp32"), data))
    assert [count for _, count in found] == [8, 8, 3]
    assert all(feed["x"].shape == (8, 4) for feed, _ in found)
    assert np.array_equal(bench.evaluate("fp32", data).outputs, np.maximum(data.inputs["x"], 0))
    with pytest.raises(ModelError, match="no such file"):
        free_batch("nowhere.onnx", 1)
