"""Import of an ONNX file: a checked graph with static shapes, from the file's nodes and weights.

A user's file is never passed to OpenCV: every node is read here, and written again in a form that
OpenCV runs right. What is not known is refused with a `ModelFormatError` that names the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..._typing import StrPath, UInt8Array
from ...errors import ModelFormatError
from .. import onnx
from ..graph import Graph, Node, Shape
from .call import Call
from .context import Context, Tensor
from .features import find_features
from .fusions import fuse_gelu, fuse_scale, separate
from .model import Model, NodeSpec, TensorInfo, read
from .operators import OPERATORS, QUANTIZED

__all__ = ["ImportedNetwork", "import_onnx"]

MIN_OPSET, MAX_OPSET = 7, 23
_FLOATS = ("float32", "float16", "float64", "bfloat16")
_MAX_INPUTS = 8


@dataclass(frozen=True)
class ImportedNetwork:
    """An imported ONNX file.

    Attributes
    ----------
    graph : Graph
        The network as `loading.load_net` takes it. Its weights stay in the file until then.
    inputs, outputs : dict of tuple of int
        The shapes, by the names in the file.
    """

    graph: Graph
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]

    @property
    def features(self) -> str | None:
        """Tensor that feeds the last layer with weights; a further output of the graph."""
        return self.graph.features

    @property
    def onnx(self) -> UInt8Array:
        """The graph as ONNX, (bytes,) uint8, which is what `cv2.dnn.readNetFromONNX` takes."""
        return onnx.encode(self.graph)


def import_onnx(path: StrPath, input_shapes: Mapping[str, Shape] | None = None) -> ImportedNetwork:
    """Import an ONNX file for `cv2.dnn`.

    Parameters
    ----------
    path : path
        The file. Its external data, if any, must be in the same folder or below.
    input_shapes : mapping of str to tuple of int, optional
        Shapes of the inputs by name; needed where the file leaves a side open.

    Returns
    -------
    ImportedNetwork
        With static shapes, float32, and names of inputs and outputs as in the file.

    Raises
    ------
    ModelFormatError
        The file cannot be read, or holds an operator or a form of one that is not supported.
    """
    path = Path(path)
    model = read(path)
    opset = model.signature.opset
    if not MIN_OPSET <= opset <= MAX_OPSET:
        raise ModelFormatError(
            f"{path}: opset {opset} is not supported ({MIN_OPSET} to {MAX_OPSET} are); export the "
            "model with opset 20"
        )
    context = Context(str(path), opset, model.size)
    inputs = _inputs(path, model, input_shapes or {})
    for name, constant in model.initializers.items():
        context.values[name] = constant
    for name, shape in inputs.items():
        context.check_size(shape)
        context.values[name] = Tensor(name, shape)
    for index, node in enumerate(_sorted(path, model)):
        context.prefix = f"n{index}"
        context.location = f"{path}: {node.op} node {node.name!r}"
        _convert(context, node)
    context.location = str(path)
    return _finish(context, model, inputs)


def _inputs(path: Path, model: Model, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the static shape of each input."""
    infos = model.signature.inputs
    if not 1 <= len(infos) <= _MAX_INPUTS:
        raise ModelFormatError(f"{path}: expected 1 to {_MAX_INPUTS} inputs, got {len(infos)}")
    for name in given:
        if name not in infos:
            raise ModelFormatError(f"{path}: it has no input {name!r}, only {', '.join(infos)}")
    shapes = {}
    for name, info in infos.items():
        if not name:
            raise ModelFormatError(f"{path}: an input has no name")
        if info.element_type not in _FLOATS:
            raise ModelFormatError(
                f"{path}: input {name!r} has {info.element_type} values; a model with float inputs "
                "is needed, not quantised"
            )
        shapes[name] = _input_shape(path, name, info, given.get(name))
    return shapes


def _input_shape(path: Path, name: str, info: TensorInfo, given: Shape | None) -> Shape:
    declared = info.shape
    shape = declared if given is None else tuple(given)
    if shape is None or None in shape:
        raise ModelFormatError(
            f"{path}: input {name!r} has shape {_shown(declared)}; state the sides that it leaves "
            "open"
        )
    if declared is not None and (
        len(declared) != len(shape)
        or any(a not in (None, b) for a, b in zip(declared, shape, strict=True))
    ):
        raise ModelFormatError(
            f"{path}: input {name!r} has shape {_shown(declared)}, which {shape} does not fit"
        )
    if len(shape) != 4 or any(side is None or side < 1 for side in shape):
        raise ModelFormatError(
            f"{path}: input {name!r} has shape {shape}; (1, channels, rows, columns) is expected"
        )
    return tuple(side for side in shape if side is not None)


