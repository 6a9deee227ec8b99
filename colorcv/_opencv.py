"""`opencv_version`: major and minor version of the installed OpenCV."""

from __future__ import annotations

import re

__all__ = ["opencv_version"]


def opencv_version() -> tuple[int, int]:
    """Return (major, minor) of `cv2.__version__`; (0, 0) if it does not begin with two numbers."""
    # Imported here, so that a missing or broken cv2 does not break the import of this module.
    import cv2

    found = re.match(r"(\d+)\.(\d+)", cv2.__version__)
    return (int(found[1]), int(found[2])) if found else (0, 0)
