"""Adding of audio with the ``ffmpeg`` program, for videos that OpenCV wrote."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from .options import VideoOptions
from .transcode import AudioOutcome

__all__ = ["mux_audio"]


def mux_audio(silent: Path, source: Path, output: Path, options: VideoOptions) -> AudioOutcome:
    """Combine the video of `silent` with the audio of `source` into `output`.

    Returns
    -------
    AudioOutcome
        "copied" or "encoded": `output` is the video with audio. "none" or "dropped": there is no
        `output`, and `silent` is unchanged.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return AudioOutcome(
            "dropped",
            "OpenCV cannot read it; install PyAV (pip install av) or ffmpeg",
        )
    trim = []
    if options.start:
        trim += ["-ss", f"{options.start:.6f}"]
    if options.end is not None:
        trim += ["-to", f"{options.end:.6f}"]
    stderr = ""
    for state, codec in (("copied", ["copy"]), ("encoded", ["aac", "-b:a", "192k"])):
        command = [
            *(ffmpeg, "-nostdin", "-v", "error", "-y"),
            *("-protocol_whitelist", "file", "-i", f"file:{silent}"),
            *("-protocol_whitelist", "file", *trim, "-i", f"file:{source}"),
            *("-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", *codec),
            *("-movflags", "+faststart", f"file:{output}"),
        ]
        done = subprocess.run(command, capture_output=True, check=False)
        stderr = done.stderr.decode(errors="replace").strip()
        if done.returncode == 0:
            return AudioOutcome(state, f"by ffmpeg ({codec[0]})")
        output.unlink(missing_ok=True)
        if "matches no streams" in stderr:
            return AudioOutcome("none", "the source has no audio")
    return AudioOutcome("dropped", f"ffmpeg failed: {(stderr.splitlines() or ['no message'])[-1]}")
