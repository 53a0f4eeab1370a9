"""What pydantic found wrong, as an error that names the key and the nearest one there is."""

from __future__ import annotations

import difflib
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from potluck.isa.errors import CampaignError

_BARE = {
    "missing": "is missing",
    "union_tag_not_found": "kind is missing: which faults?",
    "union_tag_invalid": "unknown kind",
}


def explain(error: ValidationError, model: type[BaseModel]) -> CampaignError:
    """The first problem that names an unknown key, else the first one.

    Args:
        error: of validating `model`.
        model: the whole specification.
    """
    problems = error.errors()
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    groups: list[type[BaseModel]] = [model]
    shown = []
    for part in first["loc"]:
        tags = {tag: group for group in groups for tag in _tags(group)}
        if isinstance(part, str) and len(groups) > 1 and part in tags:
            groups = [tags[part]]  # pydantic names the member of the union, which is no key
            continue
        shown.append(str(part))
        if isinstance(part, str):
            field = next((g.model_fields[part] for g in groups if part in g.model_fields), None)
            groups = _groups(field.annotation) if field is not None else groups
    key = ".".join(shown)
    if first["type"] == "extra_forbidden":
        return CampaignError("unknown key", key=key, hint=_near(shown[-1], sorted(groups[0].model_fields)))
    if first["type"] == "union_tag_invalid":
        kinds = sorted({tag for group in groups for tag in _tags(group)})
        given = str(first.get("ctx", {}).get("tag", ""))
        return CampaignError(f"unknown kind {given!r}", key=f"{key}.kind", hint=_near(given, kinds))
    text = _BARE.get(first["type"], first["msg"].removeprefix("Value error, "))
    if first["type"] not in _BARE and isinstance(first["input"], str | int | float | bool):
        text += f", not {first['input']!r}"
    return CampaignError(text, key=key or None)


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, 1, 0.5)
    return f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(known)}"


def _tags(group: type[BaseModel]) -> tuple[Any, ...]:
    kind = group.model_fields.get("kind")
    return get_args(kind.annotation) if kind is not None else ()


def _groups(annotation: Any) -> list[type[BaseModel]]:
    """The groups of keys that a field's type holds, in a list or a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [group for part in get_args(annotation) for group in _groups(part)]
