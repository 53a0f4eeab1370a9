"""Every key of a machine, with its range, default and the values of the presets."""

from __future__ import annotations

from typing import Any

from potluck.isa.machine import Machine, load_machine, presets
from potluck.reference.markdown import cell, code, table

_HEAD = """# Machine keys

A machine is a TOML file; `extends = "spatz-mx"` takes what it leaves out from another, and `--set KEY=VALUE`
overrides one key. A key that is not here is an error that suggests the near one. A preset's values are followed by
their sources, as its file has them: RTL (read from the authors' RTL), DER
(derived from it), INF (inferred), MEM (from memory), CHOICE (ours).

"""


def page() -> str:
    """Markdown; a heading per table of the file, then the energies of `spatz-mx`."""
    machine, parts = load_machine("spatz-mx"), [_HEAD]
    parts.append("## Presets\n\n" + table(("name", "what it is"), _presets()) + "\n")
    schema = Machine.model_json_schema()
    for name, field in schema["properties"].items():
        group = _group(field, schema)
        if group is None or name == "energy":
            continue
        parts.append(f"## `[{name}]`\n\n")
        parts += [f"{cell(text)}\n\n" for text in group.get("description", "").split("\n\n") if text]
        rows = [
            _row(f"{name}.{key}", key, value, schema, machine) for key, value in group["properties"].items()
        ]
        parts += [table(("key", "takes", "spatz-mx", "source"), rows), "\n"]
    energies = [
        [
            code(name),
            f"{entry.pj:g}",
            f"{entry.low:g} to {entry.high:g}",
            cell(entry.node),
            cell(entry.source),
        ]
        for name, entry in machine.energy.items()
    ]
    parts.append("## `[energy]`\n\nOf `spatz-mx`, in pJ.\n\n")
    return "".join(parts) + table(("entry", "pJ", "band", "node", "source"), energies)


def _presets() -> list[list[str]]:
    return [[code(name), cell(load_machine(name).description)] for name in presets()]


def _resolved(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """What a field refers to; of a field that may be missing, what it is if it is there."""
    for option in field.get("anyOf", [field]):
        if "$ref" in option:
            return dict(schema["$defs"][option["$ref"].rpartition("/")[2]])
    return field


def _group(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    found = _resolved(field, schema)
    return found if "properties" in found else None


def _takes(field: dict[str, Any]) -> str:
    if "enum" in field:
        return ", ".join(code(value) for value in field["enum"])
    least = field.get("minimum", field.get("exclusiveMinimum"))
    most = field.get("maximum")
    above = ">" if "exclusiveMinimum" in field else "≥"
    bounds = f" {above} {least}" if least is not None else ""
    return cell(field.get("type", "")) + bounds + (f", ≤ {most}" if most is not None else "")


def _row(key: str, name: str, field: dict[str, Any], schema: dict[str, Any], machine: Machine) -> list[str]:
    group, held = key.split(".")
    part = getattr(machine, group)
    value = getattr(part, held, "") if part is not None else ""
    inner = _group(field, schema)
    takes = "table: " + ", ".join(code(each) for each in inner["properties"]) if inner else _takes(field)
    shown = "" if value == "" or inner else code(str(value).lower() if isinstance(value, bool) else value)
    return [code(name), takes, shown, cell(machine.source(key) if shown else "")]
