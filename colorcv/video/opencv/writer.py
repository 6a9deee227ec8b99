"""Write videos with OpenCV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2

from ..._typing import UInt8Array
from ...errors import OptionError, VideoError
from ..options import VideoOptions
from .reader import count_frames

__all__ = ["OpenCVWriter"]

FOURCC = {"mpeg4": "mp4v", "mjpeg": "MJPG", "vp8": "VP80", "vp9": "VP90", "ffv1": "FFV1"}
DEFAULT_CODECS = {".avi": "mjpeg", ".webm": "vp8"}  # every other container gets MPEG-4


class OpenCVWriter:
    """Write BGR frames at a constant rate.

    Parameters
    ----------
    path : Path
        The suffix selects the container.
    size_wh : (int, int)
        Even columns and rows.
    rate : Fraction
        Frames per second.
    options : VideoOptions
        `codec` is used; `quality` must be None.

    Raises
    ------
    OptionError
        OpenCV does not have the codec, or `quality` is not None.
    VideoError
        The container does not take the codec.
    """

    damaged = 0

    def __init__(
        self, path: Path, size_wh: tuple[int, int], rate: Fraction, options: VideoOptions
    ) -> None:
        codec = options.codec
        if codec not in ("auto", *FOURCC):
            raise OptionError(
                f"codec {codec!r} needs PyAV (pip install av); OpenCV alone has auto, "
                f"{', '.join(FOURCC)}"
            )
        if options.quality is not None:
            raise OptionError("quality needs PyAV (pip install av)")
        self.notes: list[str] = []
        if codec == "auto":
            codec = DEFAULT_CODECS.get(path.suffix.lower(), "mpeg4")
        self.path, self.written, self._rate = path, 0, rate
        fourcc = cv2.VideoWriter.fourcc(*FOURCC[codec])
        self._writer = cv2.VideoWriter(str(path), fourcc, float(rate), size_wh)
        if not self._writer.isOpened():
            raise VideoError(
                f"OpenCV cannot write {codec} as {path.suffix}; use .mp4, .mkv or .avi, or install "
                "PyAV (pip install av)"
            )

    def write_frame(self, frame: UInt8Array) -> None:
        """Encode one frame, (H, W, 3) uint8 BGR, of the size given at the start."""
        self._writer.write(frame)
        self.written += 1

    def write_packet(self, packet: Any) -> None:
        """Raise NotImplementedError: OpenCV has no packets of other streams."""
        raise NotImplementedError("OpenCV cannot write packets")

    def close(self) -> None:
        """Close the file and count its frames.

        Raises
        ------
        VideoError
            Frames are missing: OpenCV reports neither dropped frames nor a full disk.
        """
        self._writer.release()
        counted = count_frames(self.path)
        if counted != self.written:
            raise VideoError(
                f"{self.written} frames were written but the file has {counted}; is the disk full?"
            )

    def abort(self) -> None:
        """Close the file without checking it."""
        self._writer.release()

    @property
    def duration_s(self) -> float:
        """Number of frames divided by the rate."""
        return float(self.written / self._rate)
