"""Evenly spaced frames of a video, for previews."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..._logging import logger
from ..._typing import UInt8Array
from ...color.hdr import HLG, PQ, light_from_signal
from ...color.lab import srgb_from_linear
from ...color.yuv import BT601, BT709, BT2020, COEFFICIENTS, LumaFormat
from ...errors import VideoError
from .demuxer import open_input, select_video
from .planes import (
    JPEG_RANGE,
    display_matrix,
    error_text,
    orientation,
    plane_view,
    swscale_matrix,
)

__all__ = ["sample_frames"]


def sample_frames(path: Path, n: int) -> Iterator[tuple[float, UInt8Array]]:
    """Yield `n` evenly spaced frames, upright BGR, with their times in seconds.

    Parameters
    ----------
    path : Path
    n : int
        If the video has fewer frames, all are yielded.

    Raises
    ------
    VideoError
        The file cannot be read, or no frame can be decoded.
    """
    with open_input(path) as container:
        stream, _ = select_video(path, container)
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        base = Fraction(stream.time_base or 1 / rate)
        total = stream.frames or _count(container, stream, rate, base)
        # Not the stream's own start: AVI times are those of decoding, a frame or two earlier.
        first = _frames_until(path, 0, None, stop_at_once=True)
        start = (first[0].pts if first else None) or 0
        step = round(1 / rate / base)
    n = min(n, total)
    found = 0
    for index in sorted({int((i + 0.5) * total / n) for i in range(n)}):
        frame = _frame_at(path, start + round(index / rate / base), step)
        if frame is not None:
            found += 1
            yield float(((frame.pts or 0) - start) * base), _upright_bgr(frame)
    if not found:
        raise VideoError(f"{path}: no frame can be decoded")


def _count(container: Any, stream: Any, rate: Fraction, base: Fraction) -> int:
    if stream.duration:
        return max(1, int(stream.duration * base * rate + Fraction(1, 2)))
    if container.duration:
        return max(1, round(Fraction(container.duration, av.time_base) * rate))
    return 1


def _frame_at(path: Path, pts: int, step: int) -> Any | None:
    """Return the frame at `pts`, else the last one before it; `step` is the time between frames."""
    # MPEG-PS and TS have no index: a seek may end after the target, or where nothing can be
    # decoded. The last attempt reads the file from its start.
    for seek in (pts, pts - 250 * step, None):
        frames = _frames_until(path, pts, seek)
        if frames and (frames[0].pts is None or frames[0].pts <= pts + step):
            return frames[-1]
    return frames[-1] if frames else None


def _frames_until(
    path: Path, pts: int, seek: int | None, *, stop_at_once: bool = False
) -> list[Any]:
    """Return the first frame after a seek, and the frame at `pts` or the last one before it."""
    frames: list[Any] = []
    with open_input(path) as container:
        stream, _ = select_video(path, container)
        try:
            if seek is not None:
                container.seek(seek, stream=stream)
            for frame in container.decode(stream):
                frames = [frames[0] if frames else frame, frame]
                if stop_at_once or frame.pts is None or frame.pts >= pts:
                    break
        except av.error.FFmpegError as err:
            logger.debug("%s: decoding stopped: %s", path, error_text(err))
    return frames


def _upright_bgr(frame: Any) -> UInt8Array:
    if int(frame.color_trc) in (PQ, HLG) and not frame.format.is_rgb:
        return _grey_bgr(frame)
    tagged = int(frame.colorspace)
    by_size = BT709 if frame.height >= 720 else BT601
    matrix = swscale_matrix(tagged if tagged in COEFFICIENTS else by_size)
    source = None if frame.format.is_rgb else matrix
    bgr = frame.reformat(format="bgr24", src_colorspace=source).to_ndarray()
    return _upright(bgr, frame)


def _grey_bgr(frame: Any) -> UInt8Array:
    """Return an HDR frame in grey, (H, W, 3) uint8 BGR, as its SDR version would look."""
    is_full_range = int(frame.color_range) == JPEG_RANGE
    matrix = swscale_matrix(BT2020)
    deep = frame.reformat(format="yuv420p10le", src_colorspace=matrix, dst_colorspace=matrix)
    luma_format = LumaFormat(10, is_full_range, BT2020, int(frame.color_trc))
    luma = plane_view(deep, 0, 10)
    light = light_from_signal(luma_format.values, luma_format.transfer)
    codes = np.rint(srgb_from_linear(light) * 255).astype(np.uint8)
    return _upright(np.repeat(codes[luma][..., np.newaxis], 3, axis=2), frame)


def _upright(bgr: UInt8Array, frame: Any) -> UInt8Array:
    turns, mirrored = orientation(display_matrix(frame))
    if mirrored:
        bgr = bgr[:, ::-1]
    return np.ascontiguousarray(np.rot90(bgr, turns), np.uint8)
