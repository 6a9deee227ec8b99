"""Add audio and subtitles to videos that OpenCV wrote, with the ``ffmpeg`` program."""

from __future__ import annotations

import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

from .options import VideoOptions
from .transcode import AudioOutcome

__all__ = ["mux_audio"]

# Container -> codec of its text subtitles; only Matroska also holds subtitles that are images.
SUBTITLE_CODECS = {
    ".mkv": "copy", ".mp4": "mov_text", ".m4v": "mov_text", ".mov": "mov_text", ".webm": "webvtt",
}  # fmt: skip
AUDIO_CODECS = (("copied", ["copy"]), ("encoded", ["aac", "-b:a", "192k"]))


def mux_audio(
    silent: Path, source: Path, output: Path, options: VideoOptions, notes: list[str]
) -> AudioOutcome:
    """Combine the video of `silent` with the audio and subtitles of `source` into `output`.

    Parameters
    ----------
    silent, source, output : Path
    options : VideoOptions
        `start` and `end` are used.
    notes : list of str
        Gets a note about subtitles that are left out.

    Returns
    -------
    AudioOutcome
        "copied" or "encoded": `output` is the video with audio. "none" or "dropped": `output` is
        the video with subtitles, or it does not exist.
    """
    program = shutil.which("ffmpeg")
    if program is None:
        return AudioOutcome(
            "dropped",
            "OpenCV reads neither audio nor subtitles; install PyAV (pip install av) or ffmpeg",
        )
    start = ["-protocol_whitelist", "file"]
    if options.start:
        start += ["-ss", f"{options.start:.6f}"]
    if options.end is not None:
        start += ["-to", f"{options.end:.6f}"]
    inputs = ["-itsoffset", f"{_video_start_s(program, source, options):.6f}"]
    inputs += ["-protocol_whitelist", "file", "-i", f"file:{silent}"]
    inputs += [*start, "-i", f"file:{source}", "-map", "0:v", "-c:v", "copy"]
    end = ["-movflags", "+faststart", f"file:{output}"]

    def run(*streams: str) -> str | None:
        """Run ffmpeg; return None if it succeeds, else its error message."""
        command = [program, "-nostdin", "-v", "error", "-y", *inputs, *streams, *end]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode == 0:
            return None
        output.unlink(missing_ok=True)
        return done.stderr.decode(errors="replace").strip() or "no message"

    codec = SUBTITLE_CODECS.get(output.suffix.lower())
    subtitles = [] if codec is None else ["-map", "1:s?", "-c:s", codec]
    error = None
    for streams in (subtitles, []) if subtitles else ([],):
        for state, audio_codec in AUDIO_CODECS:
            error = run("-map", "1:a", "-c:a", *audio_codec, *streams)
            if error is None:
                if not streams and _has_subtitles(program, source):
                    notes.append(f"subtitles were left out: {output.suffix} cannot hold them")
                return AudioOutcome(state, f"by ffmpeg ({audio_codec[0]})")
            if "matches no streams" in error:
                run("-map", "1:s", "-c:s", codec or "copy")
                return AudioOutcome("none", "the source has no audio")
    return AudioOutcome("dropped", f"ffmpeg failed: {(error or '').splitlines()[-1]}")


def _video_start_s(program: str, source: Path, options: VideoOptions) -> float:
    """Return the seconds from the start of the file to that of its video.

    OpenCV counts time from the start of the video.
    """
    if options.start:
        return 0.0
    command = [
        *(program, "-nostdin", "-v", "error", "-protocol_whitelist", "file"),
        *("-i", f"file:{source}", "-map", "0:v:0", "-c", "copy", "-frames:v", "1"),
        *("-f", "framecrc", "-"),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    text = done.stdout.decode(errors="replace")
    base = re.search(r"^#tb 0: (\d+)/(\d+)", text, re.MULTILINE)
    packet = re.search(r"^0, *-?\d+, *(-?\d+),", text, re.MULTILINE)
    if base is None or packet is None:
        return 0.0
    return max(0.0, float(int(packet[1]) * Fraction(int(base[1]), int(base[2]))))


def _has_subtitles(program: str, source: Path) -> bool:
    command = [
        *(program, "-nostdin", "-v", "error", "-protocol_whitelist", "file", "-t", "0.01"),
        *("-i", f"file:{source}", "-map", "0:s", "-c", "copy", "-f", "null", "-"),
    ]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
