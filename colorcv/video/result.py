"""`VideoResult`: what `colorize_video` returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["VideoResult"]


@dataclass(frozen=True)
class VideoResult:
    """The outcome of `colorize_video`.

    Attributes
    ----------
    path : Path
        The coloured video.
    frames : int
        Number of frames, counted in the finished file.
    fps : float
        Frames per second, the mean where they vary.
    duration_s : float
        Seconds from the start of the first frame to the end of the last.
    size_wh : (int, int)
        Columns and rows as stored, before any rotation.
    network_runs : int
        Number of runs of the network.
    scene_cuts : int
        Number of hard cuts.
    cut_frames : tuple of int
        The first frame after each cut, counted from 0.
    audio : {"copied", "encoded", "none", "dropped"}
        The outcome for the audio.
    audio_reason : str
        The reason for that outcome.
    seconds : float
        Duration of the work.
    frames_per_second : float
        Speed of the work.
    damaged_packets : int
        Packets of the source that could not be decoded or copied, and were skipped.
    notes : tuple of str
        Anything else worth knowing: an odd size, a video that ends early, streams left out.
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
