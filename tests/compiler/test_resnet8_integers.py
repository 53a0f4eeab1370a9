"""The trained ResNet-8 in integer and PoT formats: accuracy, and the program's bits against onnx's evaluator."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator
from running import by_reference, by_schedule, by_simulator, same_bits

import potluck
from potluck.assets import load_test_images, model_path
from potluck.compiler.build import build, prepare
from potluck.isa.formats.requantize import REQUANTIZATIONS
from potluck.isa.machine import load_machine

IMAGES, LABELS = load_test_images(400)
CALIBRATION = {"input": IMAGES[300:]}
LEAST = {"int8": 0.92, "int4": 0.88, "pot_qkeras": 0.75, "pot_apot": 0.88, "pot_msq": 0.88, "pot_zero": 0.80}
"""Accuracy of the first 300 images; FP32 has 0.937. A broken layer leaves less than half."""


@pytest.mark.parametrize("scheme", LEAST)
def test_accuracy_and_bits(scheme):
    model = prepare(model_path(), scheme, calibration=CALIBRATION, dims={"batch": 50})
    evaluator = ReferenceEvaluator(ir.to_proto(model))
    logits = [evaluator.run(None, {"input": IMAGES[i : i + 50]})[0] for i in range(0, 300, 50)]
    assert np.mean(np.concatenate(logits).argmax(1) == LABELS[:300]) >= LEAST[scheme]

    schedule = build(prepare(model_path(), scheme, calibration=CALIBRATION), load_machine("spatz-mx"))
    given = {"input": IMAGES[:1]}
    got = by_schedule(schedule, given)
    assert same_bits(by_simulator(schedule, given), got)
    # All but the mean over 49 pixels is exact, and the next quantization absorbs its rounding.
    assert same_bits(got, by_reference(schedule, given))


@pytest.mark.parametrize("law", REQUANTIZATIONS[1:])
def test_laws_of_tflite(law):
    model = prepare(model_path(), "int8", calibration=CALIBRATION, requantization=law)
    schedule = build(model, load_machine("spatz-mx"))
    given = {"input": IMAGES[1:2]}
    got = by_simulator(schedule, given)
    assert same_bits(got, by_reference(schedule, given))
    assert got[0].argmax() == LABELS[1]


def test_run_calibrates_on_its_inputs_and_says_so():
    result = potluck.run(model_path(), {"input": IMAGES[:1]}, "int8")
    assert result.manifest["calibration"] == "the inputs of the run"
    assert result.outputs["logits"].argmax() == LABELS[0]
    assert result.cycles > 0
