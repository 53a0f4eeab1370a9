"""Generated code in Linux processes: executable mappings, changing rights, riscv_flush_icache."""

from __future__ import annotations

import pytest

from potluck.isa.errors import TrapError
from potluck.sim.cluster import Cluster
from tests.sim.test_code_changes import word
from tests.sim.test_process import EXIT, process

ALL, READ_WRITE, READ_EXECUTE = 7, 3, 5
MODES = [True, False]


def call(number: int, *arguments: str | int) -> str:
    loads = "".join(
        f"li a{k}, {a}\n" if isinstance(a, int) else f"mv a{k}, {a}\n" for k, a in enumerate(arguments)
    )
    return f"{loads}li a7, {number}\necall\n"


def mapped(rights: int) -> str:
    return call(222, 0, 8192, rights, 0x22, -1, 0) + "mv s1, a0\n"


def protect(rights: int) -> str:
    return call(226, "s1", 8192, rights) + "bnez a0, failed\n"


FLUSH = call(259, "s1", "s1", 0) + "bnez a0, failed\n"
END = f"mv a0, zero\n{EXIT}failed:\nli a0, 1\n{EXIT}"


def write(value: int) -> str:
    """A function that adds ``value`` to s0, at s1."""
    return f"li t1, {word(f'addi s0, s0, {value}')}\nsw t1, 0(s1)\nli t1, {word('ret')}\nsw t1, 4(s1)\n"


def result(source: str, timed: bool = True) -> int:
    cluster: Cluster = process(source + END, timed=timed)
    assert cluster.exit_code == 0
    return int(cluster.harts[0].state.x[8])


@pytest.mark.parametrize("timed", MODES)
@pytest.mark.parametrize("fence", [FLUSH, "fence.i\n"])
def test_code_in_an_executable_mapping_follows_each_flush(fence: str, timed: bool) -> None:
    source = mapped(ALL) + "".join(write(n) + fence + "jalr s1\n" for n in (1, 10, 100))
    assert result(source, timed) == 111


@pytest.mark.parametrize("timed", MODES)
def test_without_a_flush_the_first_code_stays(timed: bool) -> None:
    source = mapped(ALL) + "".join(write(n) + "jalr s1\n" for n in (1, 10)) + FLUSH + "jalr s1\n"
    assert result(source, timed) == 1 + 1 + 10


@pytest.mark.parametrize("timed", MODES)
def test_a_page_that_was_not_executable_in_between_is_fetched_anew(timed: bool) -> None:
    source = mapped(READ_WRITE) + "".join(
        write(n) + protect(READ_EXECUTE) + "jalr s1\n" + protect(READ_WRITE) for n in (1, 10, 100)
    )
    assert result(source, timed) == 111


@pytest.mark.parametrize(
    "end", [protect(READ_WRITE), protect(0), call(215, "s1", 8192)], ids=["mprotect", "none", "munmap"]
)
def test_code_whose_right_is_gone_traps(end: str) -> None:
    with pytest.raises(TrapError, match="jump outside executable memory") as caught:
        process(mapped(ALL) + write(1) + "jalr s1\n" + end + "here: jalr s1\n" + END)
    assert caught.value.pc is not None and caught.value.pc % 4096 == 0


@pytest.mark.parametrize("where", ["addi s1, sp, -64", "la s1, data"])
def test_data_and_stack_are_not_executable(where: str) -> None:
    with pytest.raises(TrapError, match="jump outside executable memory"):
        process(where + "\n" + write(1) + "jalr s1\n" + END + ".data\ndata: .zero 64\n")


def test_the_text_can_be_patched_once_it_is_writable() -> None:
    patch = f"la s2, here\nli t1, {word('addi s0, s0, 5')}\nsw t1, 0(s2)\n"
    rights = "la s1, here\nli t0, -4096\nand s1, s1, t0\n" + call(226, "s1", 4096, ALL) + "bnez a0, failed\n"
    loop = f"li s3, 2\nagain:\nhere: addi s0, s0, 1\n{patch}{FLUSH}addi s3, s3, -1\nbnez s3, again\n"
    assert result(rights + loop) == 1 + 5
    with pytest.raises(TrapError, match="store into the program's text"):
        process(loop + END)


def test_flags_of_the_flush_call_are_checked() -> None:
    source = call(259, 0, 0, 2) + "mv s0, a0\n"
    assert result(source) == -22
