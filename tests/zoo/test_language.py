"""SmolLM2 and MiniLM: what they are worth, and what the machine makes of them, cut down to what a test can run."""

from dataclasses import replace
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest

from potluck import api
from potluck.compiler.footprint import footprints
from potluck.compiler.host import HostNetwork
from potluck.compiler.importer import load
from potluck.isa.errors import DataError
from potluck.isa.machine import load_machine
from potluck.zoo.generation import Decoder, generate
from potluck.zoo.running import Stand

SMALL = {"layers": 2, "vocabulary": 2048}
WINDOW = 16
FEW = {("minilm", "mxfp8"), ("smollm2", "fp32")}
"""What the normal run has time for."""


def session(model):
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def one_by_one(model, samples):
    run = session(model)
    feeds = ({name: array[i : i + 1] for name, array in samples.inputs.items()} for i in range(len(samples)))
    return np.concatenate([run.run([model.graph.output[0].name], feed)[0] for feed in feeds])


def cut_down(network):
    """A network of which a test can run all on the machine, with samples and calibration to match."""
    if network.name == "smollm2":
        from potluck.zoo import smollm2

        return replace(
            network,
            model=partial(smollm2.model, WINDOW, **SMALL),
            samples=partial(smollm2.samples, 2, WINDOW, 2048),
            calibration=partial(smollm2.calibration, 2, WINDOW, 2048),
        )
    from potluck.zoo import minilm

    return replace(
        network,
        model=partial(minilm.model, 32, 1),
        samples=lambda: minilm.samples(32).part(slice(0, 2)),
        calibration=partial(minilm.calibration, 32),
    )


@pytest.fixture(scope="module")
def stands():
    made = {}

    def stand(network):
        if network.name not in made:
            made[network.name] = Stand(cut_down(network), load_machine("spatz-mx"), 1, "functional")
        return made[network.name]

    return stand


CASES = [
    pytest.param(name, scheme, marks=() if (name, scheme) in FEW else pytest.mark.slow)
    for name in ("minilm", "smollm2")
    for scheme in ("fp32", "int8", "mxfp8", "mxfp4")
]


@pytest.mark.parametrize(("name", "scheme"), CASES)
def test_the_machine_computes_what_the_reference_does(zoo, stands, name, scheme):
    """Whole, and nearer to the reference than quantization brought the reference to FP32."""
    outcome = stands(zoo(name)).outcome(scheme)
    assert outcome.error == "" and outcome.refused == ()
    assert outcome.macs_share == outcome.nodes_share == 100
    against = outcome.machine.against
    assert against.sqnr > (100 if scheme == "fp32" else outcome.noise + 3)
    assert scheme != "fp32" or against.difference < 1e-5


def test_a_generated_text_is_onnxruntimes(zoo):
    """Greedy tokens with a cache on the machine, and without one on onnxruntime."""
    zoo("smollm2")
    from potluck.zoo import smollm2

    prompt, count = smollm2.windows(smollm2.ARTICLE, 1, 5, 2048)[0].tolist(), 4
    machine = load_machine("spatz-mx")
    program = api.compile(smollm2.model(1, len(prompt) + count - 2, **SMALL), machine)
    decoder = Decoder(program, machine, "functional")
    steps = list(generate(decoder, prompt, count))
    text = list(prompt)
    for step in steps:
        want = session(smollm2.model(len(text), **SMALL)).run(["logits"], {"tokens": np.array([text])})[0][
            0, -1
        ]
        np.testing.assert_allclose(step.logits, want, atol=1e-4 * np.abs(want).max())
        assert step.token == want.argmax()
        text.append(step.token)
    assert decoder.position == len(text) - 1
    with pytest.raises(DataError, match="the cache has room for 7 tokens"):
        decoder.step(0)


