"""Runs of dilated 3x3 convolutions on the phases of their planes.

With dilation d, pixels meet only those whose row and column differ by multiples of d: a plane is
d*d planes of its own, its phases, and on each the convolution is an undilated one, for which OpenCV
has faster ways. A whole run of such layers crosses over once and comes back once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..graph import Draft, Graph, Node, Shape, constant
from .winograd import FORMS, tiled_products

__all__ = ["mosaic", "stacked_winograd"]

# Dilations beyond it are left as they are: the nodes grow with it, and networks use 2.
MAX_STEP = 4


@dataclass(frozen=True)
class _Layout:
    """One way to lay the phases of a (1, C, H, W) tensor out in one tensor.

    `enter` and `leave` take the draft, a tensor and its shape outside; `convolve` takes the draft,
    the layer, its input inside and the input's shape outside.
    """

    enter: Callable[[Draft, str, Shape, int], str]
    convolve: Callable[[Draft, Node, str, Shape, bool], str]
    leave: Callable[[Draft, str, Shape, int], str]
    shape: Callable[[Shape, int], Shape]


def mosaic(graph: Graph) -> Graph:
    """Lay the phases side by side in one plane, with a gutter of zeros after each.

    The gutters keep the phases apart; what a layer writes there is masked before the next reads it.
    """
    return _rewritten(graph, _Layout(_enter_mosaic, _convolve_mosaic, _leave_mosaic, _mosaic_shape))


def stacked_winograd(graph: Graph) -> Graph:
    """Stack the phases in one tall plane and convolve them by Winograd's, in large MatMuls."""
    return _rewritten(graph, _Layout(_enter_stack, _convolve_stack, _leave_stack, _stack_shape))


def _rewritten(graph: Graph, layout: _Layout) -> Graph:
    draft = Draft(graph)
    inside: dict[str, str] = {}  # tensors that there are in phases, under which name
    clean: set[str] = set()  # those of them that no layer has written to since they entered
    outside = {graph.input}
    by: dict[str, int] = {}  # the dilation of each that is inside

    def bring_out(name: str) -> None:
        if name in inside and name not in outside:
            draft.prefix = name
            layout.leave(draft, inside[name], graph.shape(name), by[name])
            outside.add(name)

    for node in graph.nodes:
        source = node.inputs[0]
        step = _dilation(node, graph)
        if step:
            shape = graph.shape(source)
            if by.get(source) != step:
                bring_out(source)
                draft.prefix = f"{source}:phases"
                inside[source] = layout.enter(draft, source, shape, step)
                by[source] = step
                clean.add(source)
            draft.prefix = f"{node.name}:phases"
            inside[node.name] = layout.convolve(draft, node, inside[source], shape, source in clean)
            by[node.name] = step
        elif source in inside and source not in outside and _pointwise(node, graph):
            draft.prefix = f"{node.name}:phases"
            shape = layout.shape(node.shape, by[source])
            inputs = (inside[source], *node.inputs[1:])
            inside[node.name] = draft.add(node.op, "", inputs, shape, **node.attributes)
            by[node.name] = by[source]
        else:
            for name in node.inputs:
                bring_out(name)
            draft.nodes.append(node)
            outside.add(node.name)
    bring_out(graph.output)
    return draft.finished()


def _dilation(node: Node, graph: Graph) -> int:
    """Return the dilation of a layer that can run on phases, else 0."""
    if node.op != "Conv" or node.attributes["group"] != 1:
        return 0
    step = node.integers("dilations")[0]
    same = (
        node.integers("dilations") == (step, step)
        and node.integers("kernel_shape") == (3, 3)
        and node.integers("strides") == (1, 1)
        and node.integers("pads") == (step,) * 4
    )
    height, width = node.shape[2:]
    fits = height % step == 0 and width % step == 0
    return step if same and fits and 1 < step <= MAX_STEP else 0


def _pointwise(node: Node, graph: Graph) -> bool:
    """Tell whether a node does the same to every pixel of a channel, and reads one tensor only."""
    return node.op in ("Relu", "BatchNormalization", "Mul", "Add") and all(
        name in graph.constants and graph.constants[name].shape[2:] in ((), (1, 1))
        for name in node.inputs[1:]
    )


