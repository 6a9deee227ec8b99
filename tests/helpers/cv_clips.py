"""Small videos written and read with OpenCV alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tests.helpers.films import texture

Bgr = npt.NDArray[np.uint8]


def grey_frames(count: int, hw: tuple[int, int] = (48, 64), seed: int = 0) -> list[Bgr]:
    """Return BGR frames of a slow pan in grey."""
    height, width = hw
    wide = np.clip(125 + 40 * texture(seed, (height, width + count), 1, 8)[..., 0], 0, 255)
    grey = wide.astype(np.uint8)
    return [np.dstack([grey[:, i : i + width]] * 3) for i in range(count)]


def opencv_clip(path: Path, count: int = 20, hw: tuple[int, int] = (48, 64)) -> list[Bgr]:
    """Write a video with OpenCV alone, MJPG in AVI or MPEG-4 in MP4."""
    code = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, 24, hw[::-1])
    assert writer.isOpened()
    made = grey_frames(count, hw)
    for frame in made:
        writer.write(frame)
    writer.release()
    return made


def count_frames(path: Path) -> int:
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.grab():
        count += 1
    return count


class Capture:
    """Frames in memory with the methods of `cv2.VideoCapture`."""

    def __init__(self, frames: list[Any], times: list[float] | None = None) -> None:
        self._frames, self._at = frames, 0
        self._times = times or [i / 24 for i in range(len(frames))]

    def read(self) -> tuple[bool, Any]:
        self._at += 1
        if self._at > len(self._frames):
            return False, None
        return True, self._frames[self._at - 1]

    def get(self, what: int) -> float:
        if what == cv2.CAP_PROP_POS_MSEC:
            return 1000 * self._times[self._at - 1]
        return {cv2.CAP_PROP_FPS: 24.0}.get(what, -1.0)