def test_a_generation_that_the_cache_cannot_hold_is_refused_before_it_begins(zoo):
    zoo("smollm2")
    from potluck.zoo import smollm2

    machine = load_machine("spatz-mx")
    program = api.compile(smollm2.model(1, 4, layers=1, vocabulary=64), machine)
    decoder = Decoder(program, machine, "functional")
    with pytest.raises(DataError, match="3 tokens of prompt and 4 more need a cache of 5, there is one of 4"):
        list(generate(decoder, [1, 2, 3], 4))
    with pytest.raises(DataError, match="the prompt is empty"):
        list(generate(decoder, [], 1))
    assert decoder.position == 0
    plain = api.compile(smollm2.model(1, layers=1, vocabulary=64), machine)
    with pytest.raises(DataError, match="has no cache"):
        Decoder(plain, machine)


@pytest.mark.parametrize("step", [1, 3])
def test_steps_behind_a_cache_are_the_whole_prompt(zoo, step):
    """The two forms of the network on onnxruntime: masks, places and the cache fit together."""
    zoo("smollm2")
    from potluck.zoo import smollm2

    tokens = smollm2.windows(smollm2.ARTICLE, 1, 9, 2048)
    whole = session(smollm2.model(9, **SMALL)).run(["logits"], {"tokens": tokens})[0]
    model = smollm2.model(step, 12, **SMALL)
    onnx.checker.check_model(model, full_check=True)
    run, names = session(model), [item.name for item in model.graph.output]
    held = {
        item.name: np.zeros((1, 3, 12, 64), np.float32) for item in model.graph.input if "past" in item.name
    }
    for at in range(0, 9, step):
        feed = {"tokens": tokens[:, at : at + step], "position": np.array([at])}
        made = dict(zip(names, run.run(names, {**feed, **held}), strict=True))
        np.testing.assert_allclose(made["logits"], whole[:, at : at + step], atol=1e-4 * np.abs(whole).max())
        for name, array in held.items():
            array[:, :, at : at + step] = made[name.replace("past", "present")]


def test_tokens_give_their_text_back(zoo):
    zoo("smollm2")
    from potluck.zoo import smollm2, wikitext

    text = wikitext.prose("Alchemy")[:20_000] + "\n\tdef f(x): return x[1:-22] # ánthrōpos 漢字 🙂  \r\n"
    ids = smollm2.tokenizer().encode(text).ids
    assert smollm2.tokenizer().decode(ids) == text and len(ids) < len(text) / 3
    digits = smollm2.tokenizer().encode("1,024").tokens
    assert digits == ["1", ",", "0", "2", "4"]
    assert smollm2.tokenizer().encode("<|im_start|>user").ids[0] == 1


def test_minilm_is_worth_what_the_zoo_says(zoo):
    network = zoo("minilm")
    model, samples = network.model(), network.samples()
    onnx.checker.check_model(model, full_check=True)
    outputs = one_by_one(model, samples)
    np.testing.assert_allclose(np.linalg.norm(outputs, axis=1), 1, rtol=1e-5)
    found = network.measure(outputs, samples)
    assert found.value == pytest.approx(network.fp32, abs=5e-4) and found.count == 1225
    assert samples.labels.diagonal().tolist() == [10_000] * 50


def test_no_document_calibrates(zoo):
    for name in ("minilm", "smollm2"):
        network = zoo(name)
        first = next(iter(network.samples().inputs))
        seen = {row.tobytes() for row in network.samples().inputs[first]}
        assert not seen & {row.tobytes() for row in network.calibration()[first]}


@pytest.mark.slow
def test_smollm2_is_worth_what_the_zoo_says(zoo):
    network = zoo("smollm2")
    samples = network.samples()
    found = network.measure(one_by_one(network.model(), samples), samples)
    assert found.value == pytest.approx(network.fp32, abs=0.02) and found.count == 2040
    assert found.low < found.value < found.high


@pytest.mark.slow
@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_multiply_accumulates_with_weights(zoo, name):
    """The zoo counts products of activations, too: scores and their use, layer by layer."""
    network = zoo(name)
    model = load(network.model())
    weights = sum(item.macs for item in footprints(model, HostNetwork(model).constants))
    layers, length, width = {"minilm": (6, 128, 384), "smollm2": (30, 256, 576)}[name]
    assert weights + layers * 2 * length * length * width == network.macs
