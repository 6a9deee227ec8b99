"""Correction of time stamps that jump: `DiscontinuityCorrector`."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = ["DiscontinuityCorrector"]

# The thresholds of the ffmpeg program (dts_delta_threshold, and 0.1 s backwards), in seconds.
MAX_GAP_S = 10
MAX_OVERLAP_S = Fraction(1, 10)


@dataclass
class _Section:
    """A part of the file with an undisturbed clock."""

    offset: Fraction  # seconds to add to its time stamps


class DiscontinuityCorrector:
    """Make the time stamps of packets continuous where the clock of the file jumps.

    Files that were joined byte by byte, captures of several recordings and clocks that wrap around
    restart their time stamps. From a jump on, the same offset is added to all streams, so that
    they stay in step.

    Parameters
    ----------
    may_jump_ahead : bool
        Also close gaps of more than 10 s, as for MPEG-TS and other formats that FFmpeg flags with
        ``AVFMT_TS_DISCONT``. Elsewhere a gap is a frame that is shown for long.

    Attributes
    ----------
    jumps : int
        Jumps found so far.

    Notes
    -----
    The thresholds are those of the ffmpeg program. It keeps one offset for all streams; here each
    stream changes to the new offset with its own first packet after the jump, since streams are
    not interleaved exactly. A stream that pauses while another goes on has no jump.
    """

    def __init__(self, *, may_jump_ahead: bool) -> None:
        self.jumps = 0
        self._may_jump_ahead = may_jump_ahead
        self._sections = [_Section(Fraction(0))]
        self._section_of: dict[int, int] = {}
        self._next_s: dict[int, Fraction] = {}  # of each stream, where its last packet ended

    def correct(self, packet: Any) -> None:
        """Change `packet.pts` and `packet.dts` in place; packets are given in file order."""
        if packet.dts is None and packet.pts is None:
            return
        index = packet.stream.index
        if packet.stream.type not in ("video", "audio"):
            section = self._sections[-1]
        elif packet.dts is None:  # presentation times alone may go back: frames are reordered
            section = self._sections[self._section_of.get(index, 0)]
        else:
            time_s = packet.dts * packet.time_base
            section = self._choose_section(index, time_s)
            self._section_of[index] = self._sections.index(section)
            duration_s = (packet.duration or 0) * packet.time_base
            self._next_s[index] = time_s + section.offset + duration_s
        if section.offset:
            shift = round(section.offset / packet.time_base)
            packet.dts = None if packet.dts is None else packet.dts + shift
            packet.pts = None if packet.pts is None else packet.pts + shift

    def _choose_section(self, index: int, time_s: Fraction) -> _Section:
        expected_s = self._next_s.get(index)
        candidates = self._sections[self._section_of.get(index, 0) :]
        if expected_s is None:
            return candidates[-1]
        best = min(candidates, key=lambda s: abs(time_s + s.offset - expected_s))
        ahead_s = time_s + best.offset - expected_s
        if best is not candidates[0] and ahead_s < 0:
            best.offset -= ahead_s  # the streams of a section must not overlap the one before
            return best
        is_jump = ahead_s < -MAX_OVERLAP_S or (
            self._may_jump_ahead
            and ahead_s > MAX_GAP_S
            and not self._is_pause(index, time_s + best.offset)
        )
        if not is_jump:
            return best
        self.jumps += 1
        section = _Section(max(self._next_s.values()) - time_s)
        self._sections.append(section)
        return section

    def _is_pause(self, index: int, time_s: Fraction) -> bool:
        """Return True if another stream has reached this time, so this one only paused."""
        others = [next_s for other, next_s in self._next_s.items() if other != index]
        return any(abs(time_s - next_s) <= MAX_GAP_S for next_s in others)
