"""Planes of PyAV frames as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._typing import AnyArray

__all__ = ["JPEG_RANGE", "MPEG_RANGE", "error_text", "has_luma_plane", "plane_view"]

MPEG_RANGE, JPEG_RANGE = 1, 2  # FFmpeg's color_range: limited and full


def error_text(err: BaseException) -> str:
    """Return the text of an FFmpeg error without its number and file name."""
    return getattr(err, "strerror", None) or str(err)


def has_luma_plane(pixel_format: Any, bits: int) -> bool:
    """Return True if plane 0 is luma of `bits` bits in native byte order, and nothing else."""
    parts = pixel_format.components
    if pixel_format.is_rgb or pixel_format.has_palette or pixel_format.is_bit_stream:
        return False
    if not parts[0].is_luma or parts[0].bits != bits:
        return False
    if bits > 8 and (pixel_format.is_big_endian or pixel_format.name.startswith("p")):
        return False  # P010 and similar formats store their bits at the high end
    return bool(pixel_format.is_planar) or len(parts) == 1


def plane_view(frame: Any, index: int, bits: int) -> AnyArray:
    """Return a view of one plane, (H, W) uint8 or uint16, without the padding of its lines."""
    plane = frame.planes[index]
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    lines = np.frombuffer(plane, dtype).reshape(-1, plane.line_size // dtype.itemsize)
    return lines[: plane.height, : plane.width]
