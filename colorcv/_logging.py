"""The library's logger, without output of its own.

``import colorcv`` does not need logging, which would take most of its time.
"""

from __future__ import annotations

import logging

__all__ = ["logger"]

logger = logging.getLogger("colorcv")
logger.addHandler(logging.NullHandler())
