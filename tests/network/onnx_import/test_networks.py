"""Small files of the known networks: OpenCV on the import agrees with ONNX Runtime on the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from colorcv.network.onnx_import import import_onnx, read_signature
from tests.network.onnx_import.checks import run_opencv, run_reference
from tests.reference.caffe_writer import sample_lightness

FOLDER = Path(__file__).parents[2] / "data" / "onnx"
# Name -> scale of the input.
FILES = {
    "eccv16": 1,
    "siggraph17": 1,
    "ddcolor": 0.01,
    "ddcolor_new": 0.01,
    "deoldify_artistic": 2.55,
    "deoldify_stable_half": 2.55,
}
# Of the largest value. Seeded networks amplify rounding: two orders of the same sums differ by a
# tenth of it, and OpenCV 4 computes 3x3 convolutions by Winograd's transform.
TOLERANCE = 1e-3


def inputs(name: str, size: int) -> dict[str, np.ndarray]:
    lightness = sample_lightness((size, size))[None, None]
    signature = read_signature(FOLDER / f"{name}.onnx")
    if len(signature.inputs) == 3:
        rng = np.random.default_rng(0)
        mask = (rng.random((1, 1, size, size)) < 0.01).astype("f4")
        ab = rng.uniform(-60, 60, (1, 2, size, size)).astype("f4") * mask
        return {"data_l": lightness, "user_ab": ab, "user_map": mask}
    ((port, info),) = signature.inputs.items()
    assert info.shape is not None
    scaled = lightness * np.float32(FILES[name])
    return {port: np.repeat(scaled, info.shape[1] or 1, axis=1)}


def widened(path: Path) -> bytes:
    """Return a file with half precision replaced by float32, by the `onnx` package."""
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            array = numpy_helper.to_array(tensor).astype("f4")
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                array = numpy_helper.to_array(attribute.t).astype("f4")
                attribute.t.CopyFrom(numpy_helper.from_array(array))
    del model.graph.value_info[:]
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", FILES)
def test_network(name: str) -> None:
    path = FOLDER / f"{name}.onnx"
    given = inputs(name, 64)
    network = import_onnx(path, {key: array.shape for key, array in given.items()})
    (expected,) = run_reference(widened(path), given)
    (found,) = run_opencv(network, given)
    assert expected.std() > 1
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        pytest.param("eccv16", (1, 4, 16, 16), id="before the 313 bins, not their softmax"),
        pytest.param("ddcolor", (1, 9, 64, 64), id="before the last convolution"),
    ],
)
def test_features_feed_the_last_layer(name: str, shape: tuple[int, ...]) -> None:
    network = import_onnx(FOLDER / f"{name}.onnx")
    assert network.features is not None
    assert network.graph.shape(network.features) == shape


def test_layer_normalization_is_found_in_its_parts() -> None:
    operators = [node.op for node in import_onnx(FOLDER / "ddcolor.onnx").graph.nodes]
    assert operators.count("LayerNormalization") == 15
    assert operators.count("Gelu") > 0
    assert "Erf" not in operators


def test_open_sides_take_any_size() -> None:
    given = inputs("siggraph17", 96)
    path = FOLDER / "siggraph17.onnx"
    network = import_onnx(path, {key: array.shape for key, array in given.items()})
    (expected,) = run_reference(str(path), given)
    (found,) = run_opencv(network, given)
    np.testing.assert_allclose(found, expected, atol=TOLERANCE * np.abs(expected).max())
