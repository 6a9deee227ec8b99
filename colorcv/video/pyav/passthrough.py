"""Copy or re-encode audio; copy subtitles and attachments."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from ..._logging import logger
from .planes import error_text

__all__ = ["AudioMethod", "PassthroughStreams", "audio_methods", "is_decodable"]

# FFmpeg's default layout for each number of channels.
DEFAULT_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")


@dataclass(frozen=True)
class AudioMethod:
    """A method of adding an audio stream to the output.

    Attributes
    ----------
    encoder : str or None
        Name of the encoder; None copies the packets, "" leaves the stream out.
    layout : str
        Channel layout of the encoder.
    """

    encoder: str | None = None
    layout: str = ""


def audio_methods(stream: Any, default_encoder: str) -> Iterator[AudioMethod]:
    """Yield the methods to try for an audio stream, best first; the last one leaves it out."""
    yield AudioMethod()
    name, count = _channel_layout(stream.codec_context)
    if _is_named(name):
        for encoder in dict.fromkeys(("aac", "libopus", default_encoder)):
            if _has_encoder(encoder):
                own = DEFAULT_LAYOUTS[count - 1] if name == f"{count} channels" else name
                yield AudioMethod(encoder, own)
                yield AudioMethod(encoder, "stereo")
    yield AudioMethod("")


class PassthroughStreams:
    """Audio, subtitle and attachment streams of the output.

    Parameters
    ----------
    container : av.container.OutputContainer
        Its header must not have been written yet.

    Attributes
    ----------
    damaged : int
        Packets that could not be copied or decoded, and were skipped.
    """

    def __init__(self, container: Any) -> None:
        self._container = container
        self._copies: dict[int, Any] = {}
        self._encoders: dict[int, Any] = {}
        self._last_dts: dict[int, int] = {}
        self._next_sample: dict[int, int] = {}
        self._decoders: dict[int, Any] = {}
        self._last_decoded: dict[int, Any] = {}
        self._last_copied: dict[int, tuple[int, int, int, Fraction]] = {}
        self.damaged = 0

    def add(self, stream: Any, method: AudioMethod | None = None) -> None:
        """Add a stream of the source; its packets are copied unless `method` has an encoder.

        Raises
        ------
        ValueError, av.error.FFmpegError
            The container or the encoder does not take it.
        """
        if method is None or method.encoder is None:
            copy = self._container.add_stream_from_template(stream)
            _copy_labels(copy, stream)
            self._copies[stream.index] = copy
        elif method.encoder:
            self._add_encoder(stream, method.encoder, method.layout)

    def _add_encoder(self, stream: Any, name: str, layout: str) -> None:
        rates = av.Codec(name, "w").audio_rates
        source_rate = stream.codec_context.sample_rate
        if rates and source_rate not in rates:  # the next higher one, else the highest
            source_rate = min((r for r in rates if r > source_rate), default=max(rates))
        encoder = self._container.add_stream(name, rate=source_rate)
        encoder.layout = layout
        encoder.bit_rate = 96_000 * av.AudioLayout(layout).nb_channels
        _copy_labels(encoder, stream)
        self._encoders[stream.index] = encoder
        self._decoders[stream.index] = stream.codec_context

    def mux(self, packet: Any) -> None:
        """Copy or re-encode one packet of the source."""
        index = packet.stream.index
        if index in self._copies:
            if not self._has_valid_timestamps(packet):
                self.damaged += 1
                return
            packet.stream = self._copies[index]
            if packet.stream.type == "audio":
                self._last_copied[index] = (
                    packet.size, packet.dts, packet.duration, packet.time_base
                )  # fmt: skip
            self._container.mux(packet)
        elif index in self._encoders:
            try:
                frames = packet.decode()
            except av.error.FFmpegError as err:
                logger.info("skipped a damaged audio packet (%s)", error_text(err))
                self.damaged += 1
                return
            for frame in frames:
                self._encode(frame, index)

    def _encode(self, frame: Any, index: int) -> None:
        frame = _with_named_layout(frame)
        self._set_time(frame, index)
        self._last_decoded[index] = frame
        self._container.mux(self._encoders[index].encode(frame))

    def _set_time(self, frame: Any, index: int) -> None:
        """Count the time of decoded audio in samples, but follow jumps of more than 0.1 s.

        The time stamps of some containers are too coarse for an encoder, or missing.
        """
        rate = frame.sample_rate
        expected = self._next_sample.get(index)
        if frame.pts is not None and frame.time_base is not None:
            stated = round(frame.pts * frame.time_base * rate)
            if expected is None or stated - expected > rate // 10:
                expected = stated
        frame.pts, frame.time_base = expected or 0, Fraction(1, rate)
        self._next_sample[index] = frame.pts + frame.samples

    def _has_valid_timestamps(self, packet: Any) -> bool:
        """Fill in missing time stamps; return True if a muxer accepts the packet's."""
        if packet.dts is None:
            packet.dts = packet.pts
        if packet.pts is None:
            packet.pts = packet.dts
        index, last = packet.stream.index, self._last_dts.get(packet.stream.index)
        # Subtitles may start at the same time, audio packets may not.
        min_step = 0 if packet.stream.type == "subtitle" else 1
        if packet.pts < packet.dts or (last is not None and packet.dts < last + min_step):
            logger.info("skipped a packet of %s out of order", packet.stream.type)
            return False
        self._last_dts[index] = packet.dts
        return True

    def flush(self, min_s: float = 0.0) -> None:
        """Flush decoders and encoders, and write what they return.

        Parameters
        ----------
        min_s : float
            Append silence to audio that ends before this: MXF ends with its shortest stream.
        """
        for index, encoder in self._encoders.items():
            try:
                frames = self._decoders[index].decode(None)
            except av.error.FFmpegError:
                frames = []
            for frame in frames:
                self._encode(frame, index)
            last = self._last_decoded.get(index)
            while last is not None and self._next_sample[index] < min_s * last.sample_rate:
                samples = last.to_ndarray()
                zero = 128 if samples.dtype == np.uint8 else 0
                silence = av.AudioFrame.from_ndarray(
                    np.full_like(samples, zero), last.format.name, last.layout.name
                )
                silence.sample_rate = last.sample_rate
                self._encode(silence, index)
            self._container.mux(encoder.encode(None))
        for index, (size, dts, duration, base) in self._last_copied.items():
            while duration and (dts + duration) * base < min_s:
                dts += duration
                packet = av.Packet(bytes(size))
                packet.pts = packet.dts = dts
                packet.duration, packet.time_base = duration, base
                packet.stream = self._copies[index]
                self._container.mux(packet)


