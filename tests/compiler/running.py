"""Runs networks three ways: by the schedule in NumPy, on the simulator, and by ONNX's reference evaluator."""

import dataclasses

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from potluck.compiler.compile import generate
from potluck.compiler.engine import OnnxEngine
from potluck.compiler.evaluate import FlatMemory, evaluate
from potluck.sim.cluster import Cluster


def feeds(schedule, seed=0):
    """Seeded inputs by name."""
    rng = np.random.default_rng(seed)
    return {tensor.name: rng.standard_normal(tensor.shape).astype(np.float32) for tensor in schedule.inputs}


def by_schedule(schedule, inputs, late=False):
    """Outputs of the schedule run in NumPy by the kernels' contracts; ``late``: see `evaluate`."""
    layout = schedule.target.machine.memory
    memory = FlatMemory(
        (layout.l1_base, layout.l1_bytes), (layout.dram_base, schedule.end - layout.dram_base)
    )
    for address, data in (*schedule.constants, *schedule.records):
        memory.write(address, data)
    for tensor in schedule.inputs:
        value = inputs[tensor.name]
        memory.write(tensor.address, value.transpose(0, 2, 3, 1) if tensor.channels_last else value)
    evaluate(schedule.ops, memory, late)
    outputs = []
    for tensor in schedule.outputs:
        raw = memory.view(tensor.address, tensor.item_bytes * tensor.elements).copy().view(tensor.dtype)
        value = raw.reshape(tensor.stored_shape)
        outputs.append(value.transpose(0, 3, 1, 2) if tensor.channels_last else value)
    return outputs


def by_simulator(schedule, inputs, timed=False):
    """Outputs of the compiled program on the simulated machine."""
    cluster = Cluster(generate(schedule), schedule.target.machine, timed=timed, engine=OnnxEngine())
    outputs = cluster.run(inputs)
    return [outputs[tensor.name] for tensor in schedule.outputs]


def same_bits(got, expected):
    """Whether two lists of float32 arrays are equal, NaN and signs of zero included."""
    return all(
        np.array_equal(np.ascontiguousarray(a).view(np.uint32), np.ascontiguousarray(b).view(np.uint32))
        for a, b in zip(got, expected, strict=True)
    )


def by_reference(schedule, inputs):
    """Outputs of the lowered graph on ONNX's reference evaluator."""
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(ir.to_proto(schedule.model)).run(None, inputs)


def with_l1(machine, l1_bytes):
    """The machine with another L1."""
    memory = _changed(machine.memory, l1_bytes=l1_bytes)
    return _changed(machine, memory=memory)


def _changed(thing, **values):
    if hasattr(thing, "model_copy"):
        return thing.model_copy(update=values)
    if dataclasses.is_dataclass(thing):
        return dataclasses.replace(thing, **values)
    return type(thing)(**{**vars(thing), **values})
