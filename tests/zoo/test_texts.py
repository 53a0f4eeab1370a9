"""What text networks read: safetensors, Wikipedia's markup, tokens."""

import json

import numpy as np
import onnx
import pytest

from potluck.isa.errors import DataError
from potluck.zoo import graphs, llama, wikitext
from potluck.zoo.measures import Measure
from potluck.zoo.safetensors import tensors


def safetensors(table, data):
    """As the format's description has it: eight bytes of length, the table, the data."""
    head = json.dumps(table).encode()
    return len(head).to_bytes(8, "little") + head + data


def test_safetensors_are_read():
    values = np.arange(6, dtype="<f4")
    table = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "I64", "shape": [2], "data_offsets": [24, 40]},
        "a": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]},
    }
    found = tensors(safetensors(table, values.tobytes() + np.array([7, -1], "<i8").tobytes()), "f")
    assert found.keys() == {"a", "b"}
    np.testing.assert_array_equal(found["a"], values.reshape(3, 2))
    np.testing.assert_array_equal(found["b"], [7, -1])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x05\0\0\0\0\0\0\0{}",
        safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(7)),
        safetensors({"a": {"dtype": "Q4", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
        safetensors({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)),
        safetensors({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
    ],
)
def test_damaged_safetensors_are_refused(data):
    with pytest.raises(DataError, match="'weights' is no safetensors file"):
        tensors(data, "weights")


def test_prose_of_markup():
    markup = """{{About|one {{nested|template}}|x}}
[[File:a.svg|thumb|A picture of [[men]] with a caption that is longer than what counts as a paragraph here, surely]]
'''Anthropology''' is the study of [[human]]s &amp; their [[society|societies]]<ref name=a>{{cite|[[u]]}}</ref> \
in the past and in the present as well.
==A heading that is long enough to be taken for prose if only its length were looked at, which it is not==
* a list item, which would be long enough as well to be taken for prose if only its length were looked at here
The  ''present''&nbsp;use<ref name="x"/> came from<!-- a note --> [http://example.org the writings] \
of some, and it goes on for long enough, too.
{| class="wikitable"
| a cell of a table with as many words in it as a paragraph has, so that its length alone would not tell it apart
|}
Too short."""
    assert wikitext.plain(markup).split("\n\n") == [
        "Anthropology is the study of humans & their societies in the past and in the present as well.",
        "The present use came from the writings of some, and it goes on for long enough, too.",
    ]


def test_rotations_are_those_of_complex_numbers():
    """Pairs (x[i], x[i + half]) turn by position * theta ** (-2 i / head), as RoFormer has it (arXiv 2104.09864)."""
    config = llama.Config(1, 8, 1, 1, 8, 8, 100.0, 1e-5)
    cosines, sines = llama.rotations(config, 5)
    x = np.random.default_rng(0).standard_normal((5, 8))
    turned = np.concatenate([-x[:, 4:], x[:, :4]], axis=1)
    ours = x * cosines + turned * sines
    angles = np.arange(5)[:, None] * 100.0 ** (-np.arange(4) / 4)
    want = (x[:, :4] + 1j * x[:, 4:]) * np.exp(1j * angles)
    np.testing.assert_allclose(ours, np.concatenate([want.real, want.imag], axis=1), atol=1e-6)


def test_a_graph_is_written_in_order():
    g = graphs.GraphBuilder()
    x = g.input("x", onnx.TensorProto.FLOAT, (2,))
    g.enter("outer")
    doubled = g.op("Add", x, x, name="doubled")
    g.leave()
    assert doubled == "outer.doubled"
    assert g.constant("c", np.ones(1)) == g.constant("c", np.zeros(1)) == "c"
    g.output(doubled, "y", (2,))
    onnx.checker.check_model(g.model("m"), full_check=True)


def test_perplexity_of_certain_and_even_guesses(zoo):
    smollm2 = pytest.importorskip("potluck.zoo.smollm2")
    logits = np.zeros((1, 3, 4), np.float32)
    labels = smollm2.Samples({"tokens": np.zeros((1, 3))}, np.array([[1, 2, -1]]))
    found = smollm2.perplexity(logits, labels)
    assert isinstance(found, Measure) and found.value == pytest.approx(4) and found.count == 2
    logits[0, [0, 1], [1, 2]] = 50
    assert smollm2.perplexity(logits, labels).value == pytest.approx(1)
