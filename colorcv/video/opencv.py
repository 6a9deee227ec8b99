"""Films through OpenCV alone: no H.264, no sound of its own; ffmpeg puts the sound back."""

from __future__ import annotations

import logging
import math
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import OptionError, VideoError
from ..image.source import SourceImage

__all__ = ["OpenCVFrame", "OpenCVReader", "OpenCVWriter", "add_sound", "paint", "stills"]

Float32 = npt.NDArray[np.float32]
Bgr = npt.NDArray[np.uint8]
log = logging.getLogger("colorcv")

FOURCC = {"mpeg4": "mp4v", "mjpeg": "MJPG", "vp8": "VP80", "vp9": "VP90", "ffv1": "FFV1"}
USUAL = {".avi": "mjpeg", ".webm": "vp8"}  # every other container gets MPEG-4


@dataclass
class OpenCVFrame:
    """A frame as OpenCV decodes it, upright, BGR."""

    bgr: Bgr
    lightness: Float32
    time_s: float


class OpenCVReader:
    """Read a film, a camera, or anything with the `read` and `get` of `cv2.VideoCapture`."""

    def __init__(
        self,
        source: Any,
        input_hw: tuple[int, int],
        *,
        start: float | None,
        end: float | None,
    ) -> None:
        self.path = source if isinstance(source, Path) else None
        self.notes: list[str] = []
        self.damaged = 0
        self._input_hw = input_hw
        self._start, self._end = start or 0.0, math.inf if end is None else end
        self._own = isinstance(source, (int, Path))
        if not self._own:
            self.capture = source
        else:
            self.capture = cv2.VideoCapture(source if isinstance(source, int) else str(source))
        if hasattr(self.capture, "isOpened") and not self.capture.isOpened():
            what = f"camera {source}" if isinstance(source, int) else str(source)
            raise VideoError(f"{what} cannot be opened by OpenCV: is it there, and a film?")
        fps = float(self.capture.get(cv2.CAP_PROP_FPS))
        self.is_live = self.path is None
        self.varies = False
        self._is_camera = isinstance(source, int)
        self._opened_at, self._last_s = time.monotonic(), -math.inf
        self.rate = Fraction(fps if 0 < fps <= 1000 else 25).limit_denominator(1001)
        if self._start and not self.is_live:
            self.capture.set(cv2.CAP_PROP_POS_MSEC, self._start * 1000)
        first = self._next()
        while first is not None and first.time_s < self._start:
            first = self._next()
        if first is None or first.time_s >= self._end:
            self.close()
            raise VideoError(f"{source} has no frame that can be decoded in the part asked for")
        self._first = first
        height, width = first.bgr.shape[:2]
        self.size_wh = width, height

    @property
    def total(self) -> int | None:
        """How many frames there will be, as far as the file says."""
        frames = int(self.capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if self.is_live or frames <= 0:
            return None
        end = min(self._end, frames / float(self.rate))
        return max(1, round((end - self._start) * float(self.rate)))

    def read(self, shot: Callable[[OpenCVFrame], None], packet: Callable[[Any], None]) -> None:
        """Hand on every frame in order; there are no packets."""
        count, late = 0, 0.0
        current: OpenCVFrame | None = self._first
        while current is not None and current.time_s < self._end:
            if (current.bgr.shape[1], current.bgr.shape[0]) != self.size_wh:
                current.bgr = np.asarray(cv2.resize(current.bgr, self.size_wh), np.uint8)
            late = max(late, abs(current.time_s - self._first.time_s - count / float(self.rate)))
            shot(current)
            count += 1
            current = self._next()
        expected = self.total
        if current is None and expected and count < expected - max(2, float(self.rate) / 2):
            self.notes.append(f"the film ends after {count} of the {expected} frames it announces")
        # What is off by more than a frame is no rounding of time stamps.
        self.varies = not self._is_camera and late > 1.5 / float(self.rate)

    def _next(self) -> OpenCVFrame | None:
        ok, frame = self.capture.read()
        if not ok or frame is None:
            return None
        # After the read, POS_MSEC is the time of the frame that was read; a camera has none.
        time_s = float(self.capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
        if self._is_camera:
            time_s = time.monotonic() - self._opened_at
        if time_s <= self._last_s:
            time_s = self._last_s + 1 / float(self.rate)
        self._last_s = time_s
        picture = SourceImage(frame)
        bgr = frame if frame.ndim == 3 else cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)
        return OpenCVFrame(np.asarray(bgr, np.uint8), picture.lightness_at(self._input_hw), time_s)

    def close(self) -> None:
        """Release the film or camera, unless it is the caller's own."""
        if self._own:
            self.capture.release()


def paint(shot: OpenCVFrame, chroma: Float32, saturation: float, compare: bool) -> Bgr:
    """Return the coloured frame, with an even number of rows and columns."""
    colored = np.asarray(SourceImage(shot.bgr).colored(chroma, saturation=saturation), np.uint8)
    height, width = colored.shape[:2]
    if height % 2 or width % 2:
        more = (0, height % 2, 0, width % 2)
        colored = np.asarray(cv2.copyMakeBorder(colored, *more, cv2.BORDER_REPLICATE), np.uint8)
    return _side_by_side(shot.bgr, colored) if compare else colored


def _side_by_side(before: Bgr, after: Bgr) -> Bgr:
    """Put two frames beside each other; `before` is given the size of `after`."""
    height, width = after.shape[:2]
    more = (0, height - before.shape[0], 0, width - before.shape[1])
    return np.hstack([cv2.copyMakeBorder(before, *more, cv2.BORDER_REPLICATE), after])


class OpenCVWriter:
    """Write BGR frames at a constant rate, and count them afterwards."""

    def __init__(
        self,
        path: Path,
        size_wh: tuple[int, int],
        rate: Fraction,
        *,
        codec: str,
        quality: int | None,
    ) -> None:
        if codec not in ("auto", *FOURCC):
            raise OptionError(
                f"codec {codec!r} needs PyAV (pip install 'colorcv[video]'); "
                f"OpenCV alone takes auto, {', '.join(FOURCC)}"
            )
        if quality is not None:
            raise OptionError("quality needs PyAV: pip install 'colorcv[video]', or leave it out")
        self.notes: list[str] = []
        codec = USUAL.get(path.suffix.lower(), "mpeg4") if codec == "auto" else codec
        self.path, self.written, self._rate = path, 0, rate
        self.damaged = 0
        fourcc = cv2.VideoWriter.fourcc(*FOURCC[codec])
        self._writer = cv2.VideoWriter(str(path), fourcc, float(rate), size_wh)
        if not self._writer.isOpened():
            raise VideoError(
                f"OpenCV cannot write {codec} as {path.suffix}: choose .mp4, .mkv or .avi, "
                "or install PyAV (pip install 'colorcv[video]')"
            )

    def write(self, frame: Bgr) -> None:
        """Encode one frame of the size that was said."""
        self._writer.write(frame)
        self.written += 1

    def finish(self) -> None:
        """Close the file and count its frames: OpenCV drops some, and fills disks, in silence."""
        self._writer.release()
        counted = count_frames(self.path)
        if counted != self.written:
            raise VideoError(
                f"{self.written} frames were written but the file has {counted}: is there room "
                "on the disk?"
            )

    def abandon(self) -> None:
        """Close the file without caring for what is in it."""
        self._writer.release()

    @property
    def duration_s(self) -> float:
        """Frames by rate."""
        return float(self.written / self._rate)


def count_frames(path: Path) -> int:
    """How many frames OpenCV finds in a film, one by one: what it announces is often wrong."""
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def stills(path: Path, n: int) -> Iterator[tuple[float, Bgr]]:
    """Yield `n` evenly spaced frames of a film with their times in seconds, upright."""
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise VideoError(f"{path} cannot be opened by OpenCV: is it a film?")
        announced = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        total = announced if announced > 0 else count_frames(path)
        n = min(n, total)
        places = sorted({int((i + 0.5) * total / n) for i in range(n)})
        found = 0
        for place in places:
            capture.set(cv2.CAP_PROP_POS_FRAMES, place)
            ok, frame = capture.read()
            if ok:
                found += 1
                time_s = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
                yield time_s, np.asarray(frame, np.uint8)
        if not found:
            raise VideoError(f"{path} has no frame that can be decoded")
    finally:
        capture.release()


def add_sound(
    silent: Path, source: Path, target: Path, *, start: float | None, end: float | None
) -> tuple[str, str]:
    """Put the sound of `source` to the film `silent` by the ``ffmpeg`` on PATH.

    Returns
    -------
    state, reason : str
        "copied" or "encoded": `target` is the film with sound. "none" or "dropped": there is no
        `target`, and `silent` stays what it is.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return "dropped", "OpenCV reads no sound, and there is neither PyAV nor ffmpeg on PATH"
    part = []
    if start:
        part += ["-ss", f"{start:.6f}"]
    if end is not None:
        part += ["-to", f"{end:.6f}"]
    complaint = ""
    for state, codec in (("copied", ["copy"]), ("encoded", ["aac", "-b:a", "192k"])):
        command = [
            *(ffmpeg, "-nostdin", "-v", "error", "-y"),
            *("-protocol_whitelist", "file", "-i", f"file:{silent}"),
            *("-protocol_whitelist", "file", *part, "-i", f"file:{source}"),
            *("-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", *codec),
            *("-movflags", "+faststart", f"file:{target}"),
        ]
        done = subprocess.run(command, capture_output=True, check=False)
        complaint = done.stderr.decode(errors="replace").strip()
        if done.returncode == 0:
            return state, f"ffmpeg put it back ({codec[0]})"
        target.unlink(missing_ok=True)
        if "matches no streams" in complaint:
            return "none", "the source has no sound"
    return "dropped", f"ffmpeg could not put it back: {complaint.splitlines()[-1:] or 'no reason'}"
