"""Host calls: how a program leaves a node that the machine cannot compute to the host that runs the machine.

A hart executes ``ecall`` with a7 = `HOST_CALL` and a0 = the index of a node in the manifest's list ``host``. When the
instruction is complete, the node's outputs lie at the addresses that the manifest gives, computed from what lay at its
inputs' addresses. The machine is charged for nothing but the instruction.

What computes a node is an `Engine` that whoever runs the program brings along (`potluck.compiler.engine` has one), so
that the machine knows nothing of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from potluck.isa.errors import ProgramError
from potluck.isa.manifest import HostNode

HOST_CALL = 0x504F54
"""a7 of a host call: a number that no Linux system call and no SBI extension has."""
View = Callable[[int, int], NDArray[np.uint8]]
"""(address, bytes) -> a writable view of memory."""
Engine = Callable[[HostNode, Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]
"""(node, inputs by name) -> its outputs in order; raises `ProgramError` that names the node."""


class Host:
    """Computes the nodes of one program on its memory.

    Args:
        nodes: the manifest's list ``host``.
        engine: what computes them; None: nobody does.

    Attributes:
        calls: how often each node was computed.
    """

    def __init__(self, nodes: Sequence[HostNode], engine: Engine | None) -> None:
        self._nodes, self._engine = tuple(nodes), engine
        self.calls = [0] * len(self._nodes)

    def call(self, index: int, read: View, write: View) -> None:
        """Computes a node.

        Args:
            index: in the list.
            read: memory that holds inputs.
            write: memory that takes outputs; it may refuse what ``read`` does not.

        Raises:
            ProgramError: there is no such node, nobody computes it, or not these values; names the node.
        """
        if not 0 <= index < len(self._nodes):
            raise ProgramError(f"host call for node {index}, but the manifest lists {len(self._nodes)}")
        node = self._nodes[index]
        if self._engine is None:
            raise ProgramError(
                f"host call for node {node.name!r} ({node.op}), and nobody answers it",
                hint="Run the program by potluck.simulate, which brings an engine",
            )
        values = {item.name: item.decode(read(item.address, item.held).copy()) for item in node.inputs}
        for item, array in zip(node.outputs, self._engine(node, values), strict=True):
            if list(array.shape) != item.shape or array.dtype != np.dtype(item.dtype):
                made = f"{array.dtype} {list(array.shape)}"
                what = f"made {item.name!r} {made}, expected {item.dtype} {item.shape}"
                raise refused(node, what)
            write(item.address, item.held)[:] = item.encode(array)
        self.calls[index] += 1


def refused(node: HostNode, what: str) -> ProgramError:
    """The error about a node."""
    return ProgramError(f"host node {node.name!r} ({node.op}) {what}")
