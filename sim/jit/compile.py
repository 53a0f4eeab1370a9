"""Compile handlers in batches with LLVM and keep the object code on disk.

A batch is one LLVM module and one object file; a JSON file beside it lists its handlers. A later process loads the
batches that hold what it needs and compiles only the rest.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import llvmlite.binding as llvm

from potluck.isa.insn import Kind
from potluck.sim.cache import cache_directory
from potluck.sim.jit import atomics, control, elements, masks, memory, vmemory
from potluck.sim.jit.handler import Handler, Variant
from potluck.sim.jit.loop import Exit, Loop

EMITTERS: dict[Kind, Callable[[Handler], None]] = {
    Kind.MAP: elements.emit_map,
    Kind.COMPARE: elements.emit_compare,
    Kind.REDUCE: elements.emit_reduce,
    Kind.PERMUTE: elements.emit_permute,
    Kind.LOAD: memory.emit_load,
    Kind.STORE: memory.emit_store,
    Kind.VLOAD: vmemory.emit_vector_memory,
    Kind.VSTORE: vmemory.emit_vector_memory,
    Kind.BRANCH: control.emit_branch,
    Kind.JUMP: control.emit_jump,
    Kind.VSET: control.emit_vset,
    Kind.CSR: control.emit_csr,
    Kind.SYSTEM: control.emit_system,
    Kind.ATOMIC: atomics.emit_atomic,
    Kind.MASK: masks.emit_mask,
    Kind.SCAN: masks.emit_scan,
}
END_TEXT = 'define i64 @"end"(ptr %s, ptr %r) #0 {\n  ret i64 0\n}\n'


def generate(variants: Iterable[Variant]) -> str:
    """LLVM assembly of a module with the given handlers."""
    functions: list[str] = []
    declarations: set[str] = set()
    for variant in variants:
        handler = Handler(variant)
        EMITTERS[variant.insn.kind](handler)
        functions.append(handler.text())
        declarations |= handler.body.intrinsics
    functions.append(END_TEXT)
    tail = 'attributes #0 = { nounwind "no-trapping-math"="true" "prefer-vector-width"="512" }\n'
    tail += '!0 = !{!"branch_weights", i32 1000, i32 1}\n!1 = !{!"branch_weights", i32 1, i32 1000}\n'
    return "\n".join([*functions, *sorted(declarations), tail])


class Compiler:
    """Handler addresses by variant name; one per process for each folder that keeps object code."""

    def __init__(self, directory: Path | None = None) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self._directory = directory or cache_directory() / "handlers"
        self._directory.mkdir(exist_ok=True)
        self._lock = threading.Lock()  # stores of several harts ask at the same time
        self._addresses: dict[str, int] = {}
        self._engines: list[llvm.ExecutionEngine] = []
        self._cpu = llvm.get_host_cpu_name()
        self._machine = llvm.Target.from_default_triple().create_target_machine(
            cpu=self._cpu,
            features=llvm.get_host_cpu_features().flatten(),
            opt=2,
            # MCJIT puts code and constants where there is room. In a process full of arrays that may be further apart
            # than the 2 GiB that relocations of other code models reach, and then LLVM aborts.
            reloc="static",
            codemodel="large",
        )
        self._exits: dict[str, list[Exit]] = {}  # of loops, by name
        self._on_disk: dict[str, Path] = {}
        for index in self._directory.glob(f"{self._cpu}-[!l]*.json"):
            for name in json.loads(index.read_text())[0]:
                self._on_disk[name] = index.with_suffix(".o")

    def addresses(self, wanted: Mapping[str, Variant]) -> dict[str, int]:
        """Addresses of handlers (by ``Variant.name``) and of ``end``, loading or compiling what is missing."""
        with self._lock:
            missing = [name for name in wanted if name not in self._addresses]
            for path in {self._on_disk[name] for name in missing if name in self._on_disk}:
                names = json.loads(path.with_suffix(".json").read_text())[0]
                self._load(path.read_bytes(), names)
            missing = sorted(name for name in missing if name not in self._addresses)
            if missing or "end" not in self._addresses:
                self._compile([wanted[name] for name in missing])
            return {name: self._addresses[name] for name in [*wanted, "end"]}

    def loop(self, name: str, make: Callable[[], Loop] | None) -> tuple[int, list[Exit]] | None:
        """Address and exits of a loop's function; without ``make`` None if it was never compiled."""
        with self._lock:
            if name not in self._exits:
                path = self._directory / f"{self._cpu}-{name}.json"
                if path.exists():
                    exits = [Exit(*pair) for pair in json.loads(path.read_text())[1]]
                    self._load(path.with_suffix(".o").read_bytes(), [name])
                elif make is None:
                    return None
                else:
                    loop = make()
                    text, exits = loop.text(), loop.exits
                    self._emit(text, [name], path.stem, [[x.kind, x.member] for x in exits])
                self._exits[name] = exits
            return self._addresses[name], self._exits[name]

    def _compile(self, variants: list[Variant]) -> None:
        names = [*(variant.name for variant in variants), "end"]
        stem = f"{self._cpu}-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:16]}"
        self._emit(generate(variants), names, stem)

    def _emit(self, text: str, names: list[str], stem: str, more: object = None) -> None:
        module = llvm.parse_assembly(text)
        module.triple = self._machine.triple
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
        builder = llvm.create_pass_builder(self._machine, options)
        builder.getModulePassManager().run(module, builder)
        code = self._machine.emit_object(module)
        for suffix, content in (
            (".o", code),
            (".json", json.dumps([names, more]).encode()),
        ):  # the index last
            temporary = self._directory / f"{stem}{suffix}.{os.getpid()}"
            temporary.write_bytes(content)
            temporary.replace(self._directory / (stem + suffix))
        self._load(code, names)

    def _load(self, code: bytes, names: list[str]) -> None:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), self._machine_copy())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._engines.append(engine)
        for name in names:
            self._addresses.setdefault(name, engine.get_function_address(name))

    def _machine_copy(self) -> llvm.TargetMachine:
        """MCJIT takes ownership of a target machine, so each engine gets its own."""
        return llvm.Target.from_default_triple().create_target_machine(
            cpu=self._cpu, codemodel="jitdefault", jit=True
        )


@cache
def compiler() -> Compiler:
    """The process's compiler."""
    return Compiler()
