"""`Transcode`, which a backend passes to the pipeline, and its reader and writer protocols."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from .._typing import Float32Array
from .options import VideoOptions

__all__ = [
    "AudioOutcome",
    "Transcode",
    "VideoReader",
    "VideoWriter",
    "note_odd_size",
    "output_size_wh",
    "round_up_to_even",
]


class _HasLightness(Protocol):
    lightness: Float32Array
    time_s: float


Frame = TypeVar("Frame", bound=_HasLightness)
Frame_co = TypeVar("Frame_co", bound=_HasLightness, covariant=True)


class AudioOutcome(NamedTuple):
    """The outcome for the audio.

    Attributes
    ----------
    state : {"copied", "encoded", "none", "dropped"}
    reason : str
        The reason for that state.
    """

    state: str
    reason: str


class VideoReader(Protocol[Frame_co]):
    """A source of frames in presentation order.

    Attributes
    ----------
    size_wh : (int, int)
        Columns and rows of every frame.
    rate : Fraction
        Frames per second, the mean where they vary.
    notes : list of str
        Notes on the source for the user.
    is_vfr : bool
        True if the frame rate was seen to vary; valid after `read`. Always False for a reader
        whose time stamps are kept.
    """

    size_wh: tuple[int, int]
    rate: Fraction
    notes: list[str]
    is_vfr: bool

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded."""

    @property
    def upright_hw(self) -> tuple[int, int]:
        """Rows and columns of every frame as it is shown."""

    @property
    def total(self) -> int | None:
        """Expected number of frames, or None if unknown."""

    def read(self, on_frame: Callable[[Frame_co], None], on_packet: Callable[[Any], None]) -> None:
        """Call `on_frame` and `on_packet` (of other streams) in file order."""

    def reopen(self) -> VideoReader[Frame_co]:
        """Return another reader that gives the same frames, from the first one on."""

    def close(self) -> None:
        """Close the source."""


class VideoWriter(Protocol):
    """A sink for rendered frames and for packets of other streams.

    Attributes
    ----------
    notes : list of str
        Notes on the output for the user.
    written : int
        Frames written so far.
    """

    notes: list[str]
    written: int

    @property
    def damaged(self) -> int:
        """Packets of other streams that were skipped."""

    @property
    def duration_s(self) -> float:
        """Seconds from the start of the first frame to the end of the last."""

    def write_frame(self, frame: Any) -> None:
        """Encode one rendered frame."""

    def write_packet(self, packet: Any) -> None:
        """Mux one packet of another stream."""

    def close(self) -> None:
        """Complete the file and check it."""

    def abort(self) -> None:
        """Close the file without completing it."""


@dataclass
class Transcode(Generic[Frame]):
    """A reader, a matching writer, and the rendering of frames between them.

    Attributes
    ----------
    reader : VideoReader
    writer : VideoWriter
    render : callable
        Takes a frame and its chroma, (H, W, 2) float32 ab; returns a frame for
        `writer.write_frame`.
    size_wh : (int, int)
        Columns and rows of the output.
    audio : AudioOutcome
    mux_audio : callable, optional
        Adds the audio to the finished video and returns the outcome.
    needs_cfr : bool
        True if the writer can only write a constant frame rate.
    """

    reader: VideoReader[Frame]
    writer: VideoWriter
    render: Callable[[Frame, Float32Array], Any]
    size_wh: tuple[int, int]
    audio: AudioOutcome
    mux_audio: Callable[[], AudioOutcome] | None = None
    needs_cfr: bool = False


def round_up_to_even(side: int) -> int:
    """Return `side`, or the next even number: 4:2:0 stores chroma for pairs of pixels."""
    return side + side % 2


def output_size_wh(size_wh: tuple[int, int], options: VideoOptions) -> tuple[int, int]:
    """Return columns and rows of the output for a source of this size."""
    width, height = (round_up_to_even(side) for side in size_wh)
    return (2 * width if options.compare else width), height


def note_odd_size(size_wh: tuple[int, int], notes: list[str]) -> None:
    """Add a note if the size is odd and has to be padded."""
    width, height = size_wh
    if width % 2 or height % 2:
        what = " and ".join(name for name, side in (("column", width), ("row", height)) if side % 2)
        notes.append(
            f"the size {width}x{height} is odd: the last {what} was repeated "
            f"({round_up_to_even(width)}x{round_up_to_even(height)}), since 4:2:0 stores chroma "
            "for pairs"
        )
