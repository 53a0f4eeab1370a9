"""Attention: of a token to a cache, or of a whole text.

``Attend<scale, queries, keys, values, shape>(q, keys, values)``: softmax(scale q keysᵀ) values. The attributes are the
shapes that the operands are seen in: queries [groups, share, tokens, D], keys [groups, 1, T, D], values
[groups, 1, T, E]; ``share`` heads of queries use the same keys. ``shape`` is the result's.

``AttendMasked<..., mask>(..., mask)``: a mask [1 or tokens, T] is added before the softmax.

``AttendCached...(q, past_keys, keys, past_values, values)``: keys and values of a cache with new ones behind them; -1
stands for their lengths in ``keys`` and ``values``.
"""

_SHAPES = ("queries", "keys", "values", "shape")


def _body(cached: bool, masked: bool) -> str:
    name = f"Attend{'Cached' * cached}{'Masked' * masked}"
    shapes = (*_SHAPES, *(("mask",) if masked else ()))
    pairs = [("past_keys", "new_keys"), ("past_values", "new_values")]
    inputs = ["q", *(item for pair in pairs for item in pair[not cached :]), *(["added"] * masked)]
    lines = [f"{name}_{item} = Constant <value_ints: ints = @{item}> ()" for item in shapes]
    lines += ["factor = Constant <value_float: float = @scale> ()", f"queries = Reshape (q, {name}_queries)"]
    for (past, new), operand in zip(pairs, ("keys", "values"), strict=True):
        lines.append(f"{new}_seen = Reshape ({new}, {name}_{operand})")
        if cached:
            lines.append(f"{past}_seen = Reshape ({past}, {name}_{operand})")
            lines.append(f"{operand} = Concat <axis = 2> ({past}_seen, {new}_seen)")
        else:
            lines.append(f"{operand} = Identity ({new}_seen)")
    lines += [
        "across = Transpose <perm = [0, 1, 3, 2]> (keys)",
        "products = MatMul (queries, across)",
        "scores = Mul (products, factor)",
    ]
    if masked:
        lines += [f"added_seen = Reshape (added, {name}_mask)", "seen = Add (scores, added_seen)"]
    else:
        lines.append("seen = Identity (scores)")
    lines += [
        "shares = Softmax <axis = -1> (seen)",
        "mixed = MatMul (shares, values)",
        f"y = Reshape (mixed, {name}_shape)",
    ]
    text = "\n".join(lines)
    return f"\n{name} <scale, {', '.join(shapes)}> ({', '.join(inputs)}) => (y) {{\n{text}\n}}\n"


BODIES = {
    f"Attend{'Cached' * cached}{'Masked' * masked}": _body(cached, masked)
    for cached in (False, True)
    for masked in (False, True)
}
"""Function -> its body in onnx's text syntax."""
