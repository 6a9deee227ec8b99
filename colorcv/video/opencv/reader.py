"""Read videos, cameras and captures with OpenCV."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..._typing import Float32Array, UInt8Array
from ...errors import VideoError
from ...image.source import SourceImage
from ..options import MAX_TIME_S, VideoOptions

__all__ = ["OpenCVFrame", "OpenCVReader", "check_decoding", "count_frames", "sample_frames"]


@dataclass
class OpenCVFrame:
    """A decoded frame.

    Attributes
    ----------
    bgr : (H, W, 3) uint8
        Upright.
    lightness : input_hw float32
        L* in 0..100, at the size of the network's input.
    time_s : float
        Seconds from the start of the video.
    """

    bgr: UInt8Array
    lightness: Float32Array
    time_s: float


class OpenCVReader:
    """Read a file, a camera, or anything with the `read` and `get` of `cv2.VideoCapture`.

    Parameters
    ----------
    source : Path, int or capture
    input_hw : (int, int)
        Rows and columns of the network's input.
    options : VideoOptions
        `start` and `end` are used.

    Raises
    ------
    VideoError
        The source cannot be opened or has no frame in the part asked for.
    """

    def __init__(self, source: Any, input_hw: tuple[int, int], options: VideoOptions) -> None:
        self.path = source if isinstance(source, Path) else None
        self.notes: list[str] = []
        self.damaged = 0
        self._input_hw, self._options = input_hw, options
        self._start = options.start or 0.0
        self._end = math.inf if options.end is None else options.end
        if self.path is not None:
            check_decoding(self.path)
        self._owns_capture = isinstance(source, (int, Path))
        if not self._owns_capture:
            self.capture = source
        else:
            self.capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if hasattr(self.capture, "isOpened") and not self.capture.isOpened():
            what = f"camera {source}" if isinstance(source, int) else str(source)
            raise VideoError(f"OpenCV cannot open {what}; is it a video or a connected camera?")
        fps = float(self.capture.get(cv2.CAP_PROP_FPS))
        self.is_live = self.path is None
        self.is_vfr = False
        self._is_camera = isinstance(source, int)
        self._opened_at, self._last_s = time.monotonic(), -math.inf
        self.sample_aspect_ratio = _sample_aspect_ratio(self.capture)
        self.rate = Fraction(fps if 0 < fps <= 1000 else 25).limit_denominator(1001)
        if self._start and not self.is_live:
            self.capture.set(cv2.CAP_PROP_POS_MSEC, self._start * 1000)
        first = self._next()
        while first is not None and first.time_s < self._start:
            first = self._next()
        if first is None or first.time_s >= self._end:
            self.close()
            raise VideoError(f"{source}: no frame can be decoded in the part asked for")
        self._first = first
        height, width = first.bgr.shape[:2]
        self.size_wh = width, height

    def reopen(self) -> OpenCVReader:
        """Return another reader that gives the same frames, from the first one on."""
        assert self.path is not None  # what is live is read once
        return OpenCVReader(self.path, self._input_hw, self._options)

    @property
    def upright_hw(self) -> tuple[int, int]:
        """Rows and columns of every frame."""
        return self.size_wh[1], self.size_wh[0]

    @property
    def total(self) -> int | None:
        """Expected number of frames, or None if unknown."""
        frames = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if self.is_live or frames <= 0:
            return None
        end = min(self._end, frames / float(self.rate))
        return max(1, round((end - self._start) * float(self.rate)))

    def read(
        self, on_frame: Callable[[OpenCVFrame], None], on_packet: Callable[[Any], None]
    ) -> None:
        """Call `on_frame` with every frame in order; OpenCV has no packets of other streams."""
        count, max_shift_s = 0, 0.0
        current: OpenCVFrame | None = self._first
        while current is not None and current.time_s < self._end:
            if (current.bgr.shape[1], current.bgr.shape[0]) != self.size_wh:
                current.bgr = np.asarray(cv2.resize(current.bgr, self.size_wh), np.uint8)
            shift_s = abs(current.time_s - self._first.time_s - count / float(self.rate))
            max_shift_s = max(max_shift_s, shift_s)
            on_frame(current)
            count += 1
            current = self._next()
        expected = self.total
        if current is None and expected and count < expected - max(2, float(self.rate) / 2):
            self.notes.append(
                f"the video ends after {count} frames, but its header says {expected}"
            )
        # Rounded time stamps are off by less than a frame.
        self.is_vfr = not self._is_camera and max_shift_s > 1.5 / float(self.rate)

    def _next(self) -> OpenCVFrame | None:
        ok, frame = self.capture.read()
        if not ok or frame is None:
            return None
        # After a read, POS_MSEC is the time of the frame just read; cameras do not have it.
        time_s = float(self.capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if self._is_camera:
            time_s = time.monotonic() - self._opened_at
        frame_s = 1 / float(self.rate)
        if time_s < -MAX_TIME_S:
            # OpenCV 4.10 returns -2^63 ms for interlaced frames in Matroska: no time is known.
            time_s = max(self._last_s, self._start - frame_s) + frame_s
        elif time_s <= self._last_s:
            time_s = self._last_s + frame_s
        self._last_s = time_s
        lightness = SourceImage(frame).lightness_at(self._input_hw)
        bgr = frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
        return OpenCVFrame(np.asarray(bgr, np.uint8), lightness, time_s)

    def close(self) -> None:
        """Release the capture, unless the caller opened it."""
        if self._owns_capture:
            self.capture.release()


def count_frames(path: Path) -> int:
    """Return the number of frames that OpenCV can read; FRAME_COUNT is often wrong."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def sample_frames(path: Path, n: int) -> Iterator[tuple[float, UInt8Array]]:
    """Yield `n` evenly spaced frames, upright BGR, with their times in seconds."""
    check_decoding(path)
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise VideoError(f"OpenCV cannot open {path}; is it a video?")
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        total = announced if announced > 0 else count_frames(path)
        n = min(n, total)
        indices = sorted({int((i + 0.5) * total / n) for i in range(n)})
        found = 0
        for index in indices:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            ok, frame = capture.read()
            if ok:
                found += 1
                time_s = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                if time_s < -MAX_TIME_S:  # not known, as above
                    time_s = index / (float(capture.get(cv2.CAP_PROP_FPS)) or 25)
                yield time_s, np.asarray(frame, np.uint8)
        if not found:
            raise VideoError(f"{path}: no frame can be decoded")
    finally:
        capture.release()


