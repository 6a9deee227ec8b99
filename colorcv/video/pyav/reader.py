"""Films through PyAV: every frame with its own time, luma untouched, sound packet by packet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from ...color.yuv import BT601, BT709, COEFFICIENTS, LumaFormat
from ...errors import VideoError
from .passthrough import is_heard
from .planes import JPEG_RANGE, MPEG_RANGE, has_luma_plane, plain, plane_of

__all__ = ["PyAVFrame", "PyAVReader"]

Float32 = npt.NDArray[np.float32]
log = logging.getLogger("colorcv")

# Codecs whose grey frames are pictures of the full range where no tag says otherwise.
FULL_RANGE_GREY = {"png", "ffv1", "rawvideo", "mjpeg", "bmp", "tiff", "gif", "huffyuv", "ffvhuff"}


@dataclass
class PyAVFrame:
    """A decoded frame, and what the network will see of it."""

    frame: Any  # av.VideoFrame
    lightness: Float32
    time_s: float


# Tags in another encoding are no reason to lose a film. PyAV 19 replaces what it cannot read.
_TAGS: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)


class PyAVReader:
    """Decode the best video stream of a film, and hand on the packets of the others.

    Parameters
    ----------
    path : Path
    input_hw : (int, int)
        The size of the network's lightness.
    start, end : float or None
        Seconds from the film's beginning; what lies outside is left out.
    with_sound : bool
        Hand on the packets of sound and subtitles.
    """

    def __init__(
        self,
        path: Path,
        input_hw: tuple[int, int],
        *,
        start: float | None,
        end: float | None,
        with_sound: bool,
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        self.damaged = 0
        self.varies = False  # whether it does, every frame keeps its time
        self._next_pts = 0
        self._input_hw = input_hw
        self._start, self._end = start, end
        try:
            # "file:" and the whitelist: a name with a colon, or a playlist, opens nothing else.
            self.container = av.open(
                f"file:{path}",
                container_options={"protocol_whitelist": "file"},
                **_TAGS,
            )
        except (av.error.FFmpegError, OSError, ValueError) as err:
            raise VideoError(
                f"{path} cannot be read as a film: {plain(err)}; is it complete, and a film?"
            ) from err
        try:
            self._open(with_sound)
        except BaseException:
            self.container.close()
            raise

    def _open(self, with_sound: bool) -> None:
        streams = self.container.streams
        covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
        films = [s for s in streams.video if s.codec_context and not s.disposition & covers]
        if not films:
            raise VideoError(f"{self.path} has no video that FFmpeg can decode: is it a film?")
        best: Any = max(films, key=lambda s: s.width * s.height)  # of equals the first
        self.stream = best
        best.thread_type = "AUTO"
        if len(films) > 1:
            self.notes.append(
                f"of {len(films)} video streams the largest was coloured (stream {best.index})"
            )
        self.audio = [s for s in streams.audio if is_heard(s)] if with_sound else []
        if with_sound and len(self.audio) < len(streams.audio):
            self.notes.append("sound that cannot be made out was left out: it is damaged")
        self.subtitles: list[Any] = list(streams.subtitles) if with_sound else []
        for kind, others in (("attachment", streams.attachments), ("data", streams.data)):
            if others:
                self.notes.append(f"{len(others)} {kind} stream(s) were left out")
        rate = Fraction(best.average_rate or best.guessed_rate or 25)
        self.rate = rate if rate <= 1000 else Fraction(25)  # 90000 stands for "not known"
        self.time_base = Fraction(best.time_base or 1 / self.rate)
        self._beginning = Fraction(self.container.start_time or 0, av.time_base)
        # Times are counted from the film's beginning only where a part is cut out: a whole film
        # keeps every time stamp as it is.
        self.offset = self._beginning + Fraction(self._start or 0) if self._start else Fraction(0)
        if self._start:
            self.container.seek(int((self._beginning + Fraction(self._start)) * av.time_base))
        self._items: Iterator[Any] = self._decoded()
        self._early: list[Any] = []  # packets that come before the first frame
        for item in self._items:
            if isinstance(item, av.VideoFrame):
                break
            self._early.append(item)
        else:
            part = " in the part asked for" if self.is_part else ""
            raise VideoError(f"{self.path} has no frame that can be decoded{part}")
        self._first: Any = item
        self._describe(item)

    def _describe(self, frame: Any) -> None:
        """What all frames have in common, from the first one."""
        context = self.stream.codec_context
        self.size_wh = frame.width, frame.height
        self.rotation = int(frame.rotation) % 360
        name = frame.format.name
        # What carries no matrix is taken as players take it: BT.709 from 720 lines on.
        by_size = BT709 if frame.height >= 720 else BT601
        said = int(frame.colorspace)
        self.matrix = said if said in COEFFICIENTS else by_size
        grey_picture = name.startswith("gray") and context.name in FULL_RANGE_GREY
        said = int(frame.color_range) or (JPEG_RANGE if grey_picture else 0)
        converted = frame.format.is_rgb or frame.format.has_palette
        self.full_range = not converted and (said == JPEG_RANGE or name.startswith("yuvj"))
        self.sample_aspect_ratio = self.stream.sample_aspect_ratio
        self.primaries, self.transfer = int(frame.color_primaries), int(frame.color_trc)
        side = frame.side_data.get("DISPLAYMATRIX")
        self.display_matrix = None if side is None else list(np.frombuffer(side, "<i4"))
        if frame.interlaced_frame:
            self.notes.append("interlaced film is written as progressive, its lines as they are")

    def set_output_format(self, pixel_format: str) -> None:
        """Say which format will be written: frames are read in it where theirs cannot be kept."""
        self.output_format = pixel_format
        self.luma = LumaFormat(
            10 if pixel_format.endswith("10le") else 8, self.full_range, self.matrix
        )

    @property
    def is_part(self) -> bool:
        """Whether only a part of the film was asked for."""
        return self._start is not None or self._end is not None

    @property
    def bits(self) -> int:
        """How many bits the source's luma has."""
        return int(max(part.bits for part in self._first.format.components))

    @property
    def total(self) -> int | None:
        """How many frames there will be, as far as the file says."""
        whole: float | None = self.duration_s
        frames = self.stream.frames or (int(whole * self.rate) if whole else 0)
        if not self.is_part:
            return frames or None
        if whole is None:
            return None
        length = min(whole, self._end or whole) - (self._start or 0)
        return max(1, round(float(length * self.rate)))

    @property
    def duration_s(self) -> float | None:
        """How long the file says that it is."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        if self.container.duration:
            return float(self.container.duration / av.time_base)
        return None

    def read(self, shot: Callable[[PyAVFrame], None], packet: Callable[[Any], None]) -> None:
        """Hand on every frame as a shot, and the packets of other streams, in the file's order."""
        for early in self._early:
            packet(early)
        shot(self._shot(self._first))
        last_pts, moved = int(self._first.pts), 0
        for item in self._items:
            if not isinstance(item, av.VideoFrame):
                packet(item)
                continue
            frame: Any = item
            if frame.pts <= last_pts:
                frame.pts, moved = last_pts + 1, moved + 1  # no encoder takes a time twice
            last_pts = frame.pts
            shot(self._shot(frame))
        self._note_early_end(float(last_pts * self.time_base))
        if moved:
            self.notes.append(f"{moved} time stamp(s) that did not grow were moved by a tick")

    def _shot(self, frame: Any) -> PyAVFrame:
        frame = self.readable(frame)
        height, width = self._input_hw
        turns = self.rotation // 90
        if turns % 2:
            height, width = width, height
        lightness = self.luma.lightness_at(plane_of(frame, 0, self.luma.bits), (height, width))
        # The network sees the frame as the audience does; rotation counts counter-clockwise.
        upright = np.ascontiguousarray(np.rot90(lightness, turns))
        return PyAVFrame(frame, np.clip(upright, 0, 100), float(frame.pts * self.time_base))

    def readable(self, frame: Any) -> Any:
        """The frame itself where its luma plane can be read as it is, else converted."""
        same_size = (frame.width, frame.height) == self.size_wh
        if same_size and has_luma_plane(frame.format, self.luma.bits):
            return frame
        matrix = {4: 4, 5: 5, 6: 5, 7: 7, 9: 9}.get(self.matrix, 1)  # as swscale counts them
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

    def _decoded(self) -> Iterator[Any]:
        """Frames inside the part asked for, and other streams' packets, damage skipped."""
        begin = self.offset if self._start else None
        end = None if self._end is None else self._beginning + Fraction(self._end)
        going = {self.stream.index, *(s.index for s in self.audio)}
        for packet in self._packets():
            if packet is None or packet.stream.index == self.stream.index:
                if self.stream.index not in going:
                    continue
                for frame in self._frames_of(packet):
                    at = frame.pts * self.time_base
                    if end is not None and at >= end:
                        going.discard(self.stream.index)
                        break
                    if begin is None or at >= begin:
                        frame.pts -= round(self.offset / self.time_base)
                        yield frame
            elif packet.size and (packet.pts is not None or packet.dts is not None):
                base = packet.time_base
                at = (packet.pts if packet.pts is not None else packet.dts) * base
                if end is not None and at >= end:
                    going.discard(packet.stream.index)
                elif begin is None or at >= begin:
                    if self.offset:
                        shift = round(self.offset / base)
                        packet.pts = None if packet.pts is None else packet.pts - shift
                        packet.dts = None if packet.dts is None else packet.dts - shift
                    yield packet
            if not going:
                return

    def _packets(self) -> Iterator[Any]:
        wanted = [self.stream, *self.audio, *self.subtitles]
        try:
            yield from self.container.demux(wanted)
        except av.error.FFmpegError as err:
            self.damaged += 1
            self.notes.append(f"reading stopped: {plain(err)}")
            yield None  # what the decoder still holds is shown

    def _frames_of(self, packet: Any | None) -> list[Any]:
        try:
            frames = self.stream.decode(packet)
        except av.error.FFmpegError as err:
            self.damaged += 1
            log.warning("%s: a damaged packet is skipped: %s", self.path, plain(err))
            return []
        for frame in frames:
            if frame.pts is None:
                frame.pts = self._next_pts
                frame.time_base = self.time_base
            self._next_pts = frame.pts + max(1, round(1 / (self.rate * self.time_base)))
        return list(frames)

    def _note_early_end(self, last_s: float) -> None:
        whole = self.duration_s
        if self._end is not None or whole is None:
            return
        # Some containers count their duration from 0, some from the first frame.
        end_s = last_s + float(1 / self.rate) + (self._start or 0)
        slack_s = max(0.5, 2 / float(self.rate))
        if max(end_s, end_s - float(self._beginning)) < whole - slack_s:
            self.notes.append(f"the film ends at {end_s:.2f} s of the {whole:.2f} s it announces")

    def close(self) -> None:
        """Close the file."""
        self.container.close()
