"""The version of the OpenCV that is installed."""

from __future__ import annotations

import re

__all__ = ["opencv_version"]


def opencv_version() -> tuple[int, int]:
    """Return (major, minor) of `cv2.__version__`, or (0, 0) where it does not begin with both."""
    # Imported here, since the version of a broken or replaced OpenCV is asked before it is used.
    import cv2

    found = re.match(r"(\d+)\.(\d+)", cv2.__version__)
    return (int(found[1]), int(found[2])) if found else (0, 0)
