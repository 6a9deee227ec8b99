"""3x3 convolutions and the 4x4 deconvolution written out as Winograd's, in large MatMuls.

Winograd's minimal filtering (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks",
2015) turns a convolution into: tiles of the input, a linear transform of each tile, one matrix
product over the channels for each element of the transformed tiles, a linear transform back. On
OpenCV 5 the products run as MatMul at more than twice the speed of its convolutions, on a quarter
of the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..graph import Constant, Draft, Graph, Node, constant

__all__ = ["FORMS", "Form", "tiled_products", "winograd"]

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Form:
    """How one side of a tile goes: `take` inputs, every `step`, make `give` outputs.

    outputs = back @ ((kernel @ taps) * (forth @ inputs))
    """

    take: int
    step: int
    give: int
    forth: Matrix
    kernel: Matrix
    back: Matrix


def toom_cook(outputs: int, taps: int, points: tuple[float, ...]) -> tuple[Matrix, Matrix, Matrix]:
    """Return (forth, kernel, back) of F(outputs, taps), by interpolation at points and infinity."""
    size = outputs + taps - 1
    assert len(points) == size - 1
    forth, kernel, back = np.zeros((size, size)), np.zeros((size, taps)), np.zeros((outputs, size))
    for i, point in enumerate(points):
        others = points[:i] + points[i + 1 :]
        forth[i, : size - 1] = np.poly(others)[::-1]
        kernel[i] = point ** np.arange(taps) / np.prod([point - other for other in others])
        back[:, i] = point ** np.arange(outputs)
    forth[-1] = np.poly(points)[::-1]
    kernel[-1, -1] = back[-1, -1] = 1
    return forth, kernel, back


def _same() -> Form:
    forth, kernel, back = toom_cook(4, 3, (0, 1, -1, 2, -2))
    return Form(6, 4, 4, forth, kernel, back)


def _halved() -> Form:
    """Stride 2: the odd rows meet two taps, the even ones one; both sums come together at the end.

    Output y takes rows 2y-1, 2y, 2y+1, which in the tile are 2y, 2y+1, 2y+2.
    """
    forth2, kernel2, back2 = toom_cook(4, 2, (0, 1, -1, 2))
    forth, kernel, back = np.zeros((9, 9)), np.zeros((9, 3)), np.zeros((4, 9))
    forth[:5, 0:9:2], kernel[:5, 0:3:2], back[:, :5] = forth2, kernel2, back2
    forth[5:, 1:8:2], kernel[5:, 1], back[:, 5:] = np.eye(4), 1, np.eye(4)
    return Form(9, 8, 4, forth, kernel, back)


def _doubled() -> Form:
    """Deconvolution by 2 with 4 taps and a pad of 1: even and odd outputs meet two taps each.

    Output 2y is taps 3, 1 on inputs y-1, y; output 2y+1 is taps 2, 0 on inputs y, y+1.
    """
    forth2, kernel2, back2 = toom_cook(4, 2, (0, 1, -1, 2))
    forth, kernel, back = np.zeros((10, 6)), np.zeros((10, 4)), np.zeros((8, 10))
    forth[:5, :5], kernel[:5, 3::-2], back[0::2, :5] = forth2, kernel2, back2
    forth[5:, 1:], kernel[5:, 2::-2], back[1::2, 5:] = forth2, kernel2, back2
    return Form(6, 4, 8, forth, kernel, back)


# Which layers have a form: (operator, kernel, stride, dilation, pad) -> form
FORMS = {
    ("Conv", 3, 1, 1, 1): _same(),
    ("Conv", 3, 2, 1, 1): _halved(),
    ("ConvTranspose", 4, 2, 1, 1): _doubled(),
}


def form_of(node: Node) -> Form | None:
    """Return the form of a layer, or None where it has none."""
    if node.op not in ("Conv", "ConvTranspose") or node.attributes["group"] != 1:
        return None
    settings = []
    for name in ("kernel_shape", "strides", "dilations", "pads"):
        values = set(node.integers(name))
        if len(values) != 1:
            return None
        settings.append(values.pop())
    return FORMS.get((node.op, *settings))  # type: ignore[arg-type]


def winograd(wanted: Callable[[Node, int], bool]) -> Callable[[Graph], Graph]:
    """Return the rewrite of the layers that have a form and are wanted.

    `wanted` is asked with the layer and the number of its input's channels.
    """

    def rewrite(graph: Graph) -> Graph:
        draft = Draft(graph)
        for node in graph.nodes:
            form = form_of(node)
            source = graph.shape(node.inputs[0]) if form else ()
            if form is None or not wanted(node, source[1]):
                draft.nodes.append(node)
            else:
                draft.prefix = node.name
                tiled_products(draft, node, form, node.inputs[0], source[1:], 1)
        return draft.finished()

    return rewrite


def tiled_products(
    draft: Draft, node: Node, form: Form, source: str, shape: tuple[int, ...], planes: int
) -> str:
    """Write one layer out; `source` is (1, C, planes * H, W), each plane by itself.

    `shape` is (C, H, W) of the input; the output is stacked in the same way.
    """
    channels, height, width = shape
    outputs = node.shape[1]
    tall, wide = (-(-side // form.step) for side in (height, width))
    tiles = planes * tall * wide
    takes, gives = len(form.forth), form.give
    padded = [form.step * (n - 1) + form.take for n in (tall, wide)]
    if planes > 1:
        source = draft.reshape("planes", source, (1, channels * planes, height, width))
    pads = (0, 0, 1, 1, 0, 0, max(0, padded[0] - height - 1), max(0, padded[1] - width - 1))
    source = draft.add(
        "Pad",
        "pad",
        (source, draft.integers("pads", pads)),
        (1, channels * planes, height + 1 + pads[6], width + 1 + pads[7]),
        mode="constant",
    )
    step = (form.step, form.step)
    tile = (1, channels * planes, tall, wide)
    cuts = [
        draft.cut(f"cut{i}_{j}", source, tile, (i, j), step)
        for i in range(form.take)
        for j in range(form.take)
    ]
    x = draft.add("Concat", "tiles", cuts, (form.take**2, *tile[1:]), axis=0)
    x = draft.reshape("flat", x, (form.take**2, channels * tiles))
    forth = draft.keep("forth", constant(np.kron(form.forth, form.forth)))
    x = draft.add("MatMul", "there", (forth, x), (takes**2, channels * tiles))
    x = draft.reshape("deep", x, (takes**2, channels, tiles))
    kernels = _kernels(draft, node, form, outputs, channels)
    x = draft.add("MatMul", "products", (kernels, x), (takes**2, outputs, tiles))
    x = draft.reshape("wide", x, (takes**2, outputs * tiles))
    back = draft.keep("back", constant(np.kron(form.back, form.back)))
    x = draft.add("MatMul", "home", (back, x), (gives**2, outputs * tiles))
    x = draft.reshape("parted", x, (gives, gives, outputs * planes, tall, wide))
    x = draft.add(
        "Transpose",
        "laid",
        (x,),
        (outputs * planes, tall, gives, wide, gives),
        perm=(2, 3, 0, 4, 1),
    )
    whole = (1, outputs * planes, tall * gives, wide * gives)
    x = draft.reshape("plane", x, whole)
    size = node.shape[2:] if planes == 1 else (height, width)
    if whole[2:] != size:
        x = draft.cut("cropped", x, (*whole[:2], *size), (0, 0), (1, 1))
    stacked = (1, outputs, planes * size[0], size[1])
    if planes > 1:
        x = draft.reshape("stacked", x, stacked)
    if len(node.inputs) < 3:
        return draft.add("Identity", "", (x,), stacked)
    bias = draft.graph.constants[node.inputs[2]]
    plane_bias = draft.keep("plane_bias", Constant((1, outputs, 1, 1), bias.make))
    return draft.add("Add", "", (x, plane_bias), stacked)


def _kernels(draft: Draft, node: Node, form: Form, outputs: int, channels: int) -> str:
    """Transform a layer's kernels: (elements of a tile, outputs, channels).

    It is said as nodes on constants, which OpenCV 5 works out once, when it has let go of the ONNX:
    that spares writing and reading kernels of four times the size.
    """
    takes, taps = (side**2 for side in form.kernel.shape)
    swapped = node.op == "ConvTranspose"
    first, second = (channels, outputs) if swapped else (outputs, channels)
    x = draft.reshape("taps", node.inputs[1], (first, second, taps))
    turned = (taps, outputs, channels)
    x = draft.add("Transpose", "turned", (x,), turned, perm=(2, 1, 0) if swapped else (2, 0, 1))
    x = draft.reshape("rows", x, (taps, outputs * channels))
    both = draft.keep("of_taps", constant(np.kron(form.kernel, form.kernel)))
    x = draft.add("MatMul", "transformed", (both, x), (takes, outputs * channels))
    return draft.reshape("kernels", x, (takes, outputs, channels))
