"""The road of a film through PyAV: how its frames are painted, and what its output is like."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from ...color.yuv import BT709, chroma_planes
from ..opencv import OpenCVFrame, OpenCVReader
from ..opencv import paint as paint_bgr
from ..pipeline import Transcode, even, note_odd_size
from .passthrough import Sound
from .planes import JPEG_RANGE, MPEG_RANGE, plane_of
from .reader import PyAVFrame, PyAVReader
from .writer import PyAVWriter

__all__ = ["YUVRenderer", "road", "road_from_bgr"]

Float32 = npt.NDArray[np.float32]


class YUVRenderer:
    """Give frames their colour: luma as it is, U and V from the chroma."""

    def __init__(self, reader: PyAVReader, saturation: float, compare: bool) -> None:
        width, height = reader.size_wh
        # 4:2:0 stores U and V for pairs: an odd last row or column is repeated once.
        self.even_wh = width + width % 2, height + height % 2
        self.size_wh = (2 * self.even_wh[0] if compare else self.even_wh[0]), self.even_wh[1]
        self._reader, self._saturation, self._compare = reader, saturation, compare

    def paint(self, shot: PyAVFrame, chroma: Float32) -> Any:
        """Return a new frame: the decoded one may still be a reference of its decoder."""
        reader = self._reader
        bits = reader.luma.bits
        source = plane_of(shot.frame, 0, bits)
        height, width = source.shape
        luma = source
        if (width, height) != self.even_wh:
            more = ((0, height % 2), (0, width % 2))
            luma = np.pad(source, more, mode="edge")
        turned = np.rot90(chroma, -(reader.rotation // 90))
        chroma = np.ascontiguousarray(turned) * np.float32(self._saturation)
        u, v = chroma_planes(np.ascontiguousarray(luma), chroma, reader.luma)
        painted = av.VideoFrame(*self.size_wh, reader.output_format)
        if self._compare:
            grey = np.full_like(u, reader.luma.encode(np.zeros((1, 1), np.float32))[0, 0])
            luma = np.hstack([luma, luma])
            u, v = np.hstack([grey, u]), np.hstack([grey, v])
        for index, plane in enumerate((luma, u, v)):
            plane_of(painted, index, bits)[:] = plane
        painted.pts, painted.time_base = shot.frame.pts, shot.frame.time_base
        painted.colorspace = reader.matrix
        painted.color_range = JPEG_RANGE if reader.full_range else MPEG_RANGE
        return painted


def road(
    reader: PyAVReader,
    path: Path,
    saturation: float,
    codec: str,
    quality: int | None,
    audio: str,
    compare: bool,
) -> Transcode:
    """Open the output of a film that PyAV reads."""
    painter = YUVRenderer(reader, saturation, compare)
    writer = PyAVWriter(
        path,
        painter.size_wh,
        reader.rate,
        reader.time_base,
        reader.bits,
        codec=codec,
        quality=quality,
    )
    try:
        reader.set_output_format(writer.pixel_format)
        writer.dress(reader)
        note_odd_size(reader, writer.notes)
        heard = "none", "left out as asked"
        if audio != "none":
            sound = Sound(writer.container, reader.audio, reader.subtitles, audio == "keep")
            writer.sound = sound
            writer.notes += sound.notes
            heard = sound.state, sound.reason
        writer.start()
    except BaseException:
        writer.abandon()
        raise
    return Transcode(reader, writer, painter.size_wh, painter.paint, heard)


def road_from_bgr(
    reader: OpenCVReader,
    path: Path,
    saturation: float,
    codec: str,
    quality: int | None,
    compare: bool,
) -> Transcode:
    """Open the output of a camera, or of what is read like one."""
    width, height = (even(side) for side in reader.size_wh)
    size_wh = (2 * width if compare else width), height
    time_base = Fraction(1, 90_000)
    writer = PyAVWriter(path, size_wh, reader.rate, time_base, 8, codec=codec, quality=quality)
    try:
        note_odd_size(reader, writer.notes)
        writer.tag(BT709, full_range=False)
        writer.start()
    except BaseException:
        writer.abandon()
        raise
    beginning: float | None = None

    def paint(shot: OpenCVFrame, chroma: Float32) -> Any:
        nonlocal beginning
        beginning = shot.time_s if beginning is None else beginning
        bgr = paint_bgr(shot, chroma, saturation, compare)
        frame = av.VideoFrame.from_ndarray(bgr, format="bgr24").reformat(
            format=writer.pixel_format, dst_colorspace=BT709, dst_color_range=MPEG_RANGE
        )
        frame.pts = round((shot.time_s - beginning) / time_base)
        frame.time_base = time_base
        return frame

    return Transcode(reader, writer, size_wh, paint, ("none", "a camera's sound is not recorded"))
