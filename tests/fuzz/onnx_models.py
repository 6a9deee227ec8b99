"""Mutated ONNX files: bytes, protobuf fields, or whole nodes and their connections."""

from __future__ import annotations

import random
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from colorcv.network import loading, onnx
from colorcv.network.onnx_import import import_onnx, read_signature
from tests.fuzz.messages import mutate_message
from tests.fuzz.mutate import NUMBERS

__all__ = ["make_onnx", "mutate_onnx", "run_onnx"]

# Which fields are messages: the graph's nodes with attributes and their tensors, initializers with
# external data, inputs and outputs with types and shapes; the opset.
_TENSOR: dict[int, dict] = {13: {}}
_VALUE_INFO: dict[int, dict] = {2: {1: {2: {1: {}}}}}
_FIELDS: dict[int, dict] = {
    7: {1: {5: {5: _TENSOR}}, 5: _TENSOR, 11: _VALUE_INFO, 12: _VALUE_INFO},
    8: {},
}
_LOCATIONS = (
    *(
        "weights.bin",
        "../weights.bin",
        "/etc/passwd",
        "",
        ".",
        "..",
        "a/../../b",
        "C:\\x",
        "\\\\h\\s",
    ),
    *("/dev/zero", "/proc/self/mem", "weights.bin/", "x" * 900, "//etc/passwd", "~/x", "a\0b"),
)
_opened: list[str] = []


@cache
def _corpus() -> list[bytes]:
    from tests.network.onnx_import import test_operators as operators

    files = [operators.build(name).SerializeToString() for name in operators.CASES]
    folder = Path(__file__).parents[1] / "data" / "onnx"
    return files + [path.read_bytes() for path in sorted(folder.glob("*.onnx"))]


def make_onnx(rng: random.Random) -> bytes:
    corpus = _corpus()
    # The files of whole networks take much longer than those of single operators.
    data = rng.choice(corpus[-6:] if rng.random() < 0.01 else corpus[:-6])
    return mutate_onnx(rng, data)


def mutate_onnx(rng: random.Random, data: bytes) -> bytes:
    if rng.random() < 0.6:
        try:
            data = _mutate_graph(rng, data)
        except Exception:  # a guided run may mutate what is no longer a model
            return mutate_message(rng, data, _FIELDS)
        if rng.random() < 0.8:
            return data
    return mutate_message(rng, data, _FIELDS)


def _mutate_graph(rng: random.Random, data: bytes) -> bytes:
    """Join, rewire, rename and change nodes and constants."""
    from onnx import ModelProto, TensorProto

    model = ModelProto.FromString(data)
    if rng.random() < 0.5:
        _append(rng, model, ModelProto.FromString(rng.choice(_corpus()[:-6])))
    graph = model.graph
    names = [port.name for port in (*graph.input, *graph.initializer)]
    names += [name for node in graph.node for name in node.output]
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        node: Any = rng.choice(graph.node)
        match rng.randrange(9):
            case 0:
                node.op_type = _other_op(rng)
            case 1 if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice(names)
            case 2:
                node.input.append(rng.choice((*names, "")))
            case 3 if graph.input:
                shape = rng.choice(graph.input).type.tensor_type.shape
                if shape.dim:
                    rng.choice(shape.dim).dim_value = rng.choice(
                        (0, 1, 2, 3, 7, 8, 64, -1, 1 << 31)
                    )
            case 4 if graph.initializer:
                _change_constant(rng, rng.choice(graph.initializer))
            case 5 if node.attribute:
                attribute = rng.choice(node.attribute)
                attribute.i = rng.choice((*NUMBERS, *range(-4, 8)))
                if attribute.ints:
                    at = rng.randrange(len(attribute.ints))
                    attribute.ints[at] = rng.choice((*range(-3, 9), 64, 1 << 31))
            case 6:
                model.opset_import[0].version = rng.choice(
                    (6, 7, 9, 10, 11, 12, 13, 17, 18, 20, 21)
                )
            case 7 if graph.initializer:
                tensor = rng.choice(graph.initializer)
                tensor.data_location = TensorProto.EXTERNAL
                tensor.ClearField("raw_data")
                for key in ("location", "offset", "length"):
                    if rng.random() < 0.8:
                        entry = tensor.external_data.add()
                        entry.key = key
                        is_path = key == "location"
                        entry.value = rng.choice(
                            _LOCATIONS if is_path else ("0", "4", "-1", "9" * 25)
                        )
            case 8:
                graph.output[0].name = rng.choice(names)
    return bytes(model.SerializeToString())


def _append(rng: random.Random, model: Any, other: Any) -> None:
    """Put another model's nodes behind, on the first model's output where the shapes may fit."""
    graph = model.graph
    last = graph.output[0].name
    known = {port.name for port in other.graph.input}
    first = {name: rng.choice((last, last, graph.input[0].name)) for name in known}
    for tensor in other.graph.initializer:
        tensor.name = f"{tensor.name}'"
        graph.initializer.add().CopyFrom(tensor)
    for node in other.graph.node:
        inputs = [first.get(name, f"{name}'" if name else "") for name in node.input]
        outputs = [f"{name}'" if name else "" for name in node.output]
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
        graph.node.add().CopyFrom(node)
    graph.output[0].name = f"{other.graph.output[0].name}'"
    if len(graph.node) > 40:
        del graph.node[40:]


def _other_op(rng: random.Random) -> str:
    from colorcv.network.onnx_import.operators import OPERATORS

    return rng.choice((*OPERATORS, "If", "QuantizeLinear", "Unknown"))


def _change_constant(rng: random.Random, tensor: Any) -> None:
    from onnx import numpy_helper

    array = np.array(numpy_helper.to_array(tensor))
    if array.size:
        at = rng.randrange(array.size)
        choices = (-2, -1, 0, 1, 2, 3, 8, 64, 1 << 20, (1 << 31) - 1)
        if array.dtype.kind == "f":
            choices += (0.5, float("nan"), float("inf"), 1e38)  # type: ignore[assignment]
        array.reshape(-1)[at] = rng.choice(choices)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def run_onnx(path: Path) -> int:
    """Import a file and run it; assert that nothing outside of its folder is opened."""
    _watch_files()
    (path.parent / "weights.bin").write_bytes(b"\0" * 64)
    read_signature(path)
    _opened.clear()
    try:
        network = import_onnx(path)
    finally:
        folder = str(path.parent)
        assert all(name.startswith(folder) for name in _opened), _opened
    graph = network.graph
    data = onnx.encode(graph)
    # A small file may describe a large network, which is slow.
    if sum(float(np.prod(node.shape)) for node in graph.nodes) < 1_000_000:
        net = loading.load_net(lambda: graph, "cpu")
        for name, shape in network.inputs.items():
            net.setInput(np.full(shape, 0.5, np.float32), name)
        names = [*network.outputs, *([network.features] if network.features else [])]
        outputs = net.forward(names)
        for output, shape in zip(outputs, network.outputs.values(), strict=False):
            assert np.squeeze(output).shape == tuple(side for side in shape if side != 1)
    return data.size


@cache
def _watch_files() -> None:
    """Record the files that this process opens; a hook stays for good, so there is one."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            _opened.append(str(arguments[0]))

    sys.addaudithook(hook)
