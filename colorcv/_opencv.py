"""The version of the OpenCV that is installed."""

from __future__ import annotations

import re

import cv2

__all__ = ["opencv_version"]


def opencv_version() -> tuple[int, int]:
    """Return (major, minor) of `cv2.__version__`, or (0, 0) where it does not begin with both."""
    found = re.match(r"(\d+)\.(\d+)", cv2.__version__)
    return (int(found[1]), int(found[2])) if found else (0, 0)
