"""Load a graph into `cv2.dnn`, on a given device."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from .._typing import AnyArray
from ..errors import DeviceError
from . import onnx
from .device import TARGETS
from .graph import Graph, PackedFactor

__all__ = [
    "NO_MEMORY",
    "LoadMode",
    "OutOfMemoryError",
    "is_out_of_memory",
    "load_net",
    "pack",
    "small_heap",
]

# How the graph is passed to OpenCV: as ONNX bytes, as ONNX bytes that refer to the caffemodel for
# the weights, or as a temporary ONNX file.
LoadMode = Literal["buffer", "external", "file"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
NO_MEMORY = (
    'there is not enough memory for the network; use memory="low" or model="lite", or free some '
    "memory"
)


class OutOfMemoryError(DeviceError):
    """OpenCV could not allocate the memory that a network takes."""


def load_net(
    make_graph: Callable[[], Graph], device: str, mode: LoadMode = "buffer"
) -> cv2.dnn.Net:
    """Load a graph into OpenCV.

    Parameters
    ----------
    make_graph : callable
        Returns the graph. It is called here, so that the graph and the files mapped for it are
        released before OpenCV reads the ONNX, which is when memory peaks.
    device : str
        One of `device.NAMES`.
    mode : LoadMode
        How the graph is passed to OpenCV. OpenCV 5 needs a file for devices other than the CPU,
        whatever the mode.

    Raises
    ------
    DeviceError
        OpenCV rejects the network, or would run it on another device.
    """
    backend, target = TARGETS[device]
    classic = device != "cpu" and hasattr(cv2.dnn, "ENGINE_CLASSIC")
    try:
        if classic or mode == "file":
            net = _load_from_file(make_graph, classic)
        else:
            net = cv2.dnn.readNetFromONNX(onnx.encode(make_graph(), external=mode == "external"))
        # OpenCV 5's default engine always runs on the CPU, and would warn on stderr.
        if device != "cpu" or not hasattr(cv2.dnn, "ENGINE_NEW"):
            net.setPreferableBackend(backend)
            net.setPreferableTarget(target)
    except (cv2.error, MemoryError) as err:
        if is_out_of_memory(err):
            raise OutOfMemoryError(NO_MEMORY) from err
        raise DeviceError(
            f"OpenCV {cv2.__version__} cannot load the network for {device!r}: {err}"
        ) from err
    if classic and "__NetInputLayer__" not in net.getLayerTypes():
        raise DeviceError(
            f"{device!r} needs OpenCV's classic engine, but OpenCV {cv2.__version__} used its new "
            "engine, which runs on the CPU only; unset OPENCV_FORCE_DNN_ENGINE, or use the CPU"
        )
    return net


def pack(net: cv2.dnn.Net, factors: Mapping[str, PackedFactor]) -> None:
    """Give OpenCV 4 the right factors of MatMuls, one after the other.

    OpenCV 4 packs such a factor into memory of its own and keeps the original too. Here the net has
    been loaded with small placeholders and has run once, so that its layers have memory and shapes;
    each MatMul then packs its factor alone, and the original is released. If the net is allocated
    again, for instance for other outputs, the placeholders are back.

    Raises
    ------
    DeviceError
        OpenCV does not accept a factor.
    """
    placeholders: dict[tuple[int, ...], AnyArray] = {}
    try:
        for name, packed in factors.items():
            *_, rows, columns = packed.factor.shape
            shape = (packed.factor.shape[0], 1, rows, columns)
            if shape not in placeholders:
                placeholders[shape] = _as_mat(np.full(shape, np.nan, np.float32))
            layer: Any = net.getLayer(f"onnx_node!{name}")
            layer.blobs = [_as_mat(packed.factor.array())]
            # `finalize` reads no values of its arguments, and NumPy touches no memory of them.
            layer.finalize(
                [_as_mat(np.empty(packed.input_shape, np.float32))],
                [_as_mat(np.empty(packed.output_shape, np.float32))],
            )
            layer.blobs = [placeholders[shape]]
    except (cv2.error, MemoryError) as err:
        if is_out_of_memory(err):
            raise OutOfMemoryError(NO_MEMORY) from err
        raise DeviceError(f"OpenCV {cv2.__version__} cannot load the network: {err}") from err


def is_out_of_memory(err: BaseException) -> bool:
    """Return True if an exception of OpenCV or NumPy says that memory could not be allocated."""
    if isinstance(err, MemoryError):
        return True
    if not isinstance(err, cv2.error):
        return False
    # C++'s std::bad_alloc arrives as an error without a code.
    return getattr(err, "code", None) == cv2.Error.StsNoMem or "bad_alloc" in str(err)


def _as_mat(array: AnyArray) -> AnyArray:
    """Return an array whose last axis OpenCV does not take for channels."""
    mat: Any = cv2.Mat
    wrapped: AnyArray = mat(array, wrap_channels=False)
    return wrapped


@contextlib.contextmanager
def small_heap() -> Iterator[None]:
    """Let freed blocks of 1 MiB or more go back to the system at once (glibc only).

    glibc keeps freed blocks of up to 32 MiB for reuse, and cannot return them while a later block
    is in use: while zhang2016 is loaded on OpenCV 5.0 its peak is 150 MiB higher so.
    """
    mallopt = _libc_function("mallopt")
    mallopt(_M_MMAP_THRESHOLD, 1 << 20)
    try:
        yield
    finally:
        # What glibc itself sets after a block of 32 MiB has been freed.
        mallopt(_M_MMAP_THRESHOLD, 32 << 20)
        mallopt(_M_TRIM_THRESHOLD, 64 << 20)
        _libc_function("malloc_trim")(0)


def _libc_function(name: str) -> Callable[..., object]:
    """Return a function of the C library, or one that does nothing if it has none of this name."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        if sys.platform == "linux":
            function: Callable[..., object] = getattr(ctypes.CDLL(None), name)
            return function
    return lambda *_: None


def _load_from_file(make_graph: Callable[[], Graph], classic: bool) -> cv2.dnn.Net:
    # OpenCV 5.0's default engine supports the CPU only, and merely warns about other devices. Its
    # classic engine supports them, and can be chosen for ONNX files but not for buffers.
    import tempfile  # takes 2 ms

    dnn: Any = cv2.dnn  # OpenCV 4's stubs have no engines
    options = {"engine": dnn.ENGINE_CLASSIC} if classic else {}
    path = ""
    try:
        descriptor, path = tempfile.mkstemp(suffix=".onnx", prefix="colorcv-")
        with os.fdopen(descriptor, "wb") as file:
            onnx.write(make_graph(), file)
        net: cv2.dnn.Net = dnn.readNetFromONNX(path, **options)
    except OSError as err:
        raise DeviceError(
            f"cannot write the temporary file from which OpenCV {cv2.__version__} loads the "
            f"network: {err.strerror or err}; free some space or set TMPDIR to another folder"
        ) from err
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()
    return net
