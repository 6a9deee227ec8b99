"""Video colouring: `colorize_video`, `preview` and `VideoResult`."""

from __future__ import annotations

from .api import colorize_video, preview
from .backends import has_pyav
from .output import default_output
from .result import VideoResult

__all__ = ["VideoResult", "colorize_video", "default_output", "has_pyav", "preview"]
