"""Load Caffe colorization networks and run them with `cv2.dnn`."""

from __future__ import annotations

from .api import load
from .device import DeviceInfo, devices
from .inference import Head, Network

__all__ = ["DeviceInfo", "Head", "Network", "devices", "load"]
