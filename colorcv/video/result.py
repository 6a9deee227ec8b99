"""What is said about a film that has been coloured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["VideoResult"]


@dataclass(frozen=True)
class VideoResult:
    """What became of a film.

    Attributes
    ----------
    path : Path
        The coloured film.
    frames : int
        How many it has, counted in the finished file.
    fps : float
        Its frames per second, the mean where they vary.
    duration_s : float
        From the first frame's beginning to the last one's end.
    size_wh : (int, int)
        Columns and rows as stored, before any rotation.
    network_runs : int
        How often the network ran.
    scene_cuts : int
        How many hard cuts were found; `cut_frames` says at which frames, counted from 0.
    audio : {"copied", "encoded", "none", "dropped"}
        What became of the sound, and `audio_reason` why.
    seconds : float
        How long the work took, and `frames_per_second` how fast it was.
    damaged_packets : int
        Packets of the source that could not be decoded, or copied, and were skipped.
    notes : tuple of str
        What else should be known: an odd size, a film that ends early, streams left out.
    stage_seconds : dict of str to float
        Time inside each stage; the stages overlap.
    """

    path: Path
    frames: int
    fps: float
    duration_s: float
    size_wh: tuple[int, int]
    network_runs: int
    scene_cuts: int
    cut_frames: tuple[int, ...]
    audio: str
    audio_reason: str
    seconds: float
    frames_per_second: float
    damaged_packets: int = 0
    notes: tuple[str, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)
