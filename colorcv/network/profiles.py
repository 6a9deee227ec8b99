"""The profile of each OpenCV version: graph rewrites and settings, chosen by measurement.

The figures come from `python -m benchmarks.network`. An OpenCV version that is not in the table,
and every device except the CPU, gets the plain graph, which any ONNX importer reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .._opencv import opencv_version
from .device import classic_engine_forced
from .graph import Graph, Node
from .loading import LoadMode
from .rewrites.dilation import space_to_batch_tiled, space_to_batch_winograd
from .rewrites.head import head_to_gemm
from .rewrites.winograd import winograd

__all__ = ["DEFAULT_PROFILE", "PROFILES", "Profile", "ProfileRow", "select_profile"]

Rewrite = Callable[[Graph], Graph]

# OpenCV's time to read a graph grows with the square of its nodes; zhang2016, rewritten, has 1062.
MAX_NODES = 4000


MIN_WINOGRAD_AREA = 20 * 20  # rows * columns of the output


@dataclass(frozen=True)
class Profile:
    """How a graph is rewritten, passed to OpenCV and run.

    Attributes
    ----------
    rewrites : tuple of callable
        Rewrites of the graph, applied in order.
    load_mode : LoadMode
        How the graph is passed to `cv2.dnn`.
    opencv_winograd : bool
        Let OpenCV 4 use its own Winograd convolution (for undilated 3x3 layers).
    """

    rewrites: tuple[Rewrite, ...] = ()
    load_mode: LoadMode = "buffer"
    opencv_winograd: bool = True

    def rewrite(self, graph: Graph) -> Graph:
        """Return the rewritten graph, or the graph itself if that has more than `MAX_NODES`."""
        rewritten = graph
        for rewrite in self.rewrites:
            rewritten = rewrite(rewritten)
        return rewritten if len(rewritten.nodes) <= MAX_NODES else graph


@dataclass(frozen=True)
class ProfileRow:
    """The best measured profiles of a range of OpenCV versions.

    Attributes
    ----------
    min_version, max_version : (int, int)
        First and last OpenCV version (major, minor).
    fast : Profile
        The least time.
    low_memory : Profile
        The least memory.
    """

    min_version: tuple[int, int]
    max_version: tuple[int, int]
    fast: Profile
    low_memory: Profile


def prefers_winograd(node: Node, channels: int) -> bool:
    """Return True if a layer is faster as matrix products than as OpenCV 5.0's convolution.

    With few input channels, the tile transforms cost more than the products save. With a limit of
    64 in place of 96, the network would take 3 % less time and 25 MB more memory. On small planes
    the transformed kernels take as much memory as on large ones, and save less time.
    """
    if node.shape[2] * node.shape[3] < MIN_WINOGRAD_AREA:
        return False
    if node.op == "ConvTranspose":
        return True
    return channels >= (96 if node.integers("strides") == (1, 1) else 256)


DEFAULT_PROFILE = Profile()
PROFILES = (
    # Half the time of the plain graph, because OpenCV 4's own Winograd convolution is for undilated
    # layers only. The Gemm head saves lite a seventh of its time and zhang2016 nothing.
    ProfileRow(
        (4, 10),
        (4, 14),
        fast=Profile((space_to_batch_tiled, head_to_gemm)),
        low_memory=Profile(load_mode="file", opencv_winograd=False),
    ),
    # Two fifths of the time of the plain graph, because the default engine has no Winograd.
    ProfileRow(
        (5, 0),
        (5, 0),
        fast=Profile(
            (space_to_batch_winograd, winograd(prefers_winograd), head_to_gemm),
            load_mode="external",
        ),
        low_memory=Profile(load_mode="external", opencv_winograd=False),
    ),
)


def select_profile(device: str, *, low_memory: bool) -> Profile:
    """Return the best measured profile of this OpenCV for a device, else the plain graph's."""
    version = opencv_version()
    if device == "cpu" and not classic_engine_forced():
        for row in PROFILES:
            if row.min_version <= version <= row.max_version:
                return row.low_memory if low_memory else row.fast
    return Profile(opencv_winograd=False) if low_memory else DEFAULT_PROFILE
