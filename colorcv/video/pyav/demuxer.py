"""Demux with PyAV: choice of streams, continuous time stamps, trimming."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from ...errors import VideoError
from ..options import VideoOptions
from .passthrough import is_decodable
from .planes import error_text
from .timestamps import MAX_GAP_S, DiscontinuityCorrector

__all__ = ["Demuxer", "open_input", "select_video"]

# Metadata that is not UTF-8 must not raise an error. PyAV 19 replaces such bytes by itself.
_METADATA_ERRORS: dict[str, Any] = (
    {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
)
# Containers that store packets without times of presentation; FFmpeg's guesses are not in order.
_NO_PTS = {"avi"}
_MAX_REORDERED = 16  # frames by which decoding may be ahead of presentation (H.264, HEVC)
# Longest time in seconds before `start` at which a subtitle still shown at `start` may begin.
_MAX_SUBTITLE_S = 30


def open_input(path: Path) -> Any:
    """Open a video file; return an `av.container.InputContainer`.

    Raises
    ------
    VideoError
        FFmpeg cannot read it.
    """
    try:
        # "file:" and the whitelist keep a name with a colon, or a playlist, from opening a URL.
        return av.open(
            f"file:{path}",
            container_options={"protocol_whitelist": "file"},
            **_METADATA_ERRORS,
        )
    except (av.error.FFmpegError, OSError, ValueError) as err:
        raise VideoError(
            f"{path}: cannot read it as a video ({error_text(err)}); is it complete, and a video?"
        ) from err


def select_video(path: Path, container: Any) -> tuple[Any, int]:
    """Return the largest video stream, the first of equal ones, and the number of streams.

    Raises
    ------
    VideoError
        There is no video stream; cover images do not count.
    """
    cover_flags = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    video_streams = [
        s for s in container.streams.video if s.codec_context and not s.disposition & cover_flags
    ]
    if not video_streams:
        raise VideoError(f"{path}: no video stream that FFmpeg can decode")
    stream = max(video_streams, key=lambda s: int(s.width * s.height))
    stream.thread_type = "AUTO"
    return stream, len(video_streams)


class Demuxer:
    """Packets of the largest video stream of a file and of the streams to pass on.

    Parameters
    ----------
    path : Path
    options : VideoOptions
        `start` and `end` are used, and `audio`: with "none" there are packets of video only.

    Attributes
    ----------
    container : av.container.InputContainer
    stream : av.video.stream.VideoStream
    audio, subtitles, attachments : list of av streams
        Streams to pass on.
    rate : Fraction
        Frames per second, the mean where they vary.
    time_base : Fraction
        Unit of the video's time stamps.
    start_s : Fraction
        Start of the file by its own clock.
    offset_s : Fraction
        Seconds that are subtracted from every time stamp.
    stop_s : Fraction
        End of the last packet read so far, of any stream.
    has_pts : bool
        False if the container stores no times of presentation, and `packet.pts` is a guess; then a
        decoded frame is shown at `frame.dts` less `delay`.
    delay : int
        Ticks by which B frames delay the first frame; 0 if `has_pts`.
    notes : list of str
    damaged : int

    Raises
    ------
    VideoError
        The file cannot be read, or has no video.
    """

    def __init__(self, path: Path, options: VideoOptions) -> None:
        self.path = path
        self.notes: list[str] = []
        self.damaged = 0
        self.stop_s = Fraction(0)
        self.container = open_input(path)
        try:
            self._select_streams(options.audio != "none")
            self._set_clock(options)
        except BaseException:
            self.container.close()
            raise

    def _select_streams(self, passthrough: bool) -> None:
        streams = self.container.streams
        self.stream, count = select_video(self.path, self.container)
        if count > 1:
            self.notes.append(
                f"of {count} video streams only the largest was coloured "
                f"(stream {self.stream.index})"
            )
        self.audio = [s for s in streams.audio if is_decodable(s)] if passthrough else []
        if passthrough and len(self.audio) < len(streams.audio):
            self.notes.append("a damaged audio stream was left out")
        self.subtitles: list[Any] = list(streams.subtitles) if passthrough else []
        self.attachments: list[Any] = list(streams.attachments)
        if streams.data:
            self.notes.append(f"{len(streams.data)} data stream(s) were left out")
        passed_on = (self.stream, *self.audio, *self.subtitles)
        self._selected = {stream.index for stream in passed_on}
        rate = Fraction(self.stream.average_rate or self.stream.guessed_rate or 25)
        self.rate = rate if rate <= 1000 else Fraction(25)  # 90000 stands for "unknown"
        self.time_base = Fraction(self.stream.time_base or 1 / self.rate)

    def _set_clock(self, options: VideoOptions) -> None:
        self.has_pts = self.container.format.name not in _NO_PTS
        self._reorder_s = 0 if self.has_pts else _MAX_REORDERED / self.rate
        self.delay = 0 if self.has_pts else _decoding_delay(self.path, self.rate * self.time_base)
        is_discontinuous = bool(self.container.format.flags & av.format.Flags.ts_discont.value)
        self._corrector = DiscontinuityCorrector(may_jump_ahead=is_discontinuous)
        self.start_s = Fraction(self.container.start_time or 0, av.time_base)
        start = Fraction(options.start or 0)
        # The clocks of MPEG-TS and similar formats start anywhere, and players subtract the start;
        # those of MP4, MOV and MKV start at 0, and players show nothing until the first frame.
        is_rebased = bool(start) or is_discontinuous or abs(self.start_s) > MAX_GAP_S
        self.offset_s = self.start_s + start if is_rebased else Fraction(0)
        self._begin_s = self.offset_s if start else None
        self._end_s = None if options.end is None else self.start_s + Fraction(options.end)
        # Seeking fails where time stamps jump, so such files are read from their start.
        if start and not is_discontinuous:
            seek_s = self.offset_s - (_MAX_SUBTITLE_S if self.subtitles else 0) - self._reorder_s
            self.container.seek(int(max(self.start_s, seek_s) * av.time_base))

    @property
    def jumps(self) -> int:
        """Number of jumps in the time stamps corrected so far."""
        return self._corrector.jumps

    def packets(self) -> Iterator[Any]:
        """Yield packets in file order, and None at the end if reading stopped early.

        Time stamps are continuous and count from `offset_s`. All video packets needed to decode the
        requested part are included; packets of other streams lie inside it. Empty packets flush the
        decoder.
        """
        active_streams = {self.stream.index, *(s.index for s in self.audio)}
        for packet in self._skip_to_start():
            if packet is None:
                yield None
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            is_video = packet.stream.index == self.stream.index
            if not is_video and (not packet.size or stamp is None):
                continue
            if is_video:  # until the decode time is past the end, frames before it may follow
                stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None:
                time_s = stamp * packet.time_base
                end_s = self._end_s
                if end_s is not None and is_video:
                    end_s += self._reorder_s
                if end_s is not None and time_s >= end_s:
                    active_streams.discard(packet.stream.index)
                    if not active_streams:
                        yield None  # flushes the decoder
                        return
                    continue
                is_early = self._begin_s is not None and time_s < self._begin_s
                if is_early and not is_video and not self._cut_subtitle(packet, time_s):
                    continue
            self._shift(packet)
            yield packet

    def _cut_subtitle(self, packet: Any, time_s: Fraction) -> bool:
        """Make a subtitle that is shown at `start` begin there; return False for other packets."""
        stop_s = time_s + (packet.duration or 0) * packet.time_base
        if packet.stream.type != "subtitle" or self._begin_s is None or stop_s <= self._begin_s:
            return False
        packet.pts = packet.dts = round(self._begin_s / packet.time_base)
        packet.duration = round((stop_s - self._begin_s) / packet.time_base)
        return True

    def _shift(self, packet: Any) -> None:
        if self.offset_s and packet.size:
            shift = round(self.offset_s / packet.time_base)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts = None if packet.dts is None else packet.dts - shift

    def _skip_to_start(self) -> Iterator[Any]:
        """Yield packets, without the video packets that no frame from `start` on needs."""
        begin_s = self._begin_s
        pending: list[Any] = []  # video packets from the last key frame before the start
        for packet in self._demux():
            if begin_s is None or packet is None or packet.stream.index != self.stream.index:
                if packet is None:
                    yield from pending
                yield packet
                continue
            stamp = packet.dts if packet.dts is not None else packet.pts
            if packet.is_keyframe and stamp is not None:
                has_pts = self.has_pts and packet.pts is not None
                shown_s = (packet.pts if has_pts else stamp) * packet.time_base
                if shown_s <= begin_s - self._reorder_s:
                    pending.clear()
            pending.append(packet)
            if not packet.size or (stamp is not None and stamp * packet.time_base >= begin_s):
                begin_s = None
                yield from pending

    def _demux(self) -> Iterator[Any]:
        try:
            streams = self.container.streams
            for packet in self.container.demux([self.stream, *streams.audio, *self.subtitles]):
                self._corrector.correct(packet)
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None:
                    stop_s = (stamp + (packet.duration or 0)) * packet.time_base
                    self.stop_s = max(self.stop_s, stop_s)
                if packet.stream.index in self._selected:
                    yield packet
        except av.error.FFmpegError as err:
            self.damaged += 1
            self.notes.append(f"reading stopped: {error_text(err)}")
            yield None

    def close(self) -> None:
        """Close the file."""
        self.container.close()


def _decoding_delay(path: Path, frames_per_tick: Fraction) -> int:
    """Return the ticks between the first packet of a file and the first frame that is decoded.

    Frames leave the decoder in the order of presentation, with the decoding time of the packet that
    completed them. The first frame belongs to the first packet.
    """
    key_dts = None
    with open_input(path) as container:
        stream, _ = select_video(path, container)
        try:
            for packet in container.demux(stream):
                if packet.is_keyframe and key_dts is None:
                    key_dts = packet.dts
                for frame in stream.decode(packet):
                    delay = 0 if key_dts is None or frame.dts is None else frame.dts - key_dts
                    return delay if 0 < delay * frames_per_tick <= _MAX_REORDERED else 0
        except av.error.FFmpegError:
            pass  # the damage is reported where the file is read
    return 0
