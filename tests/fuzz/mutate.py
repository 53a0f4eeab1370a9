"""Changes that know a format: what comes out is nearly right, so it gets further than flipped bits do."""

from __future__ import annotations

import copy
import io
import json
import re
import struct
import warnings
import zipfile
from random import Random
from typing import Any

INTEGERS = (
    0,
    1,
    2,
    7,
    8,
    63,
    64,
    255,
    4096,
    65535,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
    1 << 64,
    -1,
    -2,
    -(1 << 31),
    -(1 << 63),
    10**30,
)
NUMBERS = (*INTEGERS, 0.0, -0.0, 0.5, 1e-320, 1e308, float("inf"), float("nan"))
TEXTS = (
    "",
    "x",
    "\0",
    "é",
    "\ud800",
    "a" * 300,
    "../x",
    "float32",
    "object",
    "NHWC",
    "row",
    "[]",
    "1e9",
    "0x10",
    "timed",
    "spatz-mx",
    "\n",
    "%s",
    "{}",
)


def value(rng: Random) -> Any:
    """Anything that JSON can say."""
    kind = rng.randrange(7)
    if kind < 3:
        return rng.choice(NUMBERS)
    if kind == 3:
        return rng.choice(TEXTS)
    if kind == 4:
        return rng.choice((None, True, False, [], {}))
    if kind == 5:
        return [rng.choice(NUMBERS) for _ in range(rng.randrange(4))]
    deep: Any = rng.choice(NUMBERS)
    for _ in range(rng.choice((2, 40, 1500))):
        deep = [deep] if rng.randrange(2) else {rng.choice(TEXTS): deep}
    return deep


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found: list[tuple[Any, Any]] = []
    todo = [tree]
    while todo:
        one = todo.pop()
        items = list(one.items() if isinstance(one, dict) else enumerate(one))
        for key, held in items:
            found.append((one, key))
            if isinstance(held, dict | list):
                todo.append(held)
    return found


def edited(tree: Any, rng: Random) -> Any:
    """A JSON value with one to three changes."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randrange(1, 4)):
        places = _places(tree) if isinstance(tree, dict | list) else []
        if not places:
            return value(rng)
        owner, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind < 2:
            owner[key] = value(rng)
        elif kind == 2:
            del owner[key]
        elif kind == 3:
            other, there = rng.choice(places)
            if (isinstance(other, dict) and there in other) or (
                isinstance(other, list) and there < len(other)
            ):
                owner[key] = copy.deepcopy(other[there])
        elif isinstance(owner, list):
            owner.insert(key, copy.deepcopy(owner[key]))
        else:
            owner[rng.choice((*TEXTS, str(key) + "_"))] = owner[key]
    return tree


def dumped(tree: Any) -> bytes:
    """JSON text, also of what nests deeply or holds half a surrogate pair."""
    try:
        return json.dumps(tree).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 3000 + b"]" * 3000


def json_bytes(data: bytes, rng: Random) -> bytes:
    """JSON text with changes; deep nesting where it is none."""
    try:
        return dumped(edited(json.loads(data), rng))
    except (ValueError, RecursionError):
        return b'{"a":' * 2000 + b"1" + b"}" * 2000


_TOKEN = re.compile(rb"[\w.+-]+|\s+|.", re.DOTALL)
_WORDS = (
    b"0",
    b"-1",
    b"1e400",
    b"nan",
    b"-inf",
    b"9" * 40,
    b"9" * 5000,
    b"0x10",
    b"true",
    b'""',
    b'"\\u0000"',
    b"'x'",
    b"[]",
    b"{}",
    b"[[",
    b"]]",
    b"[" * 1200,
    b"1979-05-27",
    b"=",
    b".",
    b"\n",
    b"#",
    b"extends",
    b"name",
    b"kind",
    b"\xff",
    b'"""',
    b'"1 + vl / 0"',
    b'"' + b"(" * 1200 + b'"',
    b'"9**9**9"',
)


