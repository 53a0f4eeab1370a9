"""Finds attention and makes one node of it (`potluck.Attend...`).

    softmax(q keysᵀ [* or / constant] [+ mask]) values

where heads of queries may share keys and values (by broadcasting, or by Expand), and these may come from a Concat of a
cache and new ones, which is left to its other readers. Few rows of queries, as a decoder has them for a token, are one
layer that reads keys and values once (`potluck.compiler.lowering.attention`), many are one that takes them in blocks
(`potluck.compiler.lowering.attention_rows`); what fits neither stays as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from potluck.compiler.functions import require
from potluck.compiler.graph.nodes import (
    DOMAIN,
    constant,
    drop_unused,
    integer,
    ints,
    is_op,
    label,
    shape_of,
    sole_user,
)
from potluck.compiler.lowering.attention import Sizes
from potluck.compiler.lowering.attention_blocks import BlockSizes, fits, sizes_of
from potluck.compiler.lowering.base import Target


@dataclass(frozen=True)
class Found:
    """An attention in a graph.

    Attributes:
        last: Node that mixes the values; its output is the attention's.
        q: Queries.
        keys: A cache's and new ones, or all of them.
        values: The same.
        mask: Added to the scores, or None.
        scale: Factor of the scores.
        share: Heads of queries that use the same keys.
        tokens: Rows of a head.
        groups: Of keys and values.
        sizes: Of the operands.
        turn: Order of the dimensions that the keys are brought into first, if they are not keys by depth.
    """

    last: ir.Node
    q: ir.Value
    keys: tuple[ir.Value, ...]
    values: tuple[ir.Value, ...]
    mask: ir.Value | None
    scale: float
    share: int
    tokens: int
    groups: int
    sizes: Sizes | BlockSizes
    turn: list[int] | None


def fused(model: ir.Model, target: Target) -> ir.Model:
    """The network with each attention as one node: a copy, or the network itself if it has none."""
    if not _matches(model, target):
        return model
    made = model.clone()
    for found in _matches(made, target):
        _replace(made, found)
    drop_unused(made.graph)
    return made


def _matches(model: ir.Model, target: Target) -> list[Found]:
    every = (_match(node) for node in model.graph if is_op(node, "MatMul"))
    return [found for found in every if found is not None and fits(found.sizes, target)]


def _match(last: ir.Node) -> Found | None:
    """The attention that ends with a node."""
    shares, mixed = last.inputs[:2]
    softmax = _producer(shares, "Softmax")
    if shares is None or mixed is None or softmax is None:
        return None
    rank = len(shape_of(shares, last))
    if rank < 2 or integer(softmax, "axis", -1) % rank != rank - 1:
        return None
    scores, mask = _unmasked(softmax.inputs[0])
    scores, scale = _unscaled(scores)
    product = _producer(scores, "MatMul")
    if product is None or scale is None or scores is None:
        return None
    q, across = product.inputs[:2]
    turned = across.producer() if across is not None else None
    if q is None or turned is None or not is_op(turned, "Transpose"):
        return None
    keys, held = turned.inputs[0], shape_of(turned.outputs[0], turned)
    if keys is None or len(shape_of(q, product)) < 2 or len(held) < 2:
        return None
    perm = list(ints(turned, "perm", range(len(held))[::-1]))
    turn = [*perm[:-2], perm[-1], perm[-2]]
    straight = turn == sorted(turn)
    if not straight and not sole_user(turned.outputs[0]):
        return None
    held = (*held[:-2], held[-1], held[-2])
    left = _split(shape_of(q), held, _repeated(keys) if straight else 1)
    right = _split(shape_of(shares), shape_of(mixed), _repeated(mixed))
    if (
        left is None
        or left != right
        or not _plain(q, keys, mixed, last.outputs[0], *([] if mask is None else [mask]))
    ):
        return None
    groups, share, tokens = left
    length, depth = held[-2:]
    key_pieces, value_pieces = _pieces(_source(keys)), _pieces(_source(mixed))
    lengths = [tuple(shape_of(piece)[-2] for piece in pieces) for pieces in (key_pieces, value_pieces)]
    if not straight or lengths[0] != lengths[1]:
        key_pieces, value_pieces = (_source(keys) if straight else keys,), (_source(mixed),)
        lengths = [(length,)] * 2
    if any(constant(piece) is not None for piece in (q, *key_pieces, *value_pieces)):
        return None
    masks = 0
    if mask is not None:
        shape = shape_of(mask)
        masks = shape[-2] if len(shape) > 1 else 1
        if (
            math.prod(shape) != masks * length
            or masks not in (1, tokens)
            or shape_of(scores) != shape_of(shares)
        ):
            return None
    if 0 in (*lengths[0], depth):
        return None
    known = None if mask is None else constant(mask)
    width = shape_of(mixed)[-1]
    sizes = sizes_of((groups, share, tokens), depth, width, lengths[0], masks, known)
    turned_by = None if straight else turn
    return Found(last, q, key_pieces, value_pieces, mask, scale, share, tokens, groups, sizes, turned_by)


def _producer(value: ir.Value | None, op: str) -> ir.Node | None:
    """Who computed a value, if it is that operator and nobody else reads it."""
    node = value.producer() if value is not None else None
    return node if node is not None and is_op(node, op) and sole_user(node.outputs[0]) else None


def _unmasked(value: ir.Value | None) -> tuple[ir.Value | None, ir.Value | None]:
    """Scores, and what is added to them."""
    node = _producer(value, "Add")
    if node is None:
        return value, None
    for scores, mask in (node.inputs[:2], node.inputs[1::-1]):
        inner, _ = _unscaled(scores)
        if mask is not None and _producer(inner, "MatMul") is not None:
            return scores, mask
    return None, None


def _unscaled(value: ir.Value | None) -> tuple[ir.Value | None, float | None]:
    """Scores before a constant factor, and the factor; None if it is no single FP32 number."""
    node = _producer(value, "Mul") or _producer(value, "Div")
    if node is None:
        return value, 1.0
    for place, scores in enumerate(node.inputs[: 1 + is_op(node, "Mul")]):
        factor = constant(node.inputs[1 - place])
        if factor is not None and factor.size == 1 and factor.dtype == np.float32:
            number = np.float32(factor.reshape(())[()])
            if is_op(node, "Mul"):
                return scores, float(number)
            exact = math.frexp(float(number))[0] == 0.5  # dividing by a power of two is multiplying
            return scores, float(np.float32(1) / number) if exact else None
    return None, None


def _split(rows: tuple[int, ...], shared: tuple[int, ...], repeated: int) -> tuple[int, int, int] | None:
    """(groups, heads that share a matrix, rows of a head) of a product of queries with keys or values.

    None if matrices are not shared by neighbouring heads.

    Args:
        rows: Shape of the queries.
        shared: Shape of the keys or values.
        repeated: How often each of these was repeated to get there.
    """
    (*batch, tokens, _), (*held, _, _) = rows, shared
    if len(held) > len(batch):
        return None
    held = [1] * (len(batch) - len(held)) + held
    at = len(held)
    while at and held[at - 1] == 1:
        at -= 1
    if held[:at] != batch[:at]:
        return None
    groups = math.prod(held[:at])
    return groups // repeated, repeated * math.prod(batch[at:]), tokens


def _repeated(value: ir.Value) -> int:
    """How often keys or values were repeated."""
    return math.prod(shape_of(value)) // math.prod(shape_of(_source(value)))


def _source(value: ir.Value) -> ir.Value:
    """Where keys or values come from before dimensions of one were added and repeated.

    Only such repetitions are looked through as make neighbouring heads share a matrix.
    """
    matrix, current, expanded = shape_of(value)[-2:], value, False
    while (node := current.producer()) is not None:
        before = node.inputs[0] if node.inputs else None
        if (
            before is None
            or before.shape is None
            or len(shape_of(before)) < 2
            or shape_of(before)[-2:] != matrix
        ):
            break
        if is_op(node, "Expand"):
            old, new = shape_of(before), shape_of(current)
            old = (1,) * (len(new) - len(old)) + old
            changed = [at for at, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
            if expanded or len(changed) > 1 or (changed and math.prod(new[changed[0] + 1 : -2]) != 1):
                break
            expanded = expanded or bool(changed)
        elif not is_op(node, "Reshape", "Unsqueeze", "Squeeze", "Identity"):
            break
        current = before
    return current


def _pieces(value: ir.Value) -> tuple[ir.Value, ...]:
    """A cache and what is new behind it, if that is what a value was put together from."""
    node = value.producer()
    if node is None or not is_op(node, "Concat") or len(node.inputs) != 2:
        return (value,)
    rank = len(shape_of(value))
    if integer(node, "axis", 0) % rank != rank - 2:
        return (value,)
    return tuple(item for item in node.inputs if item is not None)


def _plain(*values: ir.Value) -> bool:
    """Whether all are FP32."""
    return all(value.dtype is ir.DataType.FLOAT for value in values)


def _replace(model: ir.Model, found: Found) -> None:
    s, last = found.sizes, found.last
    cached = len(found.keys) > 1
    name = f"Attend{'Cached' * cached}{'Masked' * (found.mask is not None)}"
    require(model, name)
    positions = -1 if cached else s.length
    shapes = {
        "queries": (found.groups, found.share, found.tokens, s.depth), "keys": (found.groups, 1, positions, s.depth),
        "values": (found.groups, 1, positions, s.width), "shape": shape_of(last.outputs[0]),
    }  # fmt: skip
    keys = found.keys if found.turn is None else (_turned(model, found),)
    inputs = [found.q, *keys, *found.values]
    if found.mask is not None:
        inputs.append(found.mask)
        shapes["mask"] = (math.prod(shape_of(found.mask)) // s.length, s.length)
    attributes = [ir.AttrInt64s(key, list(shape)) for key, shape in shapes.items()]
    attributes.append(ir.AttrFloat32("scale", found.scale))
    made = ir.Node(DOMAIN, name, inputs, attributes, name=label(last), num_outputs=1)
    old = last.outputs[0]
    made.outputs[0].shape, made.outputs[0].type, made.outputs[0].name = old.shape, old.type, old.name
    ir.convenience.replace_nodes_and_values(model.graph, last, [last], [made], [old], [made.outputs[0]])


def _turned(model: ir.Model, found: Found) -> ir.Value:
    """Keys by depth, from keys that a single Transpose brings to the other order."""
    (keys,), turn = found.keys, found.turn
    assert turn is not None
    node = ir.Node(
        "",
        "Transpose",
        [keys],
        [ir.AttrInt64s("perm", turn)],
        name=f"{label(found.last)}.keys",
        num_outputs=1,
    )
    made = node.outputs[0]
    made.name, made.type = f"{found.last.outputs[0].name}.keys", keys.type
    made.shape = ir.Shape([shape_of(keys)[place] for place in turn])
    model.graph.insert_before(found.last, node)
    return made
