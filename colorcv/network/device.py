"""The devices on which this OpenCV can run a network, and why it cannot use the others.

If a device is not available, OpenCV warns and uses the CPU, or fails in the first `forward`,
depending on its version. So devices are checked here before a network is loaded.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import get_args

import cv2

from .._typing import DeviceName
from ..errors import DeviceError, OptionError

__all__ = ["NAMES", "TARGETS", "DeviceInfo", "check", "classic_engine_forced", "devices"]

NAMES: tuple[DeviceName, ...] = get_args(DeviceName)

TARGETS = {
    "cpu": (cv2.dnn.DNN_BACKEND_OPENCV, cv2.dnn.DNN_TARGET_CPU),
    "cuda": (cv2.dnn.DNN_BACKEND_CUDA, cv2.dnn.DNN_TARGET_CUDA),
    "cuda-fp16": (cv2.dnn.DNN_BACKEND_CUDA, cv2.dnn.DNN_TARGET_CUDA_FP16),
    "opencl": (cv2.dnn.DNN_BACKEND_OPENCV, cv2.dnn.DNN_TARGET_OPENCL),
    "opencl-fp16": (cv2.dnn.DNN_BACKEND_OPENCV, cv2.dnn.DNN_TARGET_OPENCL_FP16),
}


@dataclass(frozen=True)
class DeviceInfo:
    """A device, and whether this OpenCV can use it.

    Attributes
    ----------
    name : {"cpu", "cuda", "cuda-fp16", "opencl", "opencl-fp16"}
    available : bool
    reason : str
        The reason why it is available, or why not and what to do about it.
    """

    name: DeviceName
    available: bool
    reason: str


def devices() -> tuple[DeviceInfo, ...]:
    """List all devices, and for each whether this OpenCV can use it and why.

    Returns
    -------
    tuple of DeviceInfo
        CPU, CUDA, CUDA in half precision, OpenCL, OpenCL in half precision.

    Examples
    --------
    >>> [device.name for device in devices() if device.available][0]
    'cpu'
    """
    found = []
    for name in NAMES:
        problem = _problem(name)
        reason = problem or ("always available" if name == "cpu" else "supported by this OpenCV")
        found.append(DeviceInfo(name, problem is None, reason))
    return tuple(found)


def check(name: str) -> None:
    """Raise a DeviceError that says why and what to do if the device is not available."""
    if name not in NAMES:
        names = ", ".join(map(repr, NAMES[:-1]))
        raise OptionError(f"device must be 'auto', {names} or {NAMES[-1]!r}, got {name!r}")
    problem = _problem(name)
    if problem is not None:
        raise DeviceError(f"device {name!r} is not available: {problem}")


def classic_engine_forced() -> bool:
    """Return True if the user has set OpenCV 5 to its classic engine."""
    return os.environ.get("OPENCV_FORCE_DNN_ENGINE", "") == "1"


def _problem(name: str) -> str | None:
    if name == "cpu":
        return None
    return _cuda_problem(name) if name.startswith("cuda") else _opencl_problem(name)


def _cuda_problem(name: str) -> str | None:
    backend, target = TARGETS[name]
    try:
        targets = cv2.dnn.getAvailableTargets(backend)
    except cv2.error as err:
        return f"OpenCV failed to list its CUDA devices: {err}"
    if target in targets:
        return None
    if not _built_with("NVIDIA CUDA") or not _built_with("cuDNN"):
        return (
            f"OpenCV {cv2.__version__} was built without CUDA and cuDNN, like all wheels of "
            "opencv-python; build OpenCV with WITH_CUDA and OPENCV_DNN_CUDA, or use the CPU"
        )
    if targets:
        return "the GPU does not support half precision; use 'cuda'"
    return (
        f"OpenCV was built with CUDA for architecture {_build_setting('NVIDIA GPU arch')}, but "
        "finds no usable GPU; check nvidia-smi and CUDA_VISIBLE_DEVICES, build OpenCV for your "
        "GPU's architecture, or use the CPU"
    )


def _opencl_problem(name: str) -> str | None:
    if not cv2.ocl.haveOpenCL():
        return "OpenCV finds no OpenCL device; install your GPU's OpenCL driver, or use the CPU"
    if not cv2.ocl.useOpenCL():
        return "OpenCL is disabled; call cv2.ocl.setUseOpenCL(True), or use the CPU"
    device = cv2.ocl.Device.getDefault()
    # OpenCV has the same rule: on other devices it warns and changes the target.
    if os.environ.get("OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES", "0").lower() in ("1", "true"):
        supported = True
    elif device.type() != cv2.ocl.Device_TYPE_GPU:
        return (
            f"the OpenCL device {device.name()!r} is not a GPU, so OpenCV would run on the CPU; "
            "use the CPU, or set OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES=1"
        )
    else:
        supported = device.isIntel()
    if name == "opencl-fp16" and not (supported and device.isExtensionSupported("cl_khr_fp16")):
        return f"OpenCV does not use half precision on {device.name()!r}; use 'opencl'"
    return None


def _built_with(feature: str) -> bool:
    return "YES" in _build_setting(feature)


def _build_setting(feature: str) -> str:
    """Return the value of a line of `cv2.getBuildInformation()`, or ""."""
    lines = (line.strip() for line in cv2.getBuildInformation().splitlines())
    start = feature + ":"
    return next((line[len(start) :].strip() for line in lines if line.startswith(start)), "")
