"""Copying and re-encoding of audio and subtitles."""

from __future__ import annotations

import logging
from typing import Any

import av

from ...errors import VideoError
from ..transcode import AudioOutcome

__all__ = ["PassthroughStreams", "is_decodable"]

logger = logging.getLogger("colorcv")


class PassthroughStreams:
    """Audio and subtitle streams of the output, copied where the container takes them.

    Parameters
    ----------
    container : av.container.OutputContainer
    audio, subtitles : list of av streams
        Streams of the source.
    required : bool
        Raise an error if audio cannot be kept.

    Attributes
    ----------
    outcome : AudioOutcome
    damaged : int
        Packets that could not be copied or decoded, and were skipped.
    notes : list of str
        Subtitles that were left out.

    Raises
    ------
    VideoError
        `required`, and audio cannot be kept.
    """

    def __init__(
        self, container: Any, audio: list[Any], subtitles: list[Any], required: bool
    ) -> None:
        self._container = container
        self._copies: dict[int, Any] = {}
        self._encoders: dict[int, Any] = {}
        self._last_dts: dict[int, int] = {}
        self.damaged = 0
        self.notes: list[str] = []
        kind = container.format.name.split(",")[0]
        state, reason = "none", "the source has no sound"
        for stream in audio:
            name = stream.codec_context.name
            if self._copy(stream):
                if state == "none":
                    state, reason = "copied", f"every packet as it was ({name})"
            elif encoder := self._encode(stream):
                state = "encoded"
                reason = f"{kind} does not take {name}: encoded anew as {encoder}"
            else:
                state = "dropped"
                reason = f"{kind} takes neither {name} nor anything it could be encoded as"
        for stream in subtitles:
            if not self._copy(stream):
                name = stream.codec_context.name if stream.codec_context else "unknown"
                self.notes.append(f"subtitles ({name}) were left out: {kind} does not take them")
        if state == "dropped":
            if required:
                raise VideoError(f"{reason}; audio='keep' wants it: write to .mkv")
            logger.warning("the sound is dropped: %s", reason)
        self.outcome = AudioOutcome(state, reason)

    def _copy(self, stream: Any) -> bool:
        try:
            copy = self._container.add_stream_from_template(stream)
        except (ValueError, av.error.FFmpegError):
            return False
        _copy_labels(copy, stream)
        self._copies[stream.index] = copy
        return True

    def _encode(self, stream: Any) -> str | None:
        """Add an encoder for a stream that cannot be copied; return its name, or None."""
        default_codec = self._container.default_audio_codec
        context = stream.codec_context
        for name in ("aac", "libopus", default_codec):
            if name not in av.codecs_available or name == "none":
                continue
            rate = 48000 if name == "libopus" else context.sample_rate
            try:
                encoder = self._container.add_stream(name, rate=rate)
            except (ValueError, av.error.FFmpegError):
                continue
            encoder.layout = context.layout
            encoder.bit_rate = 96_000 * max(1, context.layout.nb_channels)
            _copy_labels(encoder, stream)
            self._encoders[stream.index] = encoder
            return str(name)
        return None

    def mux(self, packet: Any) -> None:
        """Copy or re-encode one packet of the source."""
        index = packet.stream.index
        if index in self._copies:
            if not self._has_valid_timestamps(packet):
                self.damaged += 1
                return
            packet.stream = self._copies[index]
            self._container.mux(packet)
        elif index in self._encoders:
            try:
                frames = packet.decode()
            except av.error.FFmpegError as err:
                logger.warning("a damaged packet of sound is skipped: %s", err)
                self.damaged += 1
                return
            for frame in frames:
                self._container.mux(self._encoders[index].encode(frame))

    def _has_valid_timestamps(self, packet: Any) -> bool:
        """Return True if a muxer takes the packet's time stamps; missing ones are filled in."""
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.pts is None:
            packet.pts = packet.dts
        index, last = packet.stream.index, self._last_dts.get(packet.stream.index)
        # Subtitles may start at the same time, audio packets may not.
        min_step = 0 if packet.stream.type == "subtitle" else 1
        if packet.pts < packet.dts or (last is not None and packet.dts < last + min_step):
            logger.warning("a packet of sound or subtitles out of order is skipped")
            return False
        self._last_dts[index] = packet.dts
        return True

    def flush(self) -> None:
        """Write the packets that the encoders still hold."""
        for encoder in self._encoders.values():
            self._container.mux(encoder.encode(None))


def _copy_labels(stream: Any, source: Any) -> None:
    for key in ("language", "title", "handler_name"):
        if key in source.metadata:
            stream.metadata[key] = source.metadata[key]
    stream.disposition = source.disposition


def is_decodable(stream: Any) -> bool:
    """Return True if the parameters of an audio stream are known: damaged ones have none."""
    context = stream.codec_context
    return bool(context and context.sample_rate and context.layout.nb_channels)
