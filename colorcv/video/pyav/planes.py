"""Planes of PyAV frames as arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._typing import AnyArray

__all__ = [
    "JPEG_RANGE",
    "MPEG_RANGE",
    "display_matrix",
    "error_text",
    "has_luma_plane",
    "orientation",
    "plane_view",
    "swscale_matrix",
]

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


def display_matrix(frame: Any) -> list[int] | None:
    """Return the 3x3 matrix that orients a frame for display, or None."""
    side_data = frame.side_data.get("DISPLAYMATRIX")
    return None if side_data is None else [int(n) for n in np.frombuffer(side_data, "<i4")]


def orientation(matrix: list[int] | None) -> tuple[int, bool]:
    """Return the mirroring and rotation of frames for display, applied in this order.

    Parameters
    ----------
    matrix : list of int or None
        FFmpeg's display matrix; x' = m[0] x + m[3] y and y' = m[1] x + m[4] y, y downwards.

    Returns
    -------
    turns : int
        Quarter turns counter-clockwise, 0 to 3.
    mirrored : bool
        Left and right are swapped before the rotation.
    """
    if matrix is None:
        return 0, False
    a, b, c, d = (float(matrix[i]) for i in (0, 1, 3, 4))
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return round(math.atan2(-b, a) / (math.pi / 2)) % 4, mirrored


def swscale_matrix(matrix: int) -> int:
    """Return swscale's number for an ITU-T H.273 matrix."""
    return {4: 4, 5: 5, 6: 5, 7: 7, 9: 9}.get(matrix, 1)
