"""Decode with PyAV: `PyAVReader`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..._logging import logger
from ..._typing import Float32Array
from ...color.hdr import HLG, PQ
from ...color.yuv import BT601, BT709, BT2020, COEFFICIENTS, LumaFormat
from ...errors import VideoError
from ..options import VideoOptions
from .demuxer import Demuxer
from .planes import (
    JPEG_RANGE,
    MPEG_RANGE,
    display_matrix,
    error_text,
    has_luma_plane,
    orientation,
    plane_view,
    swscale_matrix,
)

__all__ = ["PyAVFrame", "PyAVReader"]

_UNKNOWN = (0, 2)  # H.273's numbers for "reserved" and "unspecified"
# Codecs whose untagged grey frames are full range.
FULL_RANGE_GREY = {"png", "ffv1", "rawvideo", "mjpeg", "bmp", "tiff", "gif", "huffyuv", "ffvhuff"}


@dataclass
class PyAVFrame:
    """A decoded frame.

    Attributes
    ----------
    frame : av.VideoFrame
    lightness : input_hw float32
        L* in 0..100, upright, at the size of the network's input.
    time_s : float
        Seconds from the start of the video.
    """

    frame: Any
    lightness: Float32Array
    time_s: float


class PyAVReader:
    """Decode the largest video stream of a file and pass on the packets of the others.

    Parameters
    ----------
    path : Path
    input_hw : (int, int)
        Rows and columns of the network's input.
    options : VideoOptions
        `start` and `end` are used, and `audio`: with "none" no packets are passed on.

    Attributes
    ----------
    demuxer : Demuxer
        Source of frames and packets.
    display_matrix : list of int or None
        FFmpeg's 3x3 matrix that orients frames for display.
    matrix, primaries, transfer : int
        As in ITU-T H.273.
    full_range : bool

    Raises
    ------
    VideoError
        The file cannot be read, or has no frame in the requested part.
    """

    def __init__(self, path: Path, input_hw: tuple[int, int], options: VideoOptions) -> None:
        self.path = path
        self.options = options
        self.is_vfr = False  # frames that come at a varying rate keep their time stamps
        self._next_pts = 0
        self._input_hw = input_hw
        self.demuxer = Demuxer(path, options)
        self.stream = self.demuxer.stream
        self.rate, self.time_base = self.demuxer.rate, self.demuxer.time_base
        self.notes = self.demuxer.notes
        try:
            self._read_first_frame()
        except BaseException:
            self.close()
            raise

    def _read_first_frame(self) -> None:
        self._items: Iterator[Any] = self._decode()
        self._leading_packets: list[Any] = []
        for item in self._items:
            if isinstance(item, av.VideoFrame):
                break
            self._leading_packets.append(item)
        else:
            part = " in the part asked for" if self.options.is_trimmed else ""
            raise VideoError(f"{self.path}: no frame can be decoded{part}")
        self._first: Any = item
        self._read_properties(item)

    def _read_properties(self, frame: Any) -> None:
        """Read from the first frame the properties that all frames share."""
        context = self.stream.codec_context
        self.size_wh = frame.width, frame.height
        name = frame.format.name
        # Players take untagged video of 720 lines or more for BT.709.
        by_size = BT709 if frame.height >= 720 else BT601
        tagged = int(frame.colorspace)
        if int(frame.color_trc) in (PQ, HLG):
            by_size = BT2020
        self.matrix = tagged if tagged in COEFFICIENTS else by_size
        is_full_range_grey = name.startswith("gray") and context.name in FULL_RANGE_GREY
        tagged = int(frame.color_range) or (JPEG_RANGE if is_full_range_grey else 0)
        converted = frame.format.is_rgb or frame.format.has_palette
        self.full_range = not converted and (tagged == JPEG_RANGE or name.startswith("yuvj"))
        self.sample_aspect_ratio = self.stream.sample_aspect_ratio
        self.primaries, self.transfer = int(frame.color_primaries), int(frame.color_trc)
        if self.transfer in (PQ, HLG):
            if self.primaries in _UNKNOWN:
                self.primaries = BT2020
            if "MASTERING_DISPLAY_METADATA" in frame.side_data:
                self.notes.append("HDR mastering metadata was left out")
        self.display_matrix = display_matrix(frame)
        self._turns, self._mirrored = orientation(self.display_matrix)
        if frame.interlaced_frame:
            self.notes.append(
                "interlaced video is written as progressive, with its lines unchanged"
            )

    def set_output_format(self, pixel_format: str) -> None:
        """Set the pixel format of the output; frames without such a luma plane are converted."""
        self.output_format = pixel_format
        bits = 10 if pixel_format.endswith("10le") else 8
        self.luma_format = LumaFormat(bits, self.full_range, self.matrix, self.transfer)

    def reopen(self) -> PyAVReader:
        """Return another reader that gives the same frames, from the first one on."""
        reader = PyAVReader(self.path, self._input_hw, self.options)
        reader.set_output_format(self.output_format)
        return reader

    @property
    def upright_hw(self) -> tuple[int, int]:
        """Rows and columns of every frame as it is shown."""
        width, height = self.size_wh
        return (width, height) if self._turns % 2 else (height, width)

    @property
    def damaged(self) -> int:
        """Packets that could not be read or decoded."""
        return self.demuxer.damaged

    @property
    def bits(self) -> int:
        """Bits of the source's luma."""
        return int(max(part.bits for part in self._first.format.components))

    @property
    def total(self) -> int | None:
        """Expected number of frames, or None if unknown."""
        duration_s = self.duration_s
        frames = self.stream.frames or (int(duration_s * self.rate) if duration_s else 0)
        start, end = self.options.start, self.options.end
        if not self.options.is_trimmed:
            return frames or None
        if duration_s is None:
            return None
        length_s = min(duration_s, end or duration_s) - (start or 0)
        return max(1, round(float(length_s * self.rate)))

    @property
    def duration_s(self) -> float | None:
        """Duration in seconds as the file states it, or None."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        if self.demuxer.container.duration:
            return float(self.demuxer.container.duration / av.time_base)
        return None

    def read(self, on_frame: Callable[[PyAVFrame], None], on_packet: Callable[[Any], None]) -> None:
        """Call `on_frame` and `on_packet` (of other streams) in file order."""
        for packet in self._leading_packets:
            on_packet(packet)
        on_frame(self._with_lightness(self._first))
        last_pts, adjusted = int(self._first.pts), 0
        for item in self._items:
            if not isinstance(item, av.VideoFrame):
                on_packet(item)
                continue
            frame: Any = item
            if frame.pts <= last_pts:  # encoders want increasing time stamps
                frame.pts, adjusted = last_pts + 1, adjusted + 1
            last_pts = frame.pts
            on_frame(self._with_lightness(frame))
        self._note_early_end(float(last_pts * self.time_base))
        if adjusted:
            self.notes.append(
                f"{adjusted} time stamp(s) that did not increase were moved by one tick"
            )

    def _with_lightness(self, frame: Any) -> PyAVFrame:
        frame = self._as_luma_frame(frame)
        height, width = self._input_hw
        if self._turns % 2:
            height, width = width, height
        luma = plane_view(frame, 0, self.luma_format.bits)
        lightness = self.luma_format.lightness_at(luma, (height, width))
        if self._mirrored:
            lightness = lightness[:, ::-1]
        upright = np.ascontiguousarray(np.rot90(lightness, self._turns))
        time_s = frame.pts * self.time_base + self.demuxer.offset_s - self.demuxer.start_s
        return PyAVFrame(frame, np.clip(upright, 0, 100), float(time_s))

    def as_stored(self, upright: Float32Array) -> Float32Array:
        """Return an upright plane, (H, W, ...), in the orientation in which frames are stored."""
        stored = np.rot90(upright, -self._turns)
        return np.ascontiguousarray(stored[:, ::-1] if self._mirrored else stored)

    def _as_luma_frame(self, frame: Any) -> Any:
        """Return the frame, converted unless its luma plane can be used as it is."""
        same_size = (frame.width, frame.height) == self.size_wh
        if same_size and has_luma_plane(frame.format, self.luma_format.bits):
            return frame
        matrix = swscale_matrix(self.matrix)
        converted = frame.reformat(
            *self.size_wh,
            format=self.output_format,
            dst_colorspace=matrix,
            src_colorspace=None if frame.format.is_rgb else matrix,
            dst_color_range=JPEG_RANGE if self.full_range else MPEG_RANGE,
        )
        converted.pts = frame.pts
        converted.time_base = frame.time_base
        return converted

    def _decode(self) -> Iterator[Any]:
        """Yield the frames of the requested part, and the packets of other streams."""
        begin_s = 0 if self.options.start else None
        end_s = None
        if self.options.end is not None:
            end_s = self.demuxer.start_s + Fraction(self.options.end) - self.demuxer.offset_s
        for packet in self.demuxer.packets():
            if packet is not None and packet.stream.index != self.stream.index:
                yield packet
                continue
            for frame in self._decode_packet(packet):
                time_s = frame.pts * self.time_base
                if (begin_s is None or time_s >= begin_s) and (end_s is None or time_s < end_s):
                    yield frame

    def _decode_packet(self, packet: Any | None) -> list[Any]:
        try:
            frames = self.stream.decode(packet)
        except av.error.FFmpegError as err:
            self.demuxer.damaged += 1
            logger.info("%s: skipped a damaged packet (%s)", self.path, error_text(err))
            return []
        for frame in frames:
            frame.time_base = self.time_base  # PyAV leaves it unset when it flushes
            if not self.demuxer.has_pts:
                frame.pts = None if frame.dts is None else frame.dts - self.demuxer.delay
            if frame.pts is None:
                frame.pts = self._next_pts
            self._next_pts = frame.pts + max(1, round(1 / (self.rate * self.time_base)))
        return list(frames)

    def _note_early_end(self, last_s: float) -> None:
        demuxer = self.demuxer
        duration_s = self.duration_s
        if self.options.end is not None or duration_s is None or demuxer.jumps:
            return
        # The duration may be that of the audio, which may be longer than the video.
        end_s = max(last_s + float(1 / self.rate), float(demuxer.stop_s - demuxer.offset_s))
        end_s += self.options.start or 0
        slack_s = max(0.5, 2 / float(self.rate))
        if end_s < duration_s - slack_s:
            self.notes.append(
                f"the video ends after {end_s:.2f} s, but its header says {duration_s:.2f} s"
            )

    def close(self) -> None:
        """Close the file."""
        self.demuxer.close()