def _shown(shape: tuple[int | None, ...] | None) -> str:
    if shape is None:
        return "(unknown)"
    return "(" + ", ".join("?" if side is None else str(side) for side in shape) + ")"


def _sorted(path: Path, model: Model) -> list[NodeSpec]:
    """Return the nodes that lead to the outputs, each after the nodes whose outputs it reads."""
    producer: dict[str, NodeSpec] = {}
    known = {*model.initializers, *model.signature.inputs}
    for node in model.nodes:
        for name in node.outputs:
            if name and (name in producer or name in known):
                raise ModelFormatError(f"{path}: two nodes have the output {name!r}")
            producer[name] = node
    order: list[NodeSpec] = []
    state: dict[int, bool] = {}  # id of a node -> whether it is in `order`
    pending = [producer[name] for name in model.signature.outputs if name in producer][::-1]
    while pending:
        node = pending[-1]
        if id(node) not in state:
            state[id(node)] = False
            for name in node.inputs[::-1]:
                if name in producer and name:
                    source = producer[name]
                    if state.get(id(source)) is False:
                        raise ModelFormatError(
                            f"{path}: {node.op} node {node.name!r}: its input {name!r} depends on "
                            "its output"
                        )
                    if id(source) not in state:
                        pending.append(source)
            continue
        pending.pop()
        if not state[id(node)]:
            state[id(node)] = True
            order.append(node)
    return order


def _convert(context: Context, node: NodeSpec) -> None:
    """Convert one node, and check what it gives."""
    _check_known(context, node)
    call = Call(context, node)
    result = OPERATORS[node.op](call)
    call.check_used()
    results = result if isinstance(result, tuple) else (result,)
    if len(results) < len([name for name in node.outputs if name]):
        context.fail(f"its {len(node.outputs)} outputs are not supported")
    for name, value in zip(node.outputs, results, strict=False):
        context.values[name] = value


def _check_known(context: Context, node: NodeSpec) -> None:
    if node.op in QUANTIZED:
        context.fail("quantised models are not supported; export it in float, not quantised")
    if node.domain not in ("", "ai.onnx"):
        context.fail(
            f"operators of domain {node.domain!r} are not supported; export the model with "
            "standard operators only (opset 20)"
        )
    for name, value in node.attributes.items():
        if value is None:
            if node.op in ("If", "Loop", "Scan"):
                context.fail(
                    "control flow is not supported; export the model with static shapes, or "
                    "simplify it with onnxsim"
                )
            context.fail(f"attribute {name!r} is not supported")
    if node.op not in OPERATORS:
        context.fail(
            f"operator {node.op!r} is not supported; export the model with opset 20, or simplify "
            "it with onnxsim"
        )


def _finish(context: Context, model: Model, inputs: dict[str, Shape]) -> ImportedNetwork:
    """Name the outputs as in the file, and leave out what does not lead to them."""
    nodes = {node.name: node for node in context.nodes}
    outputs: dict[str, Shape] = {}
    renamed: dict[str, str] = {}
    for name in model.signature.outputs:
        value = context.values.get(name)
        if not isinstance(value, Tensor) or value.name in inputs:
            context.fail(f"its output {name!r} does not depend on its inputs")
        if not name:
            context.fail("an output has no name")
        if not value.shape:
            context.fail(f"its output {name!r} is one number, not an image")
        if value.name in renamed:
            context.fail(f"its outputs {renamed[value.name]!r} and {name!r} are the same")
        if name in inputs or name in nodes or name in context.constants:
            context.fail(f"the name {name!r} of an output is used twice")
        outputs[name] = value.shape
        renamed[value.name] = name
    if not outputs:
        context.fail("it has no outputs")
    for name in inputs:
        if name in nodes or name in context.constants:
            context.fail(f"the name {name!r} of an input is used twice")
    needed = set(renamed)
    kept: list[Node] = []
    for node in reversed(context.nodes):
        if node.name in needed:
            needed.update(node.inputs)
            kept.append(_renamed(node, renamed))
    unused = [name for name in inputs if name not in needed]
    if unused:
        context.fail(f"its output does not depend on its input {unused[0]!r}")
    (first, shape), *more = inputs.items()
    output, *more_outputs = outputs
    graph = Graph(
        first,
        shape,
        output,
        tuple(kept[::-1]),
        context.constants,
        more_inputs=tuple(more),
        more_outputs=tuple(more_outputs),
    )
    graph = separate(fuse_scale(fuse_gelu(graph)))
    graph = replace(graph, features=find_features(graph))
    return ImportedNetwork(graph, inputs, outputs)


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    inputs = tuple(names.get(name, name) for name in node.inputs)
    return replace(node, name=names.get(node.name, node.name), inputs=inputs)
