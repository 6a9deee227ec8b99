"""Load colorization networks, Caffe and ONNX, and run them with `cv2.dnn`."""

from __future__ import annotations

from .adapter import HintPlanes
from .api import load, load_onnx
from .device import DeviceInfo, devices
from .inference import Head, Network

__all__ = [
    "DeviceInfo",
    "Head",
    "HintPlanes",
    "Network",
    "devices",
    "load",
    "load_onnx",
]
