"""Which form of the network each OpenCV gets: the table, and nothing that is not measured.

Every row's figures come from `python -m benchmarks.network`. An OpenCV that stands in no row, and
every device but the CPU, gets the plain graph, which any importer reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._opencv import opencv_version
from .device import Handover, classic_engine_forced
from .graph import Graph, Node
from .rewrites.dilation import mosaic, stacked_winograd
from .rewrites.head import head_as_products
from .rewrites.winograd import winograd

__all__ = ["PLAIN", "TABLE", "Choice", "for_device"]

Rewrite = Callable[[Graph], Graph]

# OpenCV reads a graph in a time that grows with the square of its nodes; zhang2016 becomes 1062.
MAX_NODES = 4000


@dataclass(frozen=True)
class Choice:
    """The rewrites that a graph goes through, in order, and how OpenCV gets and runs it."""

    rewrites: tuple[Rewrite, ...] = ()
    handover: Handover = "buffer"
    winograd: bool = True  # OpenCV 4's own, for undilated 3x3 layers

    def rewrite(self, graph: Graph) -> Graph:
        rewritten = graph
        for rewrite in self.rewrites:
            rewritten = rewrite(rewritten)
        return rewritten if len(rewritten.nodes) <= MAX_NODES else graph


@dataclass(frozen=True)
class Row:
    """What was measured as best for the OpenCV versions from `first` to `last`, (major, minor)."""

    first: tuple[int, int]
    last: tuple[int, int]
    fast: Choice
    low_memory: Choice


def pays_as_products(node: Node, channels: int) -> bool:
    """Tell which layers are faster as MatMuls than as OpenCV 5.0's own convolutions.

    With fewer channels, the transforms of the tiles eat up what the products gain. From 64 on, the
    network would gain 3 % and take 25 MB more.
    """
    if node.op == "ConvTranspose":
        return True
    return channels >= (96 if node.integers("strides") == (1, 1) else 256)


PLAIN = Choice()
TABLE = (
    # Half the time of the plain graph: OpenCV 4's own Winograd takes undilated layers alone. The
    # head saves lite a seventh of its time and zhang2016 nothing.
    Row(
        (4, 10),
        (4, 14),
        Choice((mosaic, head_as_products)),
        Choice(handover="file", winograd=False),
    ),
    # Two fifths of the time of the plain graph on the default engine, which has no Winograd.
    Row(
        (5, 0),
        (5, 0),
        Choice((stacked_winograd, winograd(pays_as_products), head_as_products), "external"),
        Choice(handover="external", winograd=False),
    ),
)


def for_device(name: str, *, low_memory: bool) -> Choice:
    """Return what was measured as best for a device and this OpenCV, else the plain graph."""
    version = opencv_version()
    if name == "cpu" and not classic_engine_forced():
        for row in TABLE:
            if row.first <= version <= row.last:
                return row.low_memory if low_memory else row.fast
    return Choice(winograd=False) if low_memory else PLAIN
