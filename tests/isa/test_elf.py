"""ELF files: round trip, readable by others, and every damaged one refused as a ProgramError."""

import contextlib
import io
import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from potluck.isa.assembly.assembler import Assembler
from potluck.isa.elf import Program, Section, read
from potluck.isa.errors import ProgramError
from potluck.isa.manifest import SECTION, Buffer, Layer, Manifest, Tensor

OBJDUMP = shutil.which("llvm-objdump") or shutil.which("llvm-objdump-14")
MANIFEST = Manifest(
    machine="spatz-mx",
    inputs=[Tensor("x", "float32", [1, 3, 4, 4], "NHWC", 0x8010_0000, 192)],
    outputs=[Tensor("y", "float32", [1, 10], "row", 0x8010_1000, 40)],
    layers=[Layer("conv", "Conv", 0x8000_0000, 0x8000_0008, 100, "mxfp8")],
    buffers=[Buffer("w", "weight", 0x8010_2000, 64, "e4m3", [64], "row")],
)


def example() -> Program:
    a = Assembler()
    a.text(
        """
        _start: la a0, data
        ld a1, 0(a0)
        done: li a7, 93
        ecall
        .data
        data: .dword 42
        .equ size, 8
        """
    )
    weights = Section("weights", 0x8010_2000, bytes(range(64)), writable=False)
    return a.assemble().program(MANIFEST, [weights])


def test_round_trip(tmp_path: Path) -> None:
    program = example()
    path = tmp_path / "p.elf"
    program.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["p.elf"], "no temporary file is left"
    again = Program.load(path)
    assert again == program
    assert again.text_bytes == 20 and again.entry == 0x8000_0000
    assert again.symbol_at(0x8000_0008) == "_start" and again.symbol_at(0x8000_0010) == "done"
    assert again.symbol_at(0x7000_0000) is None
    text = again.disassemble()
    assert "done:" in text and "ecall" in text


def test_pyelftools_reads_it() -> None:
    elf = ELFFile(io.BytesIO(example().to_bytes()))
    assert elf.header["e_machine"] == "EM_RISCV" and elf.elfclass == 64 and elf.little_endian
    assert elf.header["e_type"] == "ET_EXEC"
    assert {s.name for s in elf.iter_sections()} >= {".text", ".data", "weights", SECTION, ".symtab"}
    symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
    assert symbols["_start"] == 0x8000_0000 and symbols["size"] == 8
    assert Manifest.from_json(elf.get_section_by_name(SECTION).data()) == MANIFEST
    for segment in elf.iter_segments():
        assert segment["p_offset"] % 4096 == segment["p_vaddr"] % 4096, "mappable"


@pytest.mark.skipif(OBJDUMP is None, reason="needs llvm-objdump")
def test_llvm_reads_it(tmp_path: Path) -> None:
    example().save(tmp_path / "p.elf")
    done = subprocess.run([str(OBJDUMP), "-d", str(tmp_path / "p.elf")], capture_output=True, text=True)
    assert not done.stderr
    assert "<_start>:" in done.stdout and "ecall" in done.stdout


def test_overlapping_sections_are_refused(tmp_path: Path) -> None:
    program = example()
    program.sections.append(Section("more", 0x8000_0004, b"1234"))
    with pytest.raises(ProgramError, match=r"\.text .* and more .* overlap"):
        program.save(tmp_path / "p.elf")
    assert not list(tmp_path.iterdir())


def header(**changes: int) -> bytes:
    data = bytearray(example().to_bytes())
    places = {
        "elfclass": (4, "B"), "order": (5, "B"), "type": (16, "<H"), "machine": (18, "<H"), "entry": (24, "<Q"),
        "flags": (48, "<I"), "phoff": (32, "<Q"), "shoff": (40, "<Q"), "phnum": (56, "<H"), "p_offset": (72, "<Q"),
        "p_filesz": (96, "<Q"), "p_memsz": (104, "<Q"),
    }  # fmt: skip
    for name, value in changes.items():
        at, kind = places[name]
        struct.pack_into(kind, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an ELF file"),
        (b"hello world, this is no ELF", "not an ELF file"),
        (b"\x7fELF", "damaged ELF file"),
        (header(elfclass=1), "32-bit|damaged"),
        (header(order=2), "big-endian|damaged"),
        (header(machine=62), "expected RISC-V"),
        (header(type=1), "expected an executable"),
        (header(entry=0), "the entry 0x0 is not inside"),
        (header(entry=0x8010_2000), "is not inside an executable segment"),
        (header(phnum=0), "no loadable segment"),
        (header(p_offset=1 << 40), "truncated"),
        (header(p_filesz=1 << 20), "truncated"),
        (header(p_memsz=1 << 40), "impossible sizes"),
        (header(p_memsz=1), "impossible sizes"),
        (header(phoff=1 << 50), "damaged|no loadable"),
        (header(shoff=1 << 50), "damaged"),
        (header(p_memsz=0x20_0000), "overlap"),
    ],
)
def test_bad_files_are_refused(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.elf"
    path.write_bytes(data)
    with pytest.raises(ProgramError, match=message) as caught:
        Program.load(path)
    assert str(path) in str(caught.value)


def test_truncated_files_are_refused() -> None:
    data = example().to_bytes()
    for length in range(0, len(data) - 1, 61):
        with pytest.raises(ProgramError):
            read(data[:length])


def test_noise_raises_nothing_but_program_errors() -> None:
    data = example().to_bytes()
    rng = random.Random(6)
    for _ in range(600):
        noisy = bytearray(data)
        for _ in range(rng.randrange(1, 8)):
            at = rng.choice([rng.randrange(200), rng.randrange(len(data) - 600, len(data))])
            noisy[at] = rng.randrange(256)
        with contextlib.suppress(ProgramError):
            read(bytes(noisy))


def test_absent_files(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="cannot read"):
        Program.load(tmp_path / "absent.elf")
    with pytest.raises(ProgramError, match="cannot write"):
        example().save(tmp_path / "absent" / "p.elf")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"version": 2}', "version 2"),
        ('{"version": 1, "machina": "x"}', "unknown manifest key machina"),
        ('{"version": 1, "inputs": 3}', "inputs is not a list"),
        ('{"version": 1, "inputs": [{"name": "x"}]}', r"inputs\[0\].*missing"),
        (
            '{"version": 1, "layers": [{"name": "x", "op": "y", "start": "0", "end": 1}]}',
            r"layers\[0\]\.start",
        ),
    ],
)
def test_bad_manifests(text: str, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        Manifest.from_json(text)
