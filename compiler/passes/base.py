"""What a pass is: a frozen dataclass whose fields are its options, with a name; it edits a graph in place."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir


@dataclass(frozen=True)
class GraphPass(abc.ABC):
    """One step from graph to graph; what it computes stays the same network.

    Attributes:
        name: Name in the registry and for ``--print-after``.
    """

    name: ClassVar[str]

    @abc.abstractmethod
    def run(self, model: ir.Model) -> int:
        """Edits the model in place.

        Returns:
            Number of places changed.

        Raises:
            ModelError: The graph cannot be handled; names the node.
        """
