"""Tests of ONNX serialisation, read back by the `onnx` package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx as reference
import pytest
from onnx import numpy_helper

from colorcv import network
from colorcv.errors import DeviceError
from colorcv.network import loading, onnx, profiles
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from colorcv.network.graph import Graph, Node, constant
from tests.reference import small
from tests.reference.caffe_writer import sample_lightness


def build(tmp_path: Path, encoding: str = "packed") -> Graph:
    paths = small.write(tmp_path, encoding=encoding)
    return importer.build(
        prototxt.read(paths[0]),
        caffemodel.read(paths[1]),
        centers.read(paths[2]),
        weights_file=str(paths[1]),
    )


def test_onnx_package_accepts_the_model(tmp_path: Path) -> None:
    graph = build(tmp_path)
    model = reference.load_from_string(onnx.encode(graph).tobytes())
    reference.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == onnx.OPSET
    (given,), (made,) = model.graph.input, model.graph.output
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [1, 1, 16, 24]
    assert [d.dim_value for d in made.type.tensor_type.shape.dim] == [1, 2, 16, 24]
    kernel = next(t for t in model.graph.initializer if t.name == "conv2:kernel")
    np.testing.assert_array_equal(numpy_helper.to_array(kernel), small.weights()["conv2"][0])


def test_all_attribute_types() -> None:
    node = Node(
        "Any", "n", ("x", "", "c"), (1,), {"f": 0.5, "i": -3, "s": "text", "l": (1, -1, 1 << 40)}
    )
    graph = Graph("x", (1,), "n", (node,), {"c": constant([1, -2], np.int64)})
    model = reference.load_from_string(onnx.encode(graph).tobytes())
    (found,) = model.graph.node
    assert list(found.input) == ["x", "", "c"]
    values = {a.name: reference.helper.get_attribute_value(a) for a in found.attribute}
    assert values == {"f": 0.5, "i": -3, "s": b"text", "l": [1, -1, 1 << 40]}
    assert numpy_helper.to_array(model.graph.initializer[0]).tolist() == [1, -2]


@pytest.mark.parametrize("encoding", ["packed", "half"])
def test_file_and_buffer_are_equal(tmp_path: Path, encoding: str) -> None:
    graph = build(tmp_path, encoding)
    with (tmp_path / "net.onnx").open("wb") as file:
        onnx.write(graph, file)
    assert (tmp_path / "net.onnx").read_bytes() == onnx.encode(graph).tobytes()


def test_large_constants_refer_to_the_caffemodel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx, "MIN_EXTERNAL", 100)
    graph = build(tmp_path)
    whole = reference.load_from_string(onnx.encode(graph).tobytes())
    model = reference.load_from_string(onnx.encode(graph, external=True).tobytes())
    content = (tmp_path / "small.caffemodel").read_bytes()
    outside = 0
    for tensor, expected in zip(model.graph.initializer, whole.graph.initializer, strict=True):
        if tensor.data_location == reference.TensorProto.EXTERNAL:
            outside += 1
            place = {entry.key: entry.value for entry in tensor.external_data}
            assert place["location"] == str(tmp_path / "small.caffemodel")
            start, size = int(place["offset"]), int(place["length"])
            assert content[start : start + size] == expected.raw_data
        else:
            assert tensor.raw_data == expected.raw_data
    assert outside == 6


@pytest.mark.parametrize("encoding", ["half", "double", "unpacked"])
def test_other_encodings_are_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(onnx, "MIN_EXTERNAL", 100)
    graph = build(tmp_path, encoding)
    assert onnx.encode(graph, external=True).tobytes() == onnx.encode(graph).tobytes()


@pytest.mark.parametrize("load_mode", ["file", "external"])
def test_failed_load_mode_falls_back_to_the_buffer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_mode: loading.LoadMode
) -> None:
    tried: list[str] = []
    load_net = loading.load_net

    def read(make_graph, device, mode="buffer"):  # type: ignore[no-untyped-def]
        tried.append(mode)
        if mode != "buffer":
            raise DeviceError("disk full")
        return load_net(make_graph, device, mode)

    monkeypatch.setattr(loading, "load_net", read)
    monkeypatch.setattr(
        profiles, "select_profile", lambda device, form: profiles.Profile(load_mode=load_mode)
    )
    lightness = sample_lightness((16, 24))
    net = network.load(*small.write(tmp_path), device="cpu")
    assert tried == [load_mode, "buffer"]
    np.testing.assert_allclose(net.predict_ab(lightness), small.answer(lightness), atol=1e-3)
