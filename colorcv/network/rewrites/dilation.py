"""Rewrites of runs of dilated 3x3 convolutions as undilated ones, by space to batch.

With dilation d, a pixel is combined only with pixels whose row and column differ by multiples of d.
So a plane splits into d*d independent planes, its phases. On each of them the convolution is
undilated, which is faster on OpenCV. A run of such layers is converted to phases and back once.
"""

from __future__ import annotations

from ..graph import Graph, GraphBuilder, Node, Shape
from .transforms import MAX_PRODUCTS, TRANSFORMS, select_transform
from .winograd import lower_to_winograd

__all__ = ["dilation_of", "space_to_batch_winograd"]

# The number of nodes grows with the dilation, and networks use 2, so layers with a larger dilation
# than this are not rewritten.
MAX_DILATION = 4


def space_to_batch_winograd(graph: Graph, *, max_products: float = MAX_PRODUCTS) -> Graph:
    """Stack the phases in one tall plane and convolve them by Winograd's, in large MatMuls.

    For `max_products` see `select_transform`.
    """
    builder = GraphBuilder(graph.constants)
    phase_name: dict[str, str] = {}  # names of the tensors that exist as phases
    dilations: dict[str, int] = {}  # their dilation
    spatial = set(graph.inputs)  # tensors that exist as (1, C, H, W)

    def materialise(name: str) -> None:
        """Convert a tensor back from phases if it exists as phases only."""
        if name in phase_name and name not in spatial:
            builder.prefix = name
            _from_phases(builder, phase_name[name], graph.shape(name), dilations[name])
            spatial.add(name)

    for node in graph.nodes:
        source = node.inputs[0]
        dilation = dilation_of(node)
        if dilation:
            shape = graph.shape(source)
            if dilations.get(source) != dilation:
                materialise(source)
                builder.prefix = f"{node.name}:to_phases"  # a tensor may be converted twice
                phase_name[source] = _to_phases(builder, source, shape, dilation)
                dilations[source] = dilation
            builder.prefix = f"{node.name}:phases"
            part = (shape[1], shape[2] // dilation, shape[3] // dilation)
            transform = select_transform(TRANSFORMS["Conv", 3, 1, 1, 1], part[1:], max_products)
            phase_name[node.name] = lower_to_winograd(
                builder, node, transform, phase_name[source], part, planes=dilation * dilation
            )
            dilations[node.name] = dilation
        elif source in phase_name and source not in spatial and _is_pointwise(node, graph):
            builder.prefix = f"{node.name}:phases"
            shape = _stacked_shape(node.shape, dilations[source])
            inputs = (phase_name[source], *node.inputs[1:])
            phase_name[node.name] = builder.add_node(node.op, "", inputs, shape, **node.attributes)
            dilations[node.name] = dilations[source]
        else:
            for name in node.inputs:
                materialise(name)
            builder.nodes.append(node)
            spatial.add(node.name)
    for name in (graph.output, *graph.more_outputs, graph.features or ""):
        materialise(name)
    return graph.replaced(builder.nodes, builder.constants)


def dilation_of(node: Node) -> int:
    """Return the dilation of a layer that can run on phases, else 0."""
    if node.op != "Conv" or node.attributes["group"] != 1:
        return 0
    dilation = node.integers("dilations")[0]
    is_same = (
        node.integers("dilations") == (dilation, dilation)
        and node.integers("kernel_shape") == (3, 3)
        and node.integers("strides") == (1, 1)
        and node.integers("pads") == (dilation,) * 4
    )
    height, width = node.shape[2:]
    is_same = is_same and node.shape[0] == 1
    fits = height % dilation == 0 and width % dilation == 0
    return dilation if is_same and fits and 1 < dilation <= MAX_DILATION else 0


def _is_pointwise(node: Node, graph: Graph) -> bool:
    """Return True if a node applies the same function to all pixels and reads one tensor only."""
    return node.op in ("Relu", "BatchNormalization", "Mul", "Add") and all(
        name in graph.constants and graph.constants[name].shape[2:] in ((), (1, 1))
        for name in node.inputs[1:]
    )


def _to_phases(builder: GraphBuilder, name: str, shape: Shape, dilation: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // dilation, width // dilation
    x = builder.reshape("parts", name, (channels, rows, dilation, columns, dilation))
    transposed = (channels, dilation, dilation, rows, columns)
    x = builder.add_node("Transpose", "transposed", (x,), transposed, perm=(0, 2, 4, 1, 3))
    return builder.reshape("stacked", x, _stacked_shape(shape, dilation))


def _from_phases(builder: GraphBuilder, name: str, shape: Shape, dilation: int) -> str:
    _, channels, height, width = shape
    rows, columns = height // dilation, width // dilation
    x = builder.reshape("parts", name, (channels, dilation, dilation, rows, columns))
    transposed = (channels, rows, dilation, columns, dilation)
    x = builder.add_node("Transpose", "transposed", (x,), transposed, perm=(0, 3, 1, 4, 2))
    return builder.reshape("", x, shape)


def _stacked_shape(shape: Shape, dilation: int) -> Shape:
    return (*shape[:2], dilation * shape[2], shape[3] // dilation)
