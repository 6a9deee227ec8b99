"""Demuxing and decoding with PyAV."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from ..._typing import Float32Array
from ...color.yuv import BT601, BT709, COEFFICIENTS, LumaFormat
from ...errors import VideoError
from ..options import VideoOptions
from .passthrough import is_decodable
from .planes import JPEG_RANGE, MPEG_RANGE, error_text, has_luma_plane, plane_view

__all__ = ["PyAVFrame", "PyAVReader", "open_input"]

logger = logging.getLogger("colorcv")

# Codecs whose untagged grey frames are full range.
FULL_RANGE_GREY = {"png", "ffv1", "rawvideo", "mjpeg", "bmp", "tiff", "gif", "huffyuv", "ffvhuff"}

# Metadata that is not UTF-8 must not stop the work. PyAV 19 replaces such bytes by itself.
_METADATA_ERRORS: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)


@dataclass
class PyAVFrame:
    """A decoded frame.

    Attributes
    ----------
    frame : av.VideoFrame
    lightness : input_hw float32
        L* in 0..100, upright, at the size of the network's input.
    time_s : float
        Presentation time in seconds.
    """

    frame: Any
    lightness: Float32Array
    time_s: float


def open_input(path: Path) -> Any:
    """Open a video file; return an `av.container.InputContainer`.

    Raises
    ------
    VideoError
        FFmpeg cannot read it.
    """
    try:
        # "file:" and the whitelist: a name with a colon, or a playlist, opens nothing else.
        return av.open(
            f"file:{path}",
            container_options={"protocol_whitelist": "file"},
            **_METADATA_ERRORS,
        )
    except (av.error.FFmpegError, OSError, ValueError) as err:
        raise VideoError(
            f"{path} cannot be read as a film: {error_text(err)}; is it complete, and a film?"
        ) from err


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
    container : av.container.InputContainer
    stream : av.video.stream.VideoStream
    audio, subtitles : list of av streams
        Streams whose packets are passed on.
    offset : Fraction
        Seconds that are subtracted from every time stamp.
    rotation : int
        Degrees counter-clockwise by which frames are turned for display: 0, 90, 180 or 270.
    matrix, primaries, transfer : int
        As in ITU-T H.273.
    full_range : bool

    Raises
    ------
    VideoError
        The file cannot be read, or has no frame in the part asked for.
    """

    def __init__(self, path: Path, input_hw: tuple[int, int], options: VideoOptions) -> None:
        self.path = path
        self.options = options
        self.notes: list[str] = []
        self.damaged = 0
        self.is_vfr = False  # frames that come at a varying rate keep their time stamps
        self._next_pts = 0
        self._input_hw = input_hw
        self.container = open_input(path)
        try:
            self._select_streams()
            self._read_first_frame()
        except BaseException:
            self.container.close()
            raise

    def _select_streams(self) -> None:
        streams = self.container.streams
        cover_flags = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        video_streams = [
            s for s in streams.video if s.codec_context and not s.disposition & cover_flags
        ]
        if not video_streams:
            raise VideoError(f"{self.path} has no video that FFmpeg can decode: is it a film?")
        # Of equal sizes the first.
        stream: Any = max(video_streams, key=lambda s: s.width * s.height)
        self.stream = stream
        stream.thread_type = "AUTO"
        if len(video_streams) > 1:
            self.notes.append(
                f"of {len(video_streams)} video streams the largest was coloured "
                f"(stream {stream.index})"
            )
        passthrough = self.options.audio != "none"
        self.audio = [s for s in streams.audio if is_decodable(s)] if passthrough else []
        if passthrough and len(self.audio) < len(streams.audio):
            self.notes.append("sound that cannot be made out was left out: it is damaged")
        self.subtitles: list[Any] = list(streams.subtitles) if passthrough else []
        for kind, others in (("attachment", streams.attachments), ("data", streams.data)):
            if others:
                self.notes.append(f"{len(others)} {kind} stream(s) were left out")
        rate = Fraction(stream.average_rate or stream.guessed_rate or 25)
        self.rate = rate if rate <= 1000 else Fraction(25)  # 90000 stands for "unknown"
        self.time_base = Fraction(stream.time_base or 1 / self.rate)
        self._start_time = Fraction(self.container.start_time or 0, av.time_base)
        # A video that is not trimmed keeps every time stamp; a trimmed one starts at 0.
        start = self.options.start
        self.offset = self._start_time + Fraction(start) if start else Fraction(0)
        if start:
            self.container.seek(int(self.offset * av.time_base))

    def _read_first_frame(self) -> None:
        self._items: Iterator[Any] = self._decode()
        self._leading_packets: list[Any] = []
        for item in self._items:
            if isinstance(item, av.VideoFrame):
                break
            self._leading_packets.append(item)
        else:
            part = " in the part asked for" if self.options.is_trimmed else ""
            raise VideoError(f"{self.path} has no frame that can be decoded{part}")
        self._first: Any = item
        self._read_properties(item)

    def _read_properties(self, frame: Any) -> None:
        """Take from the first frame what holds for all."""
        context = self.stream.codec_context
        self.size_wh = frame.width, frame.height
        self.rotation = int(frame.rotation) % 360
        name = frame.format.name
        # Players take untagged video for BT.709 from 720 lines on.
        by_size = BT709 if frame.height >= 720 else BT601
        tagged = int(frame.colorspace)
        self.matrix = tagged if tagged in COEFFICIENTS else by_size
        is_full_range_grey = name.startswith("gray") and context.name in FULL_RANGE_GREY
        tagged = int(frame.color_range) or (JPEG_RANGE if is_full_range_grey else 0)
        converted = frame.format.is_rgb or frame.format.has_palette
        self.full_range = not converted and (tagged == JPEG_RANGE or name.startswith("yuvj"))
        self.sample_aspect_ratio = self.stream.sample_aspect_ratio
        self.primaries, self.transfer = int(frame.color_primaries), int(frame.color_trc)
        side_data = frame.side_data.get("DISPLAYMATRIX")
        self.display_matrix = None if side_data is None else list(np.frombuffer(side_data, "<i4"))
        if frame.interlaced_frame:
            self.notes.append("interlaced film is written as progressive, its lines as they are")

    def set_output_format(self, pixel_format: str) -> None:
        """Set the pixel format of the output; frames without such a luma plane are converted."""
        self.output_format = pixel_format
        bits = 10 if pixel_format.endswith("10le") else 8
        self.luma_format = LumaFormat(bits, self.full_range, self.matrix)

    @property
    def bits(self) -> int:
        """Bits of the source's luma."""
        return int(max(part.bits for part in self._first.format.components))

    @property
    def total(self) -> int | None:
        """Expected number of frames, or None if the file does not tell."""
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
        if self.container.duration:
            return float(self.container.duration / av.time_base)
        return None

    def read(self, on_frame: Callable[[PyAVFrame], None], on_packet: Callable[[Any], None]) -> None:
        """Pass on every frame, and every packet of the other streams, in file order."""
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
            self.notes.append(f"{adjusted} time stamp(s) that did not grow were moved by a tick")

    def _with_lightness(self, frame: Any) -> PyAVFrame:
        frame = self._as_luma_frame(frame)
        height, width = self._input_hw
        turns = self.rotation // 90
        if turns % 2:
            height, width = width, height
        luma = plane_view(frame, 0, self.luma_format.bits)
        lightness = self.luma_format.lightness_at(luma, (height, width))
        # The network sees the frame upright; both count turns counter-clockwise.
        upright = np.ascontiguousarray(np.rot90(lightness, turns))
        return PyAVFrame(frame, np.clip(upright, 0, 100), float(frame.pts * self.time_base))

    def _as_luma_frame(self, frame: Any) -> Any:
        """Return the frame, converted unless its luma plane can be used as it is."""
        same_size = (frame.width, frame.height) == self.size_wh
        if same_size and has_luma_plane(frame.format, self.luma_format.bits):
            return frame
        matrix = {4: 4, 5: 5, 6: 5, 7: 7, 9: 9}.get(self.matrix, 1)  # in swscale's numbers
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
        """Yield frames and packets of other streams that lie in the part asked for."""
        begin = self.offset if self.options.start else None
        end = None if self.options.end is None else self._start_time + Fraction(self.options.end)
        active_streams = {self.stream.index, *(s.index for s in self.audio)}
        for packet in self._demux():
            if packet is None or packet.stream.index == self.stream.index:
                if self.stream.index not in active_streams:
                    continue
                for frame in self._decode_packet(packet):
                    time = frame.pts * self.time_base
                    if end is not None and time >= end:
                        active_streams.discard(self.stream.index)
                        break
                    if begin is None or time >= begin:
                        frame.pts -= round(self.offset / self.time_base)
                        yield frame
            elif packet.size and (packet.pts is not None or packet.dts is not None):
                base = packet.time_base
                time = (packet.pts if packet.pts is not None else packet.dts) * base
                if end is not None and time >= end:
                    active_streams.discard(packet.stream.index)
                elif begin is None or time >= begin:
                    if self.offset:
                        shift = round(self.offset / base)
                        packet.pts = None if packet.pts is None else packet.pts - shift
                        packet.dts = None if packet.dts is None else packet.dts - shift
                    yield packet
            if not active_streams:
                return

    def _demux(self) -> Iterator[Any]:
        try:
            yield from self.container.demux([self.stream, *self.audio, *self.subtitles])
        except av.error.FFmpegError as err:
            self.damaged += 1
            self.notes.append(f"reading stopped: {error_text(err)}")
            yield None  # flushes the decoder

    def _decode_packet(self, packet: Any | None) -> list[Any]:
        try:
            frames = self.stream.decode(packet)
        except av.error.FFmpegError as err:
            self.damaged += 1
            logger.warning("%s: a damaged packet is skipped: %s", self.path, error_text(err))
            return []
        for frame in frames:
            if frame.pts is None:
                frame.pts = self._next_pts
                frame.time_base = self.time_base
            self._next_pts = frame.pts + max(1, round(1 / (self.rate * self.time_base)))
        return list(frames)

    def _note_early_end(self, last_s: float) -> None:
        duration_s = self.duration_s
        if self.options.end is not None or duration_s is None:
            return
        # Some containers count their duration from 0, some from the first frame.
        end_s = last_s + float(1 / self.rate) + (self.options.start or 0)
        slack_s = max(0.5, 2 / float(self.rate))
        if max(end_s, end_s - float(self._start_time)) < duration_s - slack_s:
            self.notes.append(
                f"the film ends at {end_s:.2f} s of the {duration_s:.2f} s it announces"
            )

    def close(self) -> None:
        """Close the file."""
        self.container.close()