def _sample_aspect_ratio(capture: Any) -> Fraction:
    """Return the pixel aspect ratio, 1 if it is unknown."""
    numerator = int(capture.get(cv2.CAP_PROP_SAR_NUM))
    denominator = int(capture.get(cv2.CAP_PROP_SAR_DEN))
    return Fraction(numerator, denominator) if min(numerator, denominator) > 0 else Fraction(1)


def check_decoding(path: Path) -> None:
    """Raise VideoError if OpenCV returns frames of the file without decoding them.

    OpenCV 4.14 and 5.0 fail to convert interlaced frames (H.264, MPEG-2, DV) to BGR: they print a
    message on stderr and return uninitialised memory, without an error; 4.10 converts them. So
    frames are decoded twice, into memory with different contents. The memory of large frames may
    be fresh and zero both times, so a video whose frames are all black is rejected too.
    """
    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    are_black = []
    for index in sorted({max(0, total * quarter // 4) for quarter in range(4)}):
        first, second = (_decode_into(path, index, value) for value in (0x5A, 0xA5))
        if not first or not second:
            continue
        # Memory that is not written stays the same from frame to frame; a damaged frame, which
        # may be decoded differently each time, does not.
        if not np.array_equal(first[0], second[0]) and np.array_equal(first[0], first[-1]):
            break
        are_black.append(not first[0].any())
    else:
        if not are_black or not all(are_black):
            return
    raise VideoError(
        f"{path}: OpenCV cannot decode it, probably because it is interlaced (or all black); "
        "install PyAV (pip install av), or run: ffmpeg -i INPUT -vf yadif OUTPUT.mp4"
    )


def _decode_into(path: Path, index: int, value: int) -> list[UInt8Array]:
    """Fill memory with a value, free it, and return a frame and the next one decoded after that."""
    capture = cv2.VideoCapture(str(path))
    if index:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
    if not capture.grab():
        return []
    size = 3 * int(capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    freed = [np.full(max(1, size * percent // 100), value, np.uint8) for percent in (100, 102, 120)]
    del freed
    frames: list[UInt8Array] = []
    ok, frame = capture.retrieve()
    while ok and len(frames) < 2:
        frames.append(np.array(frame, np.uint8))
        ok, frame = capture.read()
    return frames
