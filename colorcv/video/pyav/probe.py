"""Find out which streams a container can hold, by writing a short file of its kind to memory."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cached_property
from typing import Any

import av
import numpy as np

from ..._logging import logger
from ...errors import VideoError
from ..transcode import AudioOutcome
from .demuxer import Demuxer, open_input
from .passthrough import AudioMethod, PassthroughStreams, audio_methods
from .planes import error_text, plane_view
from .writer import PyAVWriter

__all__ = ["add_passthrough_streams"]

_ERRORS = (av.error.FFmpegError, ValueError, OSError, VideoError)
_FRAMES = 4  # x265 gives a single frame a decode time that Matroska refuses
_TAKE_ANY_VIDEO = ("mp4", "matroska")  # of every size and rate: nothing to find out about it
_MAX_PACKETS = 2000  # read in search of the first packets of every audio stream


def add_passthrough_streams(
    demuxer: Demuxer,
    writer: PyAVWriter,
    new_writer: Callable[[io.BytesIO], PyAVWriter],
    required: bool,
) -> AudioOutcome:
    """Add all streams of the source to the output that its container takes.

    Parameters
    ----------
    demuxer : Demuxer
    writer : PyAVWriter
        Gets the streams, and notes about those that are left out.
    new_writer : callable
        Returns a writer like `writer` that writes to memory.
    required : bool
        Raise an error if an audio stream cannot be kept.

    Returns
    -------
    AudioOutcome

    Raises
    ------
    VideoError
        The container does not take the video, or `required` and it does not take the audio.
    """
    container = writer.container.format.name
    with contextlib.closing(_Probe(demuxer, new_writer)) as probe:
        copies = {stream.index: AudioMethod() for stream in demuxer.audio}
        subtitles = demuxer.subtitles
        is_known = not copies and not subtitles and container in _TAKE_ANY_VIDEO
        if is_known or probe.try_streams(copies, subtitles) is None:
            methods, outcome = copies, _outcome(demuxer.audio, copies, {}, container)
        else:
            error = probe.try_streams({}, [])
            if error is not None:
                raise VideoError(
                    f"{writer.path.suffix} cannot hold {writer.codec} of this size and rate "
                    f"({error_text(error.__cause__ or error)}); use .mp4 or .mkv for the output"
                )
            methods, errors = _choose_audio(probe, demuxer, writer.container)
            outcome = _outcome(demuxer.audio, methods, errors, container)
            subtitles = [s for s in subtitles if probe.try_streams({}, [s]) is None]
    if outcome.state == "dropped":
        if required:
            raise VideoError(f"cannot keep the audio: {outcome.reason}; write to .mkv")
        logger.warning("audio is left out: %s", outcome.reason)
    streams = PassthroughStreams(writer.container)
    for stream in demuxer.audio:
        streams.add(stream, methods[stream.index])
    for stream in demuxer.subtitles:
        if stream in subtitles:
            streams.add(stream)
        else:
            codec = stream.codec_context.name if stream.codec_context else "unknown"
            writer.notes.append(f"subtitles ({codec}) were left out: {container} cannot hold them")
    if container == "matroska":
        for stream in demuxer.attachments:
            streams.add(stream)
    elif demuxer.attachments:
        writer.notes.append(
            f"{len(demuxer.attachments)} attachment(s), such as fonts of subtitles, were left "
            f"out: {container} cannot hold them"
        )
    writer.passthrough = streams
    return outcome


def _choose_audio(
    probe: _Probe, demuxer: Demuxer, container: Any
) -> tuple[dict[int, AudioMethod], dict[int, str]]:
    """Return the first method that works for each audio stream, and the error of copying."""
    methods: dict[int, AudioMethod] = {}
    errors: dict[int, str] = {}
    for stream in demuxer.audio:
        for method in audio_methods(stream, container.default_audio_codec):
            error = probe.try_streams({**methods, stream.index: method}, [])
            if error is None:
                methods[stream.index] = method
                break
            errors.setdefault(stream.index, error_text(error))
    return methods, errors


def _outcome(
    audio: list[Any], methods: dict[int, AudioMethod], errors: dict[int, str], container: str
) -> AudioOutcome:
    copied, encoded, dropped = [], [], []
    for stream in audio:
        codec, method = stream.codec_context.name, methods[stream.index]
        if method.encoder is None:
            copied.append(codec)
        elif method.encoder:
            encoded.append(f"{container} cannot hold {codec}: re-encoded as {method.encoder}")
        else:
            dropped.append(
                f"{container} cannot hold {codec} ({errors[stream.index]}), "
                "and it cannot be re-encoded"
            )
    if dropped:
        return AudioOutcome("dropped", "; ".join(dict.fromkeys(dropped)))
    if encoded:
        return AudioOutcome("encoded", "; ".join(dict.fromkeys(encoded)))
    if copied:
        return AudioOutcome(
            "copied", f"every packet unchanged ({', '.join(dict.fromkeys(copied))})"
        )
    return AudioOutcome("none", "the source has no audio")


class _Probe:
    """Short files in memory with the streams of the source, opened a second time."""

    def __init__(self, demuxer: Demuxer, new_writer: Callable[[io.BytesIO], PyAVWriter]) -> None:
        self._new_writer = new_writer
        self._path = demuxer.path
        self._packets = self._first_packets([s.index for s in demuxer.audio])

    @cached_property
    def _source(self) -> Any:
        return open_input(self._path)

    def _first_packets(self, indices: list[int]) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {index: [] for index in indices}
        if not indices:
            return found
        try:
            for count, packet in enumerate(self._source.demux(indices)):
                if packet.size and packet.dts is not None:
                    found[packet.stream.index].append(packet)
                if count > _MAX_PACKETS or all(len(packets) >= 3 for packets in found.values()):
                    break
        except av.error.FFmpegError as err:
            logger.debug("probing stopped early: %s", err)
        return found

    def try_streams(
        self, audio: dict[int, AudioMethod], subtitles: list[Any]
    ) -> BaseException | None:
        """Write a header, a frame and some audio; return the error, or None."""
        writer = None
        try:
            writer = self._new_writer(io.BytesIO())
            streams = writer.passthrough = PassthroughStreams(writer.container)
            for index, method in audio.items():
                streams.add(self._source.streams[index], method)
            for stream in subtitles:
                streams.add(self._source.streams[stream.index])
            writer.start()
            for number in range(_FRAMES):
                writer.write_frame(_grey_frame(writer, number))
            for index in audio:
                for packet in self._packets[index]:
                    streams.mux(_copy(packet))
            writer.close()
        except _ERRORS as err:
            if writer is not None:
                writer.abort()
            return err
        return None

    def close(self) -> None:
        """Close the source, if it was opened."""
        if "_source" in self.__dict__:
            self._source.close()


def _copy(packet: Any) -> Any:
    """Return a packet that may be changed: muxing moves the time stamps of the one it gets."""
    copy = av.Packet(bytes(packet))
    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
    copy.duration, copy.is_keyframe = packet.duration, packet.is_keyframe
    copy.stream = packet.stream
    return copy


def _grey_frame(writer: PyAVWriter, number: int) -> Any:
    context = writer.stream.codec_context
    frame = av.VideoFrame(context.width, context.height, writer.pixel_format)
    bits = 10 if writer.pixel_format.endswith("10le") else 8
    for index in range(3):
        plane_view(frame, index, bits)[:] = np.uint16(128 << (bits - 8))
    frame.pts = round(number / (writer.rate * writer.time_base))
    frame.time_base = writer.time_base
    return frame
