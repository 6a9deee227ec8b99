"""siggraph17 from Caffe files: against OpenCV 4's importer and ONNX Runtime, and wrong files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest

from colorcv._typing import MemoryForm
from colorcv.errors import ModelFormatError
from colorcv.network import onnx, profiles
from colorcv.network.caffe import caffemodel, importer, prototxt
from colorcv.network.engine import Engine
from colorcv.network.graph import Graph
from tests.reference import siggraph_caffe
from tests.reference.caffe_writer import sample_lightness

SIZE = 32


def read(paths: tuple[Path, Path]) -> Graph:
    net, blobs = prototxt.read(paths[0]), caffemodel.read(paths[1])
    return importer.build(net, blobs, None, weights_file=str(paths[1]))


def sample_input(seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    mask = rng.random((SIZE, SIZE)) < 0.02
    ab = rng.uniform(-60, 60, (2, SIZE, SIZE)) * mask
    light = sample_lightness((SIZE, SIZE), seed) - 50
    return np.stack([light, *ab, 110 * mask])[None].astype(np.float32)


def forward(net: cv2.dnn.Net, values: Any) -> Any:
    net.setInput(values)
    return net.forward().copy()


@pytest.mark.parametrize("memory", get_args(MemoryForm))
def test_agrees_with_onnx_runtime(tmp_path: Path, memory: MemoryForm) -> None:
    runtime = pytest.importorskip("onnxruntime")
    graph = read(siggraph_caffe.write(tmp_path, size=SIZE))
    session = runtime.InferenceSession(bytes(onnx.encode(graph)))
    profile = profiles.select_profile("cpu", memory)
    engine = Engine(lambda: graph, "cpu", profile)
    for seed in range(2):
        values = sample_input(seed)
        expected = session.run(None, {graph.input: values})[0]
        assert expected.std() > 10
        np.testing.assert_allclose(engine.run({graph.input: values})[0], expected, atol=0.01)


@pytest.mark.skipif(not hasattr(cv2.dnn, "readNetFromCaffe"), reason="OpenCV 5 reads no Caffe")
def test_agrees_with_opencv(tmp_path: Path) -> None:
    paths = siggraph_caffe.write(tmp_path, size=SIZE)
    try:
        reference = cv2.dnn.readNetFromCaffe(*map(str, paths))
    except cv2.error:
        pytest.skip("this OpenCV has no Caffe importer")
    net = cv2.dnn.readNetFromONNX(onnx.encode(read(paths)))
    for seed in range(2):
        values = sample_input(seed)
        np.testing.assert_allclose(forward(net, values), forward(reference, values), atol=0.01)


def test_a_repeated_name_has_the_weights_of_its_first_layer(tmp_path: Path) -> None:
    paths = siggraph_caffe.write(tmp_path, size=SIZE)
    text = paths[0].read_text()
    assert text.count('name: "relu10_1"') == 2
    paths[0].write_text(text.replace('name: "relu10_1"', 'name: "conv10_2"', 1))
    with pytest.raises(ModelFormatError, match="'conv10_2': its name is used twice"):
        read(paths)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("slice_point: 1", "slice_point: 4", "rising slice_point between 0 and 4, got axis 1 and"),
        ("slice_point: 1", "slice_point: 0", "rising slice_point"),
        ("slice_point: 1", "slice_point: [1, 2]", "and 1 rising slice_point"),
        ("axis: 1 slice_point: 1", "axis: 2 slice_point: 1", "expected axis 1"),
        ('top: "data_ab_mask"', "", "expected 2 tops, got 1"),
        ("dim: 4", "dim: 2", r"or \[1, 4, height, width\], got \[1, 2"),
        (
            'bottom: "tanh" top: "pred_ab"',
            'bottom: "conv10_ab" top: "pred_ab"',
            "one output, got 2",
        ),
        ('name: "conv10_ab_tanh"', 'name: "class8_ab"', "give the file of the centres"),
    ],
)
def test_wrong_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    paths = siggraph_caffe.write(tmp_path, size=SIZE)
    text = paths[0].read_text()
    assert old in text
    paths[0].write_text(text.replace(old, new))
    with pytest.raises(ModelFormatError, match=message):
        read(paths)


def test_a_scale_without_blobs_takes_the_value_of_the_prototxt(tmp_path: Path) -> None:
    paths = siggraph_caffe.write(tmp_path, size=SIZE)
    expected = forward(cv2.dnn.readNetFromONNX(onnx.encode(read(paths))), sample_input())
    text, blobs = siggraph_caffe.make(4, SIZE)
    del blobs["pred_ab"]
    siggraph_caffe.caffe_writer.write(paths[1], blobs)
    paths[0].write_text(
        text.replace(
            "scale_param { bias_term: false }",
            "scale_param { filler { type: 'constant' value: 100 } bias_term: false }",
        )
    )
    found = forward(cv2.dnn.readNetFromONNX(onnx.encode(read(paths))), sample_input())
    np.testing.assert_array_equal(found, expected)
