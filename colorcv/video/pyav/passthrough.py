"""Sound and subtitles of a film: packet by packet, encoded anew only where they must be."""

from __future__ import annotations

import logging
from typing import Any

import av

from ...errors import VideoError

__all__ = ["Sound", "is_heard"]

log = logging.getLogger("colorcv")


class Sound:
    """The streams of a new film that come from its source unchanged, or nearly.

    Parameters
    ----------
    container : av.container.OutputContainer
        Where they go.
    audio, subtitles : list of av streams
        What the source has.
    must_keep : bool
        Sound that cannot be kept is an error.

    Attributes
    ----------
    state : {"copied", "encoded", "none", "dropped"}
    reason : str
        Why that state, in a sentence.
    damaged : int
        How many packets could not be taken and were skipped.
    """

    def __init__(
        self, container: Any, audio: list[Any], subtitles: list[Any], must_keep: bool
    ) -> None:
        self._container = container
        self._copies: dict[int, Any] = {}
        self._encoders: dict[int, Any] = {}
        self._last: dict[int, int] = {}
        self.damaged = 0
        self.notes: list[str] = []
        kind = container.format.name.split(",")[0]
        self.state, self.reason = "none", "the source has no sound"
        for stream in audio:
            name = stream.codec_context.name
            if self._copy(stream):
                if self.state == "none":
                    self.state, self.reason = "copied", f"every packet as it was ({name})"
            elif encoder := self._encode(stream):
                self.state = "encoded"
                self.reason = f"{kind} does not take {name}: encoded anew as {encoder}"
            else:
                self.state = "dropped"
                self.reason = f"{kind} takes neither {name} nor anything it could be encoded as"
        for stream in subtitles:
            if not self._copy(stream):
                name = stream.codec_context.name if stream.codec_context else "unknown"
                self.notes.append(f"subtitles ({name}) were left out: {kind} does not take them")
        if self.state == "dropped":
            if must_keep:
                raise VideoError(f"{self.reason}; audio='keep' wants it: write to .mkv")
            log.warning("the sound is dropped: %s", self.reason)

    def _copy(self, stream: Any) -> bool:
        try:
            copy = self._container.add_stream_from_template(stream)
        except (ValueError, av.error.FFmpegError):
            return False
        _label(copy, stream)
        self._copies[stream.index] = copy
        return True

    def _encode(self, stream: Any) -> str | None:
        """Add an encoder for what cannot be copied; return its name."""
        usual = self._container.default_audio_codec
        context = stream.codec_context
        for name in ("aac", "libopus", usual):
            if name not in av.codecs_available or name == "none":
                continue
            rate = 48000 if name == "libopus" else context.sample_rate
            try:
                encoder = self._container.add_stream(name, rate=rate)
            except (ValueError, av.error.FFmpegError):
                continue
            encoder.layout = context.layout
            encoder.bit_rate = 96_000 * max(1, context.layout.nb_channels)
            _label(encoder, stream)
            self._encoders[stream.index] = encoder
            return str(name)
        return None

    def take(self, packet: Any) -> None:
        """Copy or encode one packet of the source."""
        index = packet.stream.index
        if index in self._copies:
            if not self._in_order(packet):
                self.damaged += 1
                return
            packet.stream = self._copies[index]
            self._container.mux(packet)
        elif index in self._encoders:
            try:
                frames = packet.decode()
            except av.error.FFmpegError as err:
                log.warning("a damaged packet of sound is skipped: %s", err)
                self.damaged += 1
                return
            for frame in frames:
                self._container.mux(self._encoders[index].encode(frame))

    def _in_order(self, packet: Any) -> bool:
        """Say whether a packet's times are such that a muxer takes them; note them if so."""
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.pts is None:
            packet.pts = packet.dts
        index, last = packet.stream.index, self._last.get(packet.stream.index)
        # Two subtitles may be shown at once; two pieces of sound cannot be.
        step = 0 if packet.stream.type == "subtitle" else 1
        if packet.pts < packet.dts or (last is not None and packet.dts < last + step):
            log.warning("a packet of sound or subtitles out of order is skipped")
            return False
        self._last[index] = packet.dts
        return True

    def finish(self) -> None:
        """Write what the encoders still hold."""
        for encoder in self._encoders.values():
            self._container.mux(encoder.encode(None))


def _label(stream: Any, source: Any) -> None:
    for key in ("language", "title", "handler_name"):
        if key in source.metadata:
            stream.metadata[key] = source.metadata[key]
    stream.disposition = source.disposition


def is_heard(stream: Any) -> bool:
    """Say whether a sound stream is whole enough to be taken along."""
    context = stream.codec_context
    return bool(context and context.sample_rate and context.layout.nb_channels)
