"""ONNX in: a checked, static, simplified onnx-ir model of one opset.

The steps: read, check (`onnx.checker`), convert to opset 24, bind dynamic dimensions, lift Constant nodes
(Paddle keeps weights there), inline functions that are not Potluck's, infer shapes, make attributes explicit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import (
    InlinePass,
    LiftConstantsToInitializersPass,
    RemoveInitializersFromInputsPass,
    ShapeInferencePass,
)

from potluck.compiler import imports
from potluck.compiler.graph.explicit import make_explicit, size_unknown
from potluck.compiler.graph.nodes import DOMAIN, FP6_OPSET, OPSET, drop_unused, label
from potluck.compiler.passes.constant_fold import ConstantFold
from potluck.isa.errors import ModelError

Source = str | os.PathLike[str] | ir.Model | onnx.ModelProto


def load(
    source: Source,
    dims: Mapping[str, int] | None = None,
    bind: Mapping[str, NDArray[np.generic]] | None = None,
) -> ir.Model:
    """Reads a network and brings it into the form that every pass expects.

    Args:
        source: Path of an ONNX file, an onnx-ir model (left as it is) or a ModelProto.
        dims: Size of every dynamic dimension by its name, e.g. ``{"batch": 1}``; an unnamed one is called
            ``INPUT.AXIS``, e.g. ``x.0``. Dimensions named ``batch`` or ``N`` are 1 unless given.
        bind: Inputs that become constants, by name: what an exporter left open and the program needs to know, such as
            a shape or axes. They are no inputs of the program.

    Returns:
        A new model: opset 24, static input shapes, constants as initializers, shapes inferred, attributes of
        convolutions and pools explicit, every node named.

    Raises:
        ModelError: The file cannot be read, the checker refuses it, a dimension is unbound, or a value does not fit
            its input; the text names the file, the node, the dimension or the input.
    """
    model = _read(source)
    _hold(model, bind or {})
    _convert(model)
    _bind(model, dims or {})
    with _refused("its functions cannot be inlined"):
        RemoveInitializersFromInputsPass()(model)
        InlinePass(criteria=lambda function: function.domain not in (DOMAIN, *imports.DOMAINS))(model)
    name_nodes(model)
    _complete(model)
    with _refused("its constants cannot be read"):
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    imports.translate(model)
    infer_shapes(model)
    imports.finish(model)
    if any(
        size_unknown(node) for node in model.graph
    ):  # bounds computed from shapes, where inference gives up
        ConstantFold().run(model)
        infer_shapes(model)
    make_explicit(model)
    drop_unused(model.graph)
    return model


def infer_shapes(model: ir.Model) -> None:
    """Infers the shape of every value; of a model that onnx cannot take, what is known without it stays.

    Raises:
        ModelError: Operators and shapes contradict each other.
    """
    # it logs tracebacks of what it then leaves alone
    with _quiet("onnx_ir"), _refused("shape inference failed"):
        ShapeInferencePass(check_type=True, strict_mode=False, data_prop=True)(model)


def _complete(model: ir.Model) -> None:
    """Every input that an operator cannot do without is there: a call may leave out what a function's body needs.

    Raises:
        ModelError: names the node and the input.
    """
    version = model.graph.opset_imports.get("", OPSET)
    for node in model.graph.all_nodes():
        if node.domain not in ("", "ai.onnx"):
            continue
        schema = _schema(node.op_type, version)
        for number, expected in enumerate(schema.inputs if schema is not None else ()):
            given = node.inputs[number] if number < len(node.inputs) else None
            if given is None and expected.option == onnx.defs.OpSchema.FormalParameterOption.Single:
                raise ModelError(
                    f"{node.op_type} lacks its input {expected.name}",
                    node=label(node),
                    hint="Give it; if the node is in a function, the call has to",
                )


@cache
def _schema(op_type: str, version: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op_type, version)
    except onnx.defs.SchemaError:
        return None  # what cannot be compiled is said later, all at once


@contextmanager
def _refused(what: str) -> Iterator[None]:
    """Whatever a library answers to a model that contradicts itself is an error of the model.

    Raises:
        ModelError: says what cannot be done, and the first line of why.
    """
    try:
        yield
    except Exception as error:  # onnx-ir has no class of its own for it
        raise ModelError(f"{what}: {first_line(error)}") from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Only errors of a library's logger are shown."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _read(source: Source) -> ir.Model:
    if isinstance(source, ir.Model | onnx.ModelProto):
        proto = ir.to_proto(source) if isinstance(source, ir.Model) else source
        model = ir.from_proto(proto)
    else:
        path = Path(source)
        if not path.is_file():
            raise ModelError(f"no such file {str(path)!r}", hint="Give the path of an ONNX model")
        try:
            onnx.checker.check_model(str(path))  # by path: external data may exceed a protobuf's 2 GiB
            return ir.load(path)
        except Exception as error:  # protobuf, checker and onnx-ir each have their own
            raise ModelError(f"{str(path)!r} is not a valid ONNX model: {first_line(error)}") from error
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"not a valid ONNX model: {first_line(error)}") from error
    return model


def _convert(model: ir.Model) -> None:
    version = model.graph.opset_imports.get("", OPSET)
    if version > OPSET:
        from potluck.compiler.passes.expand import inline  # which imports this module

        with _quiet("onnx_ir"):
            ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        while inline(model, lambda node: _changed(node, version)):
            pass
        _relabel(model, version)
    if version == 8 and any(node.op_type == "Scan" for node in model.graph):
        raise ModelError(
            "its Scan is that of opset 8, whose batches later ones do not have",
            hint="Export the model with opset 9 or later",
        )
    if version < OPSET:
        import onnxscript.version_converter  # slow to import, and seldom needed twice

        # the converter warns that old opsets go through onnx's, which is fine
        with (
            _quiet("onnxscript.version_converter"),
            _quiet("onnx_ir"),
            _refused(f"cannot convert opset {version} to {OPSET}"),
        ):
            onnxscript.version_converter.convert_version(model, OPSET, fallback=True)
        if model.graph.opset_imports.get("") != OPSET:
            raise ModelError(
                f"cannot convert opset {version} to {OPSET}", hint="Export the model with a newer opset"
            )
    model.ir_version = max(model.ir_version, 11)  # the IR version that came with opset 24's types


def _relabel(model: ir.Model, version: int) -> None:
    """Calls a model of a newer opset one of ours, if its operators differ in nothing but the types they take.

    Models with six-bit types, or with our functions on them, stay in the first opset that has them.

    Raises:
        ModelError: They do not.
    """
    known = onnx.defs.onnx_opset_version()
    if version > known:
        raise ModelError(
            f"the model is of opset {version}, the installed onnx knows those up to {known}",
            hint=f"Export the model with opset {OPSET}",
        )
    nodes = ir.traversal.RecursiveGraphIterator(model.graph)
    changed = {node.op_type for node in nodes if _changed(node, version)}
    foreign = any(domain != DOMAIN for domain, _, _ in model.functions)
    if changed or foreign:
        what = f"its operators {sorted(changed)} are" if changed else "its functions may be"
        raise ModelError(
            f"the model is of opset {version}, and {what} newer than opset {OPSET}",
            hint=f"Export the model with opset {OPSET}",
        )
    six = {ir.DataType.FLOAT6E2M3, ir.DataType.FLOAT6E3M2}
    held = any(value.dtype in six for value in model.graph.initializers.values())
    model.graph.opset_imports[""] = FP6_OPSET if held or model.functions else OPSET


def _changed(node: ir.Node, version: int) -> bool:
    """Whether a node says something at a newer opset that it cannot say at ours."""
    if node.domain not in ("", "ai.onnx"):
        return False
    try:
        new, old = (onnx.defs.get_schema(node.op_type, opset) for opset in (version, OPSET))
    except onnx.defs.SchemaError:
        return True
    if new.since_version <= OPSET:
        return False
    added = new.attributes.keys() - old.attributes.keys()
    if added & node.attributes.keys() or len(node.inputs) > old.max_input:
        return True
    return _signature(new, len(old.inputs), added) != _signature(old, len(old.inputs), added)


def _signature(schema: onnx.defs.OpSchema, inputs: int, without: Collection[str]) -> tuple[object, ...]:
    """What a node of an operator can say: its first inputs, outputs, attributes with defaults but for some."""
    attributes = sorted(
        (name, str(item.type), item.required, item.default_value.SerializeToString())
        for name, item in schema.attributes.items()
        if name not in without
    )
    ports = [
        [(port.name, str(port.option)) for port in ports]
        for ports in (schema.inputs[:inputs], schema.outputs)
    ]
    return (attributes, *ports)


def _hold(model: ir.Model, values: Mapping[str, NDArray[np.generic]]) -> None:
    """Makes constants of inputs."""
    inputs = {value.name: value for value in model.graph.inputs}
    for name, given in values.items():
        value, array = inputs.get(name), np.asarray(given)
        if value is None:
            known = ", ".join(repr(item) for item in inputs)
            raise ModelError(f"bind names {name!r}, which is no input", hint=f"The inputs are {known}")
        if value.dtype is not None and value.dtype.numpy() != array.dtype:
            raise ModelError(f"bind gives {array.dtype} for input {name!r}, which is {value.dtype.name}")
        shape = value.shape
        if shape is not None and (
            len(shape) != array.ndim
            or any(isinstance(a, int) and a != b for a, b in zip(shape, array.shape, strict=True))
        ):
            raise ModelError(f"bind gives shape {array.shape} for input {name!r}, which has {shape}")
        model.graph.inputs.remove(value)
        value.const_value, value.shape = ir.tensor(array, name=name), ir.Shape(array.shape)
        model.graph.initializers[name] = value


def _bind(model: ir.Model, dims: Mapping[str, int]) -> None:
    sizes = {"batch": 1, "batch_size": 1, "N": 1, **dims}
    unbound, seen = [], set()
    for value in model.graph.inputs:
        if value.shape is None:
            raise ModelError(f"input {value.name!r} has no shape", hint="Export the model with input shapes")
        shape: list[int] = []
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, int):
                shape.append(dim)
                continue
            name = dim.value if dim.value is not None else f"{value.name}.{axis}"
            seen.add(name)
            if name in sizes:
                shape.append(sizes[name])
            else:
                unbound.append(name)
        value.shape = ir.Shape(shape)
    if unbound:
        hint = ", ".join(f"{name!r}: 1" for name in dict.fromkeys(unbound))
        raise ModelError(f"dynamic dimensions {unbound} have no size", hint=f"Pass dims={{{hint}}}")
    unknown = set(dims) - seen
    if unknown:
        raise ModelError(
            f"dims names {sorted(unknown)}, which no input has", hint=f"Dynamic dimensions: {sorted(seen)}"
        )
    if seen:  # sizes inferred with the dynamic dimensions are stale
        for node in model.graph:
            for output in node.outputs:
                output.shape = None


def name_nodes(model: ir.Model) -> None:
    """Errors, layers of the manifest and reports all speak of nodes by name."""
    taken: set[str] = set()
    for index, node in enumerate(model.graph):
        base = node.name or f"{node.op_type}_{index}"
        name, count = base, 0
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        node.name = name
        taken.add(name)


def first_line(error: BaseException) -> str:
    """What another library's error says, or else its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
