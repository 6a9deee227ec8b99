"""`VideoOptions`: the options of a transcode, checked once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._typing import IgnoreBorder
from ..errors import OptionError
from ..image.validation import check_ignore_border, check_saturation

__all__ = ["LOSSLESS", "VideoOptions"]

LOSSLESS = "lossless"
AUDIO = ("auto", "keep", "none")
MAX_TIME_S = 1e8  # seconds, about three years: containers count that far, no video lasts longer


@dataclass(frozen=True)
class VideoOptions:
    """Options of one transcode.

    Attributes
    ----------
    saturation : float, 0..10
        Factor on chroma.
    codec : str
        "auto" or a codec of the backend.
    quality : int, "lossless" or None
        CRF; None for the codec's default.
    audio : {"auto", "keep", "none"}
        See `colorize_video`.
    start, end : float or None
        The part to colour, in seconds from the start of the video.
    compare : bool
        Put the grey and the coloured video side by side.
    ignore_border : {"auto", True, False}
        See `colorize_video`.

    Raises
    ------
    OptionError
        A value is out of its range.
    """

    saturation: float = 1.0
    codec: str = "auto"
    quality: int | str | None = None
    audio: str = "auto"
    start: float | None = None
    end: float | None = None
    compare: bool = False
    ignore_border: IgnoreBorder = "auto"

    def __post_init__(self) -> None:
        check_saturation(self.saturation)
        check_ignore_border(self.ignore_border)
        _check_time_range(self.start, self.end)
        if self.audio not in AUDIO:
            raise OptionError(f"audio must be one of {', '.join(AUDIO)}, got {self.audio!r}")

    @property
    def is_trimmed(self) -> bool:
        """True if `start` or `end` was given."""
        return self.start is not None or self.end is not None


def _check_time_range(start: float | None, end: float | None) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is not None and not (
            isinstance(value, (int, float, np.number)) and 0 <= value <= MAX_TIME_S
        ):
            raise OptionError(
                f"{name} must be a time in seconds between 0 and {MAX_TIME_S:g}, got {value!r}"
            )
    if end is not None and end <= (start or 0):
        raise OptionError(f"end ({end:g} s) must be after start ({start or 0:g} s)")
