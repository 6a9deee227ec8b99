"""PyAV backend: open a transcode and render YUV frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np

from ..._typing import Float32Array
from ...color.yuv import BT709, chroma_planes
from ..opencv.backend import render_bgr
from ..opencv.reader import OpenCVFrame, OpenCVReader
from ..options import VideoOptions
from ..transcode import AudioOutcome, Transcode, note_odd_size, output_size_wh
from .planes import JPEG_RANGE, MPEG_RANGE, plane_view
from .probe import add_passthrough_streams
from .reader import PyAVFrame, PyAVReader
from .writer import PyAVWriter

__all__ = ["YUVRenderer", "open_pyav", "open_pyav_from_capture"]

_KEPT_TAGS = {"title", "artist", "comment", "date", "copyright", "description", "genre", "album"}


class YUVRenderer:
    """Render frames in YUV 4:2:0: luma unchanged, U and V from the chroma.

    Parameters
    ----------
    reader : PyAVReader
    options : VideoOptions
        `saturation` and `compare` are used.
    """

    def __init__(self, reader: PyAVReader, options: VideoOptions) -> None:
        self.size_wh = output_size_wh(reader.size_wh, options)
        self._reader, self._options = reader, options

    def render(self, decoded: PyAVFrame, chroma: Float32Array) -> Any:
        """Return a new `av.VideoFrame`; the decoder may still need the decoded one as a reference.

        Parameters
        ----------
        decoded : PyAVFrame
        chroma : (s, t, 2) float32
            a* and b*, upright, at the size of the frame's `lightness`.
        """
        reader, options = self._reader, self._options
        bits = reader.luma_format.bits
        luma = plane_view(decoded.frame, 0, bits)
        height, width = luma.shape
        if height % 2 or width % 2:
            luma = np.pad(luma, ((0, height % 2), (0, width % 2)), mode="edge")
        chroma = reader.as_stored(chroma)
        if options.saturation != 1:
            chroma = chroma * np.float32(options.saturation)
        lightness = reader.as_stored(decoded.lightness)
        u, v = chroma_planes(luma, chroma, lightness, reader.luma_format)
        rendered = av.VideoFrame(*self.size_wh, reader.output_format)
        if options.compare:
            neutral = reader.luma_format.encode(np.zeros((1, 1), np.float32))[0, 0]
            grey = np.full_like(u, neutral)
            luma = np.hstack([luma, luma])
            u, v = np.hstack([grey, u]), np.hstack([grey, v])
        for index, plane in enumerate((luma, u, v)):
            plane_view(rendered, index, bits)[:] = plane
        rendered.pts, rendered.time_base = decoded.frame.pts, decoded.frame.time_base
        rendered.colorspace = reader.matrix
        rendered.color_range = JPEG_RANGE if reader.full_range else MPEG_RANGE
        return rendered


def open_pyav(
    source: Path, path: Path, input_hw: tuple[int, int], options: VideoOptions
) -> Transcode[PyAVFrame]:
    """Open a video file and its output.

    Parameters
    ----------
    source : Path
    path : Path
        Where to write; the suffix selects the container.
    input_hw : (int, int)
        Rows and columns of the network's input.
    options : VideoOptions

    Raises
    ------
    VideoError, OptionError
        The source cannot be decoded, or the output cannot be written as asked.
    """
    reader = PyAVReader(source, input_hw, options)
    try:
        renderer = YUVRenderer(reader, options)

        def new_writer(sink: BinaryIO | None = None) -> PyAVWriter:
            writer = PyAVWriter(
                path,
                renderer.size_wh,
                reader.rate,
                reader.time_base,
                reader.bits,
                options,
                sink=sink,
            )
            copy_properties(reader, writer)
            return writer

        writer = new_writer()
        try:
            reader.set_output_format(writer.pixel_format)
            note_odd_size(reader.size_wh, writer.notes)
            audio = add_passthrough_streams(
                reader.demuxer, writer, new_writer, required=options.audio == "keep"
            )
            if options.audio == "none":
                audio = AudioOutcome("none", "left out as asked")
            writer.start()
        except BaseException:
            writer.abort()
            raise
    except BaseException:
        reader.close()
        raise
    return Transcode(reader, writer, renderer.render, renderer.size_wh, audio)


def copy_properties(reader: PyAVReader, writer: PyAVWriter) -> None:
    """Copy pixel aspect ratio, rotation, colour tags, chapters and metadata to the output."""
    stream, container = writer.stream, writer.container
    writer.set_color_tags(reader.matrix, reader.full_range, reader.primaries, reader.transfer)
    writer.set_geometry(reader.sample_aspect_ratio, reader.display_matrix)
    source = reader.demuxer.container
    container.metadata.update(
        {key: text for key, text in source.metadata.items() if key.lower() in _KEPT_TAGS}
    )
    if "language" in reader.stream.metadata:
        stream.metadata["language"] = reader.stream.metadata["language"]
    if not reader.options.is_trimmed and source.chapters():
        container.set_chapters(source.chapters())


def open_pyav_from_capture(
    reader: OpenCVReader, path: Path, options: VideoOptions
) -> Transcode[OpenCVFrame]:
    """Open the output of a camera or capture, which OpenCV reads.

    Raises
    ------
    VideoError, OptionError
        The output cannot be written as asked.
    """
    size_wh = output_size_wh(reader.size_wh, options)
    time_base = Fraction(1, 90_000)
    writer = PyAVWriter(path, size_wh, reader.rate, time_base, 8, options)
    try:
        note_odd_size(reader.size_wh, writer.notes)
        writer.set_color_tags(BT709, full_range=False)
        writer.start()
    except BaseException:
        writer.abort()
        raise
    start_s: float | None = None

    def render(decoded: OpenCVFrame, chroma: Float32Array) -> Any:
        nonlocal start_s
        start_s = decoded.time_s if start_s is None else start_s
        bgr = render_bgr(decoded, chroma, options)
        frame = av.VideoFrame.from_ndarray(bgr, format="bgr24").reformat(
            format=writer.pixel_format, dst_colorspace=BT709, dst_color_range=MPEG_RANGE
        )
        frame.pts = round((decoded.time_s - start_s) / time_base)
        frame.time_base = time_base
        return frame

    audio = AudioOutcome("none", "audio of a camera is not recorded")
    return Transcode(reader, writer, render, size_wh, audio)
