"""Load a graph into `cv2.dnn`, on a given device."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import cv2

from ..errors import DeviceError
from . import onnx
from .device import TARGETS
from .graph import Graph

__all__ = ["LoadMode", "load_net"]

# How the graph is passed to OpenCV: as ONNX bytes, as ONNX bytes that refer to the caffemodel for
# the weights, or as a temporary ONNX file.
LoadMode = Literal["buffer", "external", "file"]


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
    except cv2.error as err:
        raise DeviceError(
            f"OpenCV {cv2.__version__} cannot load the network for {device!r}: {err}"
        ) from err
    _release_free_memory()
    if classic and "__NetInputLayer__" not in net.getLayerTypes():
        raise DeviceError(
            f"{device!r} needs OpenCV's classic engine, but OpenCV {cv2.__version__} used its new "
            "engine, which runs on the CPU only; unset OPENCV_FORCE_DNN_ENGINE, or use the CPU"
        )
    return net


def _release_free_memory() -> None:
    """Return memory that OpenCV has freed to the operating system (glibc only).

    glibc keeps freed blocks of less than 32 MiB for reuse: 150 MiB after zhang2016 is loaded on
    OpenCV 5.0.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another system or C library
        ctypes.CDLL(None).malloc_trim(0)


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
