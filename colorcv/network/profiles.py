"""The profile of each OpenCV version: graph rewrites and settings, chosen by measurement.

The figures come from `python -m benchmarks.network`. An OpenCV version that is not in the table,
and every device except the CPU, gets the plain graph, which any ONNX importer reads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .._opencv import opencv_version
from .._typing import MemoryForm
from .device import classic_engine_forced
from .graph import Graph, Node
from .loading import LoadMode
from .memory import AvailableMemory
from .rewrites.channels_last import winograd_channels_last
from .rewrites.dilation import space_to_batch_winograd
from .rewrites.head import head_to_gemm
from .rewrites.winograd import winograd

__all__ = [
    "DEFAULT_PROFILE",
    "PROFILES",
    "Profile",
    "ProfileRow",
    "choose_form",
    "select_profile",
]

Rewrite = Callable[[Graph], Graph]

# OpenCV's time to read a graph grows with the square of its nodes; zhang2016, rewritten, has 1062.
MAX_NODES = 4000
_MARGIN = 64 << 20  # bytes for a photo and for Python's own objects


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
    peak : float
        Peak of memory while the network is loaded and run, in bytes for each byte of its weights
        as float32: zhang2016's, which has the largest weights.
    """

    rewrites: tuple[Rewrite, ...] = ()
    load_mode: LoadMode = "buffer"
    opencv_winograd: bool = True
    peak: float = 5.3

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
        The least time with a peak below 750 MiB.
    balanced : Profile
        About a tenth more time than `fast`, in less memory.
    low : Profile
        The least memory at less than 3 times the time.
    """

    min_version: tuple[int, int]
    max_version: tuple[int, int]
    fast: Profile
    balanced: Profile
    low: Profile


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


def prefers_channels_last(node: Node, channels: int) -> bool:
    """Return True if a layer needs less memory as matrix products than as OpenCV 4's Winograd.

    Those are zhang2016's twelve layers of 512 outputs, nine tenths of its weights. The others are
    faster as OpenCV's own, which takes 64 floats for each 3x3 kernel.
    """
    is_stride_1 = node.op == "Conv" and node.integers("strides") == (1, 1)
    return is_stride_1 and channels >= 256 and node.shape[1] >= 512


def _channels_last(**options: Any) -> Rewrite:
    options = {"max_products": 1.2, "reuse_tiles": True, **options}
    return winograd_channels_last(prefers_channels_last, **options)


DEFAULT_PROFILE = Profile()
PROFILES = (
    # Half the time of the plain graph. OpenCV 4's own Winograd is for undilated layers only and
    # takes 64 floats for each kernel: 975 MiB for zhang2016, in 4 % less time than `fast`.
    ProfileRow(
        (4, 10),
        (4, 14),
        fast=Profile((_channels_last(max_tile=5), head_to_gemm), peak=5.6),
        balanced=Profile((_channels_last(), head_to_gemm), peak=4.5),
        low=Profile(
            (_channels_last(max_products=2.0), head_to_gemm), opencv_winograd=False, peak=2.5
        ),
    ),
    # Two fifths of the time of the plain graph, because the default engine has no Winograd.
    ProfileRow(
        (5, 0),
        (5, 0),
        fast=Profile(
            (
                partial(space_to_batch_winograd, max_products=1.2),
                winograd(prefers_winograd, max_products=1.2),
                head_to_gemm,
            ),
            load_mode="external",
            peak=5.1,
        ),
        balanced=Profile(
            (space_to_batch_winograd, winograd(prefers_winograd), head_to_gemm),
            load_mode="external",
            peak=3.5,
        ),
        low=Profile(load_mode="external", opencv_winograd=False, peak=1.5),
    ),
)


def select_profile(device: str, form: MemoryForm) -> Profile:
    """Return the best measured profile of this OpenCV for a device, else the plain graph's."""
    version = opencv_version()
    if device == "cpu" and not classic_engine_forced():
        for row in PROFILES:
            if row.min_version <= version <= row.max_version:
                return {"fast": row.fast, "balanced": row.balanced, "low": row.low}[form]
    return Profile(opencv_winograd=False, peak=2.7) if form == "low" else DEFAULT_PROFILE


def choose_form(weights: int, available: AvailableMemory | None) -> tuple[MemoryForm, str]:
    """Choose the memory form of a network on the CPU.

    Parameters
    ----------
    weights : int
        Bytes of the network's weights as float32.
    available : AvailableMemory or None

    Returns
    -------
    form : {"balanced", "low"}
        "balanced" if it fits into the available memory, else "low".
    reason : str
    """
    needs = {
        form: int(select_profile("cpu", form).peak * weights) + _MARGIN
        for form in ("balanced", "low")
    }
    if available is None:
        return "balanced", "memory form balanced, because the free memory is not known"
    size = f"{available.size >> 20} MiB are {available.reason}"
    if needs["balanced"] <= available.size:
        return (
            "balanced",
            f"memory form balanced, which needs {needs['balanced'] >> 20} MiB; {size}",
        )
    reason = (
        f"memory form low, because balanced needs {needs['balanced'] >> 20} MiB and only {size}"
    )
    return "low", reason
