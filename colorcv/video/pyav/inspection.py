"""Read a finished video back, to check what players will show of it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av

from ...errors import VideoError
from .planes import display_matrix

__all__ = ["VideoProperties", "inspect_video"]


class VideoProperties(NamedTuple):
    """Properties of a video file.

    Attributes
    ----------
    frames : int
        Packets of the first video stream, one for each frame.
    shown_s : float
        Seconds from the start of the first frame to the end of the last, without frames that have
        a negative time stamp or are marked to be discarded.
    sample_aspect_ratio : Fraction
    display_matrix : list of int or None
        None also if it was not asked for.
    """

    frames: int
    shown_s: float
    sample_aspect_ratio: Fraction
    display_matrix: list[int] | None


def inspect_video(file: Path | BinaryIO, *, with_matrix: bool = True) -> VideoProperties:
    """Read all packets of a video file, on disk or in memory.

    Parameters
    ----------
    file : path or binary file
    with_matrix : bool
        Read the display matrix too, for which the first frame is decoded (20 ms at 1280x720).

    Raises
    ------
    VideoError
        No video stream is recognised in it.
    """
    with _open(file) as container:
        if not container.streams.video:
            raise VideoError("the video stream cannot be recognised")
        stream = container.streams.video[0]
        ratio = stream.sample_aspect_ratio
        count = 0
        start: int | None = None
        stop = 0
        time_base = Fraction(1)
        for packet in container.demux(stream):
            if not packet.size:
                continue
            count += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or packet.is_discard:
                continue
            time_base = packet.time_base  # that of the stream, for all of them
            packet_stop = stamp + (packet.duration or 0)
            if packet_stop > 0:
                start = stamp if start is None else min(start, stamp)
                stop = max(stop, packet_stop)
        shown_s = float((stop - start) * time_base) if start is not None else 0.0
    matrix = None
    if with_matrix:
        with _open(file) as container:
            frame = next(iter(container.decode(container.streams.video[0])), None)
            matrix = None if frame is None else display_matrix(frame)
    return VideoProperties(count, shown_s, Fraction(ratio or 1), matrix)


def _open(file: Path | BinaryIO) -> Any:
    if isinstance(file, Path):
        return av.open(f"file:{file}")
    file.seek(0)
    return av.open(file)
