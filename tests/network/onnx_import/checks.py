"""Run an ONNX file with ONNX Runtime, and its import with OpenCV, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from colorcv.network import loading
from colorcv.network.onnx_import import ImportedNetwork, import_onnx

Array = np.ndarray
Shape = tuple[int, ...]


def model(
    nodes: Sequence[Any],
    inputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, Any] | None = None,
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    element_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Build a model from nodes made by `node`."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info(k, element_type, list(v)) for k, v in inputs.items()],
        [helper.make_tensor_value_info(k, element_type, None) for k in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(op: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    """Make a node, with its inputs and outputs separated by spaces; "-" stands for none."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), **attributes)


def save(proto: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def feeds(shapes: Mapping[str, Shape], seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1.5, shape).astype("f4") for name, shape in shapes.items()}


def run_reference(data: bytes | str, given: Mapping[str, Array]) -> list[Array]:
    """Run a model with ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    typed = {
        port.name: given[port.name].astype("f2" if "float16" in port.type else "f4")
        for port in session.get_inputs()
    }
    outputs: list[Array] = session.run(None, typed)
    return outputs


def run_opencv(network: ImportedNetwork, given: Mapping[str, Array]) -> list[Array]:
    """Run an imported network with OpenCV."""
    net = loading.load_net(lambda: network.graph, "cpu")
    return run_net(net, network, given)


def run_net(net: cv2.dnn.Net, network: ImportedNetwork, given: Mapping[str, Array]) -> list[Array]:
    assert not net.empty()
    for name in network.inputs:
        net.setInput(given[name], name)
    # OpenCV 5.0 gives all outputs or one.
    names = [*network.outputs, *([network.features] if network.features else [])]
    count = len(network.outputs)
    outputs = [net.forward(names[0])] if count == 1 else list(net.forward(names))[:count]
    for output, shape in zip(outputs, network.outputs.values(), strict=True):
        assert output.shape == shape
    return outputs


def check(
    path: Path, shapes: Mapping[str, Shape] | None = None, *, tolerance: float = 1e-4
) -> ImportedNetwork:
    """Assert that OpenCV runs the import as ONNX Runtime runs the file."""
    network = import_onnx(path, shapes)
    given = feeds(network.inputs)
    expected = run_reference(str(path), given)
    for outputs in (run_reference(network.onnx.tobytes(), given), run_opencv(network, given)):
        # The import's ONNX has the features as a further output.
        for output, wanted in zip(outputs[: len(expected)], expected, strict=True):
            assert np.isfinite(wanted).all()
            np.testing.assert_allclose(
                output, wanted.reshape(output.shape), rtol=tolerance, atol=tolerance
            )
    return network
