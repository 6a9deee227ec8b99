"""Colouring videos: `colorize_video`, `preview`, and the result that they return."""

from __future__ import annotations

from .api import colorize_video, default_output, has_pyav, preview
from .result import VideoResult

__all__ = ["VideoResult", "colorize_video", "default_output", "has_pyav", "preview"]