def toml_bytes(data: bytes, rng: Random) -> bytes:
    """TOML text with tokens taken away, doubled, exchanged or replaced."""
    tokens = _TOKEN.findall(data) or [b""]
    for _ in range(rng.randrange(1, 4)):
        at, other = rng.randrange(len(tokens)), rng.randrange(len(tokens))
        kind = rng.randrange(5)
        if kind == 0 and len(tokens) > 1:
            del tokens[at]
        elif kind == 1:
            tokens.insert(other, tokens[at])
        elif kind == 2:
            tokens[at] = tokens[other]
        elif kind == 3:  # another number where there is one
            places = [k for k, token in enumerate(tokens) if token[:1].isdigit()] or [at]
            tokens[rng.choice(places)] = repr(rng.choice(NUMBERS)).encode()
        else:
            tokens[at] = rng.choice(_WORDS)
    return b"".join(tokens)


def zip_bytes(data: bytes, rng: Random) -> bytes:
    """An .npz file whose members' headers, names or ways of storage are others, and consistent with the archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as held:
            members = [(item.filename, held.read(item)) for item in held.infolist()]
    except Exception:
        members = [("x.npy", data)]
    made = io.BytesIO()
    method = rng.choice(
        (zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    )
    with warnings.catch_warnings(), zipfile.ZipFile(made, "w", method) as archive:
        warnings.simplefilter("ignore")  # two members of one name are a case to test
        for name, content in members:
            if rng.randrange(2):
                content = _npy(content, rng)
            archive.writestr(
                name if rng.randrange(8) else rng.choice(("x", "x.npy", "é.npy", "a/../b.npy", ".npy")),
                content,
            )
    return made.getvalue()


def _npy(content: bytes, rng: Random) -> bytes:
    head, rest = content[:10], content[10:]
    text, body = rest[:118], rest[118:]
    kind = rng.randrange(4)
    if kind == 0:
        shape = tuple(rng.choice(INTEGERS) for _ in range(rng.randrange(4)))
        text = re.sub(rb"\([\d, ]*\)", str(shape).encode(), text)
    elif kind == 1:
        descr = rng.choice(
            (
                b"'|O'",
                b"'<U9'",
                b"'<f8'",
                b"'V0'",
                b"[('a','<f4')]",
                b"'<M8[s]'",
                b"1",
                b"'" + b"9" * 40 + b"'",
            )
        )
        text = re.sub(rb"'[<|>=]\w+'", descr, text)
    elif kind == 2:
        text = toml_bytes(text, rng)
    else:
        body = body[: rng.randrange(len(body) + 1)]
    length = rng.choice((len(text), len(text), len(text), 0, 65535))
    return (
        head[:6]
        + rng.choice((b"\1\0", b"\2\0", b"\3\0", head[6:8]))
        + struct.pack("<H", length)
        + text
        + body
    )


def message(proto: Any, rng: Random) -> None:
    """One to three changes of a protobuf message, in place."""
    for _ in range(rng.randrange(1, 4)):
        fields = _fields(proto)
        if not fields:
            return
        owner, field = rng.choice(fields)
        _change(owner, field, fields, rng)


def _fields(proto: Any) -> list[tuple[Any, Any]]:
    found, todo = [], [proto]
    while todo:
        one = todo.pop()
        for field, held in one.ListFields():
            found.append((one, field))
            if field.message_type is not None and not field.message_type.GetOptions().map_entry:
                todo.extend(held if field.is_repeated else [held])
    return found


def _change(owner: Any, field: Any, fields: list[tuple[Any, Any]], rng: Random) -> None:
    kind = rng.randrange(6)
    if kind == 0:
        owner.ClearField(field.name)
        return
    if kind == 1:  # a field that is not there
        absent = [one for one in owner.DESCRIPTOR.fields if one.message_type is None]
        if absent:
            field = rng.choice(absent)
    if field.is_repeated:
        held = getattr(owner, field.name)
        if field.message_type is not None:
            if kind == 2 and len(held):
                held.append(rng.choice(list(held)))
            elif kind == 3 and len(held):
                del held[rng.randrange(len(held))]
            elif len(held) > 1:
                first, second = rng.randrange(len(held)), rng.randrange(len(held))
                kept = copy.deepcopy(held[first])
                held[first].CopyFrom(held[second])
                held[second].CopyFrom(kept)
            return
        if len(held) and kind == 3:
            del held[rng.randrange(len(held))]
        elif len(held) and kind == 4:
            held[rng.randrange(len(held))] = _scalar(field, fields, rng)
        else:
            held.append(_scalar(field, fields, rng))
        return
    if field.message_type is not None:
        same = [
            getattr(one, other.name)
            for one, other in fields
            if other.message_type is field.message_type and not other.is_repeated
        ]
        held = rng.choice(same)
        kept = copy.deepcopy(held)
        getattr(owner, field.name).CopyFrom(kept)
        return
    setattr(owner, field.name, _scalar(field, fields, rng))


def _scalar(field: Any, fields: list[tuple[Any, Any]], rng: Random) -> Any:
    """A value of a field's type: a striking one, or one from elsewhere in the message."""
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    if field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32):
        return rng.choice(tuple(n for n in INTEGERS if 0 <= n < 1 << 31))
    if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
        low = 0 if field.cpp_type == field.CPPTYPE_UINT64 else -(1 << 63)
        return rng.choice(tuple(n for n in INTEGERS if low <= n < 1 << 63))
    if field.cpp_type == field.CPPTYPE_BOOL:
        return bool(rng.randrange(2))
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return float(rng.choice(tuple(n for n in NUMBERS if abs(n) < 1e38 or n != n)))
    if field.type == field.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 3, 4, 16, 64)))
    texts = [
        getattr(one, other.name)
        for one, other in fields
        if other.cpp_type == other.CPPTYPE_STRING and other.type != other.TYPE_BYTES and not other.is_repeated
    ]
    known = (
        "Conv",
        "MatMul",
        "QuantizeLinear",
        "DequantizeLinear",
        "Constant",
        "If",
        "Loop",
        "Scan",
        "Reshape",
        "Resize",
        "Concat",
        "Gather",
        "Einsum",
        "LSTM",
        "Split",
        "NonZero",
        "ai.onnx.ml",
        "potluck",
        "com.microsoft",
        "",
    )
    text = rng.choice([*texts, *known, *(t for t in TEXTS if "\ud800" not in t)])
    return text.encode() if isinstance(text, str) and field.type == field.TYPE_BYTES else text


