"""Programs that no one here wrote, mains included: sources of packages pinned in .ci/programs.txt and .sha256."""

from __future__ import annotations

from dataclasses import dataclass

VENDOR = "pythondata_cpu_ibex/system_verilog/vendor"


@dataclass(frozen=True)
class Outside:
    """How a program is built and run.

    Attributes:
        name: of the executable; programs of one build share it by ``build``.
        archive: beginning of its archive's file name.
        folder: in the archive; all that follows is relative to it.
        sources: patterns; ``-pattern`` leaves out again.
        flags: for the compiler, ``-I`` relative to the folder.
        arguments: of the program.
        stdin: standard input: text, or ``@path`` for a file of the folder.
        files: patterns of what lies in the program's directory, without their folders.
        beside: what lies in the parent of the program's directory.
        varies: lines that tell measured times or addresses, as a regular expression; all others are compared.
        build: the entry that this is another run of.
    """

    name: str
    archive: str
    folder: str
    sources: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    stdin: str = ""
    files: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    varies: str = ""
    build: str = ""


def _riscv_test(name: str) -> Outside:
    """A benchmark of riscv-tests, which checks its own result; counters are not read (``setStats`` does nothing)."""
    return Outside(
        f"riscv-tests-{name}", "pythondata_cpu_ibex-", f"{VENDOR}/riscv-tests/benchmarks", (f"{name}/*.c",),
        ("-std=gnu99", "-DsetStats=srand", "-I../../riscv-test-env", "-Icommon"),
    )  # fmt: skip


def _opus(name: str) -> Outside:
    sources = (f"celt/tests/test_unit_{name}.c", "celt/*.c", "-celt/opus_custom_demo.c", "-celt/dump_modes*")
    flags = ("-DOPUS_BUILD", "-DVAR_ARRAYS", "-Iinclude", "-Icelt", "-Isilk", "-I.")
    return Outside(f"opus-{name}", "opus_1.5.2", "opus-1.5.2", sources, flags)


def _jim(script: str) -> Outside:
    return Outside(
        f"jimtcl-{script}", "jimtcl_0.83", "jimtcl-0.83", ("autosetup/jimsh0.c",), build="jimsh",
        arguments=(f"{script}.test",), files=("tests/*",), beside=("tcltest.tcl",),
    )  # fmt: skip


COREMARK_TIMES = r"Total ticks|Total time|Iterations/Sec|CoreMark 1\.0|at least 10 secs"
BZIP2 = tuple(
    f"{name}.c"
    for name in ("bzip2", "blocksort", "huffman", "crctable", "randtable", "compress", "decompress", "bzlib")
)
ZLIB = ("*.c",)
OUTSIDE = (
    *map(_riscv_test, ("median", "multiply", "qsort", "rsort", "spmv", "towers", "vvadd")),
    Outside("coremark", "pythondata_cpu_ibex-", f"{VENDOR}/eembc_coremark", ("core_*.c", "linux64/core_portme.c"),
            ("-DPERFORMANCE_RUN=1", '-DFLAGS_STR="-O3"', "-I.", "-Ilinux64"),
            ("0x0", "0x0", "0x66", "10", "7", "1", "2000"), varies=COREMARK_TIMES),
    Outside("dhrystone", "pythondata_cpu_picorv32-", "pythondata_cpu_picorv32/verilog/dhrystone",
            ("dhry_1_orig.c", "dhry_2.c"), ("-DTIME", "-std=gnu89"), stdin="3000\n", varies="Ptr_Comp: "),
    Outside("bzip2", "bzip2_1.0.8", "bzip2-1.0.8", BZIP2, arguments=("-9c", "sample2.ref"), files=("sample2.ref",)),
    Outside("bunzip2", "bzip2_1.0.8", "bzip2-1.0.8", BZIP2, arguments=("-dc", "sample1.bz2"), files=("sample1.bz2",),
            build="bzip2"),
    Outside("zlib-example", "zlib_1.3", "zlib-1.3.1", ("test/example.c", *ZLIB), ("-I.", "-DHAVE_UNISTD_H")),
    Outside("minigzip", "zlib_1.3", "zlib-1.3.1", ("test/minigzip.c", *ZLIB), ("-I.", "-DHAVE_UNISTD_H"),
            stdin="@ChangeLog"),
    Outside("libdeflate-gzip", "libdeflate_1.23", "libdeflate-1.23",  # RVV intrinsics in its match finder
            ("programs/gzip.c", "programs/prog_util.c", "programs/tgetopt.c", "lib/*.c"),
            ("-I.", "-include", "stdbool.h", "-Iprograms"),
            ("-c", "-9", "deflate_compress.c"), files=("lib/deflate_compress.c",)),
    Outside("xxhsum", "xxhash_0.8.3", "xxHash-0.8.3", ("cli/*.c", "xxhash.c"), ("-I.",),
            ("-H2", "xxhash.h", "CHANGELOG"), files=("xxhash.h", "CHANGELOG")),
    Outside("lz4-streaming", "lz4_1.10.0", "lz4-1.10.0", ("examples/blockStreaming_doubleBuffer.c", "lib/*.c"),
            ("-Ilib",), ("README.md",), files=("README.md",)),
    Outside("lz4-simple", "lz4_1.10.0", "lz4-1.10.0", ("examples/simple_buffer.c", "lib/*.c"), ("-Ilib",)),
    Outside("kissfft-two-tones", "kissfft_131", "kissfft-131.1.0", ("test/twotonetest.c", "kiss_fft.c", "kiss_fftr.c"),
            ("-I.", "-Dkiss_fft_scalar=float")),
    Outside("kissfft-util", "kissfft_131", "kissfft-131.1.0", ("tools/fftutil.c", "kiss_*.c"),
            ("-I.", "-Dkiss_fft_scalar=float"), ("-n", "60", "kiss_fft.c", "-"), files=("kiss_fft.c",)),
    *map(_opus, ("dft", "mathops", "rotation")),
    *map(_jim, ("expr-old", "lsort")),
)  # fmt: skip
