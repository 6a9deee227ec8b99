"""The command ``colorcv``."""

from __future__ import annotations

from .parser import main

__all__ = ["main"]