# Rows are sorted by taking and joining, columns by a permutation of the last two axes alone: on
# OpenCV 4.14 the two together cost 0.4 ms where one permutation of five axes costs 3.7.


def _enter_mosaic(draft: Draft, name: str, shape: Shape, step: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // step + 1, width // step + 1
    tall, wide = rows * step, columns * step
    pads = draft.integers("pads", (0, 0, 0, 0, 0, 0, step, step))
    x = draft.add("Pad", "pad", (name, pads), (1, channels, tall, wide), mode="constant")
    x = draft.reshape("groups", x, (1, channels * rows, step, wide))
    phases = [
        draft.reshape(
            f"rows{p}",
            draft.cut(f"cut{p}", x, (1, channels * rows, 1, wide), (p, 0), (1, 1)),
            (1, channels, rows, wide),
        )
        for p in range(step)
    ]
    x = draft.add("Concat", "sorted", phases, (1, channels, tall, wide), axis=2)
    x = draft.reshape("pairs", x, (1, channels * tall, columns, step))
    x = draft.add("Transpose", "laid", (x,), (1, channels * tall, step, columns), perm=(0, 1, 3, 2))
    return draft.reshape("mosaic", x, (1, channels, tall, wide))


def _convolve_mosaic(draft: Draft, node: Node, source: str, shape: Shape, clean: bool) -> str:
    step = node.integers("dilations")[0]
    laid = _mosaic_shape(shape, step)
    if not clean:
        mask = np.ones((1, 1, *laid[2:]), np.float32)
        mask[:, :, shape[2] // step :: shape[2] // step + 1] = 0
        mask[:, :, :, shape[3] // step :: shape[3] // step + 1] = 0
        source = draft.add("Mul", "masked", (source, draft.keep("mask", constant(mask))), laid)
    attributes = {**node.attributes, "dilations": (1, 1), "pads": (1, 1, 1, 1)}
    return draft.add(
        "Conv", "", (source, *node.inputs[1:]), (1, node.shape[1], *laid[2:]), **attributes
    )


def _leave_mosaic(draft: Draft, name: str, shape: Shape, step: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // step + 1, width // step + 1
    tall, wide = rows * step, columns * step
    x = draft.reshape("pairs", name, (1, channels * tall, step, columns))
    x = draft.add("Transpose", "laid", (x,), (1, channels * tall, columns, step), perm=(0, 1, 3, 2))
    x = draft.reshape("sorted", x, (1, channels, tall, wide))
    phases = [
        draft.reshape(
            f"rows{p}",
            draft.cut(f"cut{p}", x, (1, channels, rows, wide), (p * rows, 0), (1, 1)),
            (1, channels * rows, 1, wide),
        )
        for p in range(step)
    ]
    x = draft.add("Concat", "groups", phases, (1, channels * rows, step, wide), axis=2)
    x = draft.reshape("plane", x, (1, channels, tall, wide))
    return draft.cut("", x, shape, (0, 0), (1, 1))


def _mosaic_shape(shape: Shape, step: int) -> Shape:
    return (*shape[:2], *(step * (side // step + 1) for side in shape[2:]))


def _enter_stack(draft: Draft, name: str, shape: Shape, step: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // step, width // step
    x = draft.reshape("parts", name, (channels, rows, step, columns, step))
    x = draft.add(
        "Transpose", "laid", (x,), (channels, step, step, rows, columns), perm=(0, 2, 4, 1, 3)
    )
    return draft.reshape("stack", x, _stack_shape(shape, step))


def _convolve_stack(draft: Draft, node: Node, source: str, shape: Shape, clean: bool) -> str:
    step = node.integers("dilations")[0]
    part = (shape[1], shape[2] // step, shape[3] // step)
    return tiled_products(draft, node, FORMS["Conv", 3, 1, 1, 1], source, part, step * step)


def _leave_stack(draft: Draft, name: str, shape: Shape, step: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // step, width // step
    x = draft.reshape("parts", name, (channels, step, step, rows, columns))
    x = draft.add(
        "Transpose", "laid", (x,), (channels, rows, step, columns, step), perm=(0, 3, 1, 4, 2)
    )
    return draft.reshape("", x, shape)


def _stack_shape(shape: Shape, step: int) -> Shape:
    return (*shape[:2], step * shape[2], shape[3] // step)
