"""Nodes that cut planes with the channels last into phases and tiles, and join them again."""

from __future__ import annotations

from ..graph import GraphBuilder, Shape
from .transforms import WinogradTransform

__all__ = ["column_blocks", "cut_tiles", "from_phases", "join_tiles", "to_phases"]

# OpenCV 4 packs a wider factor in blocks of this many columns, the last of them padded to it.
_MAX_COLUMNS = 320


def column_blocks(outputs: int) -> int:
    """Return the number of MatMuls into which the outputs are split."""
    count = -(-outputs // _MAX_COLUMNS)
    return count if outputs % count == 0 else 1


def to_phases(builder: GraphBuilder, x: str, shape: Shape, dilation: int) -> str:
    """Convert (1, H, W, C) to (d * d, H / d, W / d, C)."""
    if dilation == 1:
        return x
    height, width, channels = shape
    rows, columns, d = height // dilation, width // dilation, dilation
    x = builder.reshape("row_groups", x, (1, rows, d, width * channels))
    size: Shape = (1, rows, 1, width * channels)
    parts = [builder.slice(f"row{p}", x, (0, 0, p, 0), size) for p in range(d)]
    x = builder.add_node("Concat", "by_row", parts, (d, *size[1:]), axis=0)
    x = builder.reshape("column_groups", x, (1, d * rows, columns, d * channels))
    size = (1, d * rows, columns, channels)
    parts = [builder.slice(f"column{q}", x, (0, 0, 0, q * channels), size) for q in range(d)]
    x = builder.add_node("Concat", "by_column", parts, (d, *size[1:]), axis=0)
    return builder.reshape("phases", x, (d * d, rows, columns, channels))


def from_phases(builder: GraphBuilder, x: str, shape: Shape, dilation: int) -> str:
    """Invert `to_phases`."""
    if dilation == 1:
        return x
    height, width, channels = shape
    rows, columns, d = height // dilation, width // dilation, dilation
    x = builder.reshape("by_column_phase", x, (d, d * rows, columns, channels))
    size: Shape = (1, d * rows, columns, channels)
    parts = [builder.slice(f"from_column{q}", x, (q, 0, 0, 0), size) for q in range(d)]
    x = builder.add_node("Concat", "columns", parts, (*size[:3], d * channels), axis=3)
    x = builder.reshape("by_row_phase", x, (d, rows, 1, width * channels))
    size = (1, rows, 1, width * channels)
    parts = [builder.slice(f"from_row{p}", x, (p, 0, 0, 0), size) for p in range(d)]
    x = builder.add_node("Concat", "rows", parts, (1, rows, d, size[3]), axis=2)
    return builder.reshape("whole", x, (1, height, width, channels))


def cut_tiles(
    builder: GraphBuilder, transform: WinogradTransform, x: str, shape: Shape
) -> list[str]:
    """Return the elements of the tiles of (planes, H, W, C): (planes, rows, 1, columns, C) each."""
    planes, height, width, channels = shape
    rows, columns = transform.tiles((height, width))
    side, step = transform.tile_in, transform.tile_step
    # A tile spans several steps of rows, so the plane is padded to whole steps after the last tile.
    more = -(-side // step) - 1
    tall, wide = (rows + more) * step, (columns + more) * step
    pads = (0, 1, 1, 0, 0, tall - height - 1, wide - width - 1, 0)
    name = builder.add_integers("pads", pads)
    x = builder.add_node("Pad", "pad", (x, name), (planes, tall, wide, channels), mode="constant")
    shape = (planes, rows + more, step, columns + more, step * channels)
    x = builder.reshape("steps", x, shape)
    part: Shape = (planes, rows, 1, columns, channels)
    return [
        builder.slice(
            f"element{i}_{j}", x, (0, i // step, i % step, j // step, j % step * channels), part
        )
        for i in range(side)
        for j in range(side)
    ]


def join_tiles(builder: GraphBuilder, x: str, shape: Shape) -> str:
    """Join tiles (blocks, side**2, tiles * block) as (planes, rows * side, columns * side, C)."""
    side, planes, rows, columns, channels = shape
    blocks = column_blocks(channels)
    block, tiles = channels // blocks, planes * rows * columns
    x = builder.reshape("by_side", x, (blocks, side, side, tiles, block))
    part: Shape = (1, side, 1, tiles, block)
    parts = [
        builder.slice(f"column{j}_{k}", x, (k, 0, j, 0, 0), part)
        for j in range(side)
        for k in range(blocks)
    ]
    x = builder.add_node("Concat", "columns", parts, (*part[:4], side * channels), axis=4)
    width = columns * side * channels
    x = builder.reshape("by_row", x, (1, side, planes * rows, width))
    part = (1, 1, planes * rows, width)
    parts = [builder.slice(f"row{i}", x, (0, i, 0, 0), part) for i in range(side)]
    x = builder.add_node("Concat", "rows", parts, (*part[:3], side * width), axis=3)
    return builder.reshape("joined", x, (planes, rows * side, columns * side, channels))
