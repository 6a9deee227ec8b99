"""What this OpenCV can run a network on, and why not on the rest.

OpenCV itself answers a request that it cannot meet by a warning and the CPU, or by a failed
assertion in the first forward, depending on its version. Here it is asked first, so that an
explicit request is met or is an error.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2

from ..errors import DeviceError, OptionError
from . import onnx
from .graph import Graph

__all__ = [
    "NAMES",
    "DeviceInfo",
    "Handover",
    "check",
    "classic_engine_forced",
    "devices",
    "read_net",
]

# How a network goes over: as bytes, as bytes that point into the caffemodel, or as a file.
Handover = Literal["buffer", "external", "file"]

NAMES = ("cpu", "cuda", "cuda-fp16", "opencl", "opencl-fp16")

_TARGETS = {
    "cpu": (cv2.dnn.DNN_BACKEND_OPENCV, cv2.dnn.DNN_TARGET_CPU),
    "cuda": (cv2.dnn.DNN_BACKEND_CUDA, cv2.dnn.DNN_TARGET_CUDA),
    "cuda-fp16": (cv2.dnn.DNN_BACKEND_CUDA, cv2.dnn.DNN_TARGET_CUDA_FP16),
    "opencl": (cv2.dnn.DNN_BACKEND_OPENCV, cv2.dnn.DNN_TARGET_OPENCL),
    "opencl-fp16": (cv2.dnn.DNN_BACKEND_OPENCV, cv2.dnn.DNN_TARGET_OPENCL_FP16),
}


@dataclass(frozen=True)
class DeviceInfo:
    """One device: its name, whether a network can be run on it here, and why or why not."""

    name: str
    available: bool
    reason: str


def devices() -> tuple[DeviceInfo, ...]:
    """Say for each device whether this OpenCV can use it here, and why or why not."""
    found = []
    for name in NAMES:
        problem = _problem(name)
        reason = problem or ("always there" if name == "cpu" else "OpenCV reports it")
        found.append(DeviceInfo(name, problem is None, reason))
    return tuple(found)


def check(name: str) -> None:
    """Raise a DeviceError that says why and what to do, unless the device is there."""
    if name not in NAMES:
        raise OptionError(f"device is {name!r}; it can be 'auto', {', '.join(map(repr, NAMES))}")
    problem = _problem(name)
    if problem is not None:
        raise DeviceError(f"the device {name!r} is not there: {problem}")


def read_net(
    make_graph: Callable[[], Graph], name: str, handover: Handover = "buffer"
) -> cv2.dnn.Net:
    """Hand a graph to OpenCV, for one device.

    The graph is made here and let go, with the files mapped for it, before OpenCV starts to read:
    that is when memory is at its peak.

    Raises
    ------
    DeviceError
        OpenCV does not take the network, or would run it elsewhere than asked.
    """
    backend, target = _TARGETS[name]
    classic = name != "cpu" and hasattr(cv2.dnn, "ENGINE_CLASSIC")
    try:
        if classic or handover == "file":
            net = _read_file(make_graph, classic)
        else:
            net = cv2.dnn.readNetFromONNX(
                onnx.encode(make_graph(), external=handover == "external")
            )
        # OpenCV 5's default engine is on the CPU anyway and would write a warning to stderr.
        if name != "cpu" or not hasattr(cv2.dnn, "ENGINE_NEW"):
            net.setPreferableBackend(backend)
            net.setPreferableTarget(target)
    except cv2.error as err:
        raise DeviceError(
            f"OpenCV {cv2.__version__} does not take the network for {name!r}: {err}"
        ) from err
    if classic and "__NetInputLayer__" not in net.getLayerTypes():
        raise DeviceError(
            f"OpenCV {cv2.__version__} did not give its classic engine, and its other engine "
            f"would run {name!r} on the CPU: unset OPENCV_FORCE_DNN_ENGINE, or use device='cpu'"
        )
    return net


def classic_engine_forced() -> bool:
    """Tell whether the user has set OpenCV 5 to its classic engine."""
    return os.environ.get("OPENCV_FORCE_DNN_ENGINE", "") == "1"


def _read_file(make_graph: Callable[[], Graph], classic: bool) -> cv2.dnn.Net:
    # OpenCV 5.0's default engine knows no device but the CPU and says so by a warning alone. Its
    # classic engine can be asked for, but only where the network comes from a file.
    dnn: Any = cv2.dnn  # OpenCV 4's stubs know no engines
    options = {"engine": dnn.ENGINE_CLASSIC} if classic else {}
    path = ""
    try:
        descriptor, path = tempfile.mkstemp(suffix=".onnx", prefix="colorcv-")
        with os.fdopen(descriptor, "wb") as file:
            onnx.write(make_graph(), file)
        net: cv2.dnn.Net = dnn.readNetFromONNX(path, **options)
    except OSError as err:
        raise DeviceError(
            f"OpenCV {cv2.__version__} needs the network in a file here, and the temporary file "
            f"cannot be written: {err}"
        ) from err
    finally:
        with contextlib.suppress(OSError):
            Path(path).unlink()
    return net


def _problem(name: str) -> str | None:
    if name == "cpu":
        return None
    return _cuda_problem(name) if name.startswith("cuda") else _opencl_problem(name)


def _cuda_problem(name: str) -> str | None:
    backend, target = _TARGETS[name]
    try:
        targets = cv2.dnn.getAvailableTargets(backend)
    except cv2.error as err:
        return f"OpenCV fails when asked for it: {err}"
    if target in targets:
        return None
    if not _built_with("NVIDIA CUDA") or not _built_with("cuDNN"):
        return (
            f"OpenCV {cv2.__version__} was built without CUDA and cuDNN, as the wheels of "
            "opencv-python are: build OpenCV with WITH_CUDA and OPENCV_DNN_CUDA, or use "
            "device='cpu'"
        )
    if targets:
        return "the CUDA device has no half precision: use device='cuda'"
    return (
        f"OpenCV was built with CUDA, for architecture {_built('NVIDIA GPU arch')}, but finds no "
        "card that it can use: look at nvidia-smi and CUDA_VISIBLE_DEVICES, build OpenCV for your "
        "card's architecture, or use device='cpu'"
    )


def _opencl_problem(name: str) -> str | None:
    if not cv2.ocl.haveOpenCL():
        return (
            "OpenCV finds no OpenCL device: install your graphics card's OpenCL driver, or use "
            "device='cpu'"
        )
    if not cv2.ocl.useOpenCL():
        return "OpenCL is switched off: call cv2.ocl.setUseOpenCL(True), or use device='cpu'"
    device = cv2.ocl.Device.getDefault()
    # OpenCV's own rule in its network set-up: elsewhere it changes the target, with a warning.
    if os.environ.get("OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES", "0").lower() in ("1", "true"):
        tested = True
    elif device.type() != cv2.ocl.Device_TYPE_GPU:
        return (
            f"the OpenCL device {device.name()!r} is no graphics card, and OpenCV would run on the "
            "CPU: use device='cpu', or set OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES=1"
        )
    else:
        tested = device.isIntel()
    if name == "opencl-fp16" and not (tested and device.isExtensionSupported("cl_khr_fp16")):
        return f"OpenCV would not use half precision on {device.name()!r}: use device='opencl'"
    return None


def _built_with(feature: str) -> bool:
    return "YES" in _built(feature)


def _built(feature: str) -> str:
    """What OpenCV's account of its own build says of a feature."""
    lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
    start = feature + ":"
    return next((line[len(start) :].strip() for line in lines if line.startswith(start)), "")