def elf_bytes(data: bytes, rng: Random) -> bytes:
    """An ELF file with other numbers in its headers, segments, sections or symbols."""
    made = bytearray(data)
    if len(made) < 64:
        return bytes(made)
    segments, sections = struct.unpack_from("<QQ", made, 32)
    counts = struct.unpack_from("<H", made, 56)[0] % 32, struct.unpack_from("<H", made, 60)[0] % 32
    places = [
        (at, size)
        for at, size in zip(
            (16, 18, 20, 24, 32, 40, 48, 52, 54, 56, 58, 60, 62),
            (2, 2, 4, 8, 8, 8, 4, 2, 2, 2, 2, 2, 2),
            strict=True,
        )
    ]
    for start, count, size, wide in (
        (segments, counts[0], 56, (4, 4, 8, 8, 8, 8, 8, 8)),
        (sections, counts[1], 64, (4, 4, 8, 8, 8, 8, 4, 4, 8, 8)),
    ):
        for number in range(count):
            at = start + number * size
            for width in wide:
                places.append((at, width))
                at += width
    for _ in range(rng.randrange(1, 4)):
        at, width = rng.choice(places)
        if at + width > len(made):
            continue
        old = int.from_bytes(made[at : at + width], "little")
        new = rng.choice(
            (rng.choice(INTEGERS), old + rng.choice((-1, 1, 8, 64, 4096)), len(made), rng.getrandbits(16))
        )
        made[at : at + width] = (new % (1 << 8 * width)).to_bytes(width, "little")
    return bytes(made)
