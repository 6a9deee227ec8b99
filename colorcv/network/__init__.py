"""From the three model files to a network that maps lightness to ab, run by `cv2.dnn` alone."""

from __future__ import annotations

from .device import DeviceInfo, devices
from .inference import Network, load

__all__ = ["DeviceInfo", "Network", "devices", "load"]
