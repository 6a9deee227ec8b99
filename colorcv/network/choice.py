"""Which form of the network this OpenCV gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2

from .graph import Graph

__all__ = ["Choice", "for_device"]


@dataclass(frozen=True)
class Choice:
    """The rewrites that a graph goes through, in order, and OpenCV's own settings."""

    rewrites: tuple[Callable[[Graph], Graph], ...] = ()
    winograd: bool = True

    def rewrite(self, graph: Graph) -> Graph:
        for rewrite in self.rewrites:
            graph = rewrite(graph)
        return graph

    def tune(self, net: cv2.dnn.Net) -> None:
        net.enableWinograd(self.winograd)


def for_device(name: str, *, low_memory: bool) -> Choice:
    """Return what was measured as best for a device and this OpenCV; else the plain graph."""
    return Choice(winograd=not low_memory)