def _copy_labels(stream: Any, source: Any) -> None:
    for key in ("language", "title", "handler_name", "filename", "mimetype"):
        if key in source.metadata:
            stream.metadata[key] = source.metadata[key]
    stream.disposition = source.disposition


def is_decodable(stream: Any) -> bool:
    """Return True if the parameters of an audio stream are known: damaged ones have none."""
    context = stream.codec_context
    return bool(context and context.sample_rate and _channel_layout(context)[1])


def _channel_layout(context: Any) -> tuple[str, int]:
    """Return the name and the number of channels of a codec context's layout."""
    layout = context.layout
    # PyAV 18 shares a custom layout's channel map with the context, and both free it: 8 channels of
    # PCM in MOV crashed the process ("double free or corruption"). So the layout, a few bytes for
    # each file opened, is never freed.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
    return str(layout.name), int(layout.nb_channels)


def _has_encoder(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except ValueError:  # also for a decoder of this name
        return False
    return True


def _is_named(layout: str) -> bool:
    """Return True for layouts in FFmpeg's own order and for plain numbers of channels.

    Frames of other layouts must not be decoded: PyAV would free their channel maps twice.
    """
    if layout.split(" ")[0].isdigit():
        return layout.endswith(" channels") and int(layout.split(" ")[0]) <= len(DEFAULT_LAYOUTS)
    try:
        av.AudioLayout(layout)
    except ValueError:
        return False
    return "+" not in layout and "@" not in layout


def _with_named_layout(frame: Any) -> Any:
    """Return the frame with the default layout if it has only a number of channels."""
    count = frame.layout.nb_channels
    if frame.layout.name != f"{count} channels":
        return frame
    named = av.AudioFrame.from_ndarray(
        frame.to_ndarray(), format=frame.format.name, layout=DEFAULT_LAYOUTS[count - 1]
    )
    named.sample_rate, named.pts = frame.sample_rate, frame.pts
    if frame.time_base is not None:
        named.time_base = frame.time_base
    return named
