"""Runs networks three ways: by the schedule in NumPy, on the simulator, and by ONNX's reference evaluator."""

import dataclasses

import numpy as np
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from potluck.compiler.compile import generate
from potluck.compiler.engine import OnnxEngine
from potluck.compiler.schedule.evaluate import FlatMemory, evaluate, transfer
from potluck.sim.cluster import Cluster


def feeds(schedule, seed=0):
    """Seeded inputs by name."""
    rng = np.random.default_rng(seed)
    return {tensor.name: rng.standard_normal(tensor.shape).astype(np.float32) for tensor in schedule.inputs}


def by_schedule(schedule, inputs, late=False, run=None):
    """Outputs of the schedule run in NumPy by the contracts; ``late``: see `evaluate`, which ``run`` replaces."""
    layout = schedule.target.machine.memory
    memory = FlatMemory(
        (layout.l1_base, layout.l1_bytes), (layout.dram_base, schedule.end - layout.dram_base)
    )
    for address, data in (*schedule.constants, *schedule.records):
        memory.write(address, data)
    for tensor in schedule.inputs:
        value = inputs[tensor.name]
        memory.write(tensor.address, value.transpose(0, 2, 3, 1) if tensor.channels_last else value)
    if run is None:
        evaluate(schedule.ops, memory, late)
    else:
        run(schedule.ops, memory)
    outputs = []
    for tensor in schedule.outputs:
        raw = memory.view(tensor.address, tensor.item_bytes * tensor.elements).copy().view(tensor.dtype)
        value = raw.reshape(tensor.stored_shape)
        outputs.append(value.transpose(0, 3, 1, 2) if tensor.channels_last else value)
    return outputs


def late_transfers(ops, memory):
    """As `evaluate`, but every transfer takes place when somebody waits for it, or for one behind it."""
    queue, done, issued = [], 0, 0

    def issue(transfers):
        nonlocal issued
        queue.extend(transfers)
        issued += len(transfers)

    def await_all(until):
        nonlocal done
        while done < until:
            transfer(memory, queue.pop(0))
            done += 1

    for op in ops:
        own = op.own_loop
        issue((*op.setup, *op.tiles[0].loads))
        there = [issued] * (own.first if own else 0)
        for index, tile in enumerate(op.tiles):
            if own:
                await_all(there[index] if index else issued)
            elif not (op.bare or op.joined):
                await_all(issued)
            issue(op.beside(index))
            there.append(issued)
            for args in tile.args if op.kernel is not None else ():
                op.kernel.evaluate(memory, args)
        issue(op.tiles[-1].stores)
    await_all(issued)


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
