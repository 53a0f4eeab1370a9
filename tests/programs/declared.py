"""Programs around musl's functions, which clang vectorizes: both come from one pinned package."""

from __future__ import annotations

from dataclasses import dataclass

PACKAGE = "ziglang==0.17.0"  # PyPI; clang 22.1.8 and musl's sources in one wheel
FLAGS = ("-target", "riscv64-linux-musl", "-mcpu=generic_rv64+m+a+f+d+c+v", "-O3", "-static", "-D_GNU_SOURCE")


@dataclass(frozen=True)
class Declared:
    """``drivers/NAME.c``, which is ours and only calls and prints, and what of musl it exercises."""

    name: str
    exercises: str
    arguments: tuple[str, ...] = ()


WORDS = ("", "a", "potluck", "correct horse battery staple")
PROGRAMS = (
    Declared("crypt_sha256", "crypt/crypt_sha256.c", WORDS),
    Declared("crypt_sha512", "crypt/crypt_sha512.c", WORDS),
    Declared("crypt_md5", "crypt/crypt_md5.c", WORDS),
    Declared("crypt_blowfish", "crypt/crypt_blowfish.c", WORDS[1:3]),
    Declared("crypt_des", "crypt/crypt_des.c", WORDS),
    Declared("regex", "regex/", ("([a-f]+)x?(1|2){2,3}$", "abc12", "zzFx212", "cafe", "a1", "fx22")),
    Declared("qsort", "stdlib/qsort.c, prng/random.c"),
    Declared("strings", "string/"),
    Declared("softmax", "math/expf.c, math/sinf.c"),
    Declared("libm", "math/"),
    Declared(
        "numbers",
        "internal/floatscan.c, stdio/vfprintf.c",
        ("1e-310", "0.1", "-123456789.125e17", "0x1.8p-3", "nan", "3e400"),
    ),
    Declared("tree", "search/, malloc/, prng/"),
)
