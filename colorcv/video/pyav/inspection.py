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
    """

    frames: int
    shown_s: float
    sample_aspect_ratio: Fraction
    display_matrix: list[int] | None


def inspect_video(file: Path | BinaryIO) -> VideoProperties:
    """Read all packets and the first frame of a video file, on disk or in memory.

    Raises
    ------
    VideoError
        No video stream is recognised in it.
    """
    with _open(file) as container:
        if not container.streams.video:
            raise VideoError("the video stream cannot be recognised")
        stream = container.streams.video[0]
        count = 0
        start_s: Fraction | None = None
        stop_s = Fraction(0)
        for packet in container.demux(stream):
            if not packet.size:
                continue
            count += 1
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is None or packet.is_discard:
                continue
            time_s = stamp * Fraction(packet.time_base)
            packet_stop_s = time_s + (packet.duration or 0) * Fraction(packet.time_base)
            if packet_stop_s > 0:
                start_s = time_s if start_s is None else min(start_s, time_s)
                stop_s = max(stop_s, packet_stop_s)
        shown_s = float(stop_s - start_s) if start_s is not None else 0.0
    with _open(file) as container:
        stream = container.streams.video[0]
        ratio = stream.sample_aspect_ratio
        frame = next(iter(container.decode(stream)), None)
        matrix = None if frame is None else display_matrix(frame)
    return VideoProperties(count, shown_s, Fraction(ratio or 1), matrix)


def _open(file: Path | BinaryIO) -> Any:
    if isinstance(file, Path):
        return av.open(f"file:{file}")
    file.seek(0)
    return av.open(file)
