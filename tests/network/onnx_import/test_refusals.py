"""What cannot be imported is refused with the file, the node and what to do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from colorcv.errors import ModelFormatError
from colorcv.network.onnx_import import import_onnx, read_signature
from tests.network.onnx_import.checks import check, feeds, model, node, run_opencv, save

X = {"x": (1, 3, 8, 8)}
F, I = np.float32, np.int64  # noqa: E741
WEIGHTS = np.arange(12, dtype=F).reshape(4, 3, 1, 1) / 12


def relu() -> onnx.ModelProto:
    return model([node("Relu", "x")], X)


def branch() -> Any:
    return helper.make_graph(
        [node("Relu", "x")], "b", [], [helper.make_empty_tensor_value_info("y")]
    )


def custom() -> onnx.ModelProto:
    proto = model([helper.make_node("FusedConv", ["x"], ["y"], domain="com.microsoft")], X)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


@pytest.mark.parametrize(
    ("proto", "message"),
    [
        pytest.param(
            model([node("DynamicQuantizeLinear", "x", "q s z")], X, outputs=["q"]),
            "DynamicQuantizeLinear node 'q'.*not quantised",
            id="quantised",
        ),
        pytest.param(custom(), "domain 'com.microsoft'.*opset 20", id="custom domain"),
        pytest.param(model([node("Bernoulli", "x")], X), "'Bernoulli'.*opset 20", id="unknown"),
        pytest.param(
            model([node("If", "c", then_branch=branch(), else_branch=branch())], X, {"c": True}),
            "control flow.*onnxsim",
            id="control flow",
        ),
        pytest.param(model([node("Relu", "x")], X, opset=6), "opset 6.*opset 20", id="old opset"),
        pytest.param(
            model([node("Relu", "x")], X, element_type=TensorProto.UINT8),
            "uint8 values.*not quantised",
            id="bytes in",
        ),
        pytest.param(model([node("Relu", "x")], {"x": (3, 8)}), r"channels, rows", id="two axes"),
        pytest.param(
            model([node("Relu", "x")], {"x": (1, 3, "h", "w")}), "state the sides", id="open sides"
        ),
        pytest.param(
            model([node("Relu", "z", "w"), node("Relu", "w", "z"), node("Add", "x z")], X),
            "depends on its output",
            id="cycle",
        ),
        pytest.param(model([node("Relu", "nothing")], X), "'nothing' does not", id="no such input"),
        pytest.param(
            model([node("Relu", "x"), node("Abs", "x")], X), "two nodes", id="output twice"
        ),
        pytest.param(
            model([node("Conv", "x w")], X, {"w": np.ones((4, 5, 1, 1), F)}),
            r"\(4, 5, 1, 1\) do not fit \(1, 3, 8, 8\)",
            id="weights of another width",
        ),
        pytest.param(
            model([node("Reshape", "x s")], X, {"s": I([7, -1])}), "cannot reshape", id="reshape"
        ),
        pytest.param(
            model([node("Slice", "x s e a")], X, {"s": I([8]), "e": I([9]), "a": I([3])}),
            "is empty",
            id="nothing left",
        ),
        pytest.param(
            model([node("Expand", "x s")], {"x": (1, 1, 1, 1)}, {"s": I([1, 1 << 10, 1 << 20, 9])}),
            "too large|too much memory",
            id="a huge tensor in a small file",
        ),
        pytest.param(
            model(
                [
                    node("ConstantOfShape", "s", "c"),
                    node("ReduceSum", "c", "t", keepdims=0),
                    node("Add", "x t"),
                ],
                X,
                {"s": I([1 << 13, 1 << 13])},
            ),
            "too much memory|too large",
            id="a huge constant in a small file",
        ),
        pytest.param(
            model([node("Relu", "x", "z"), node("Identity", "c")], X, {"c": F([1])}),
            "does not depend",
            id="constant output",
        ),
        pytest.param(
            model([node("Pad", "x p", mode="edge")], X, {"p": I([0, 1, 0, 0, 0, 0, 0, 0])}),
            "rows and columns only",
            id="edges of channels",
        ),
        pytest.param(
            model([node("Neg", "c", "n"), node("Where", "n x x")], X, {"c": np.array([True])}),
            "cannot be computed from bool",
            id="negative of a bool",
        ),
        pytest.param(
            model([node("Relu", "x", gain=2.0)], X), "attribute 'gain'", id="unknown attribute"
        ),
        pytest.param(
            model(
                [node("Resize", "x - s", antialias=1, mode="linear")],
                X,
                {"s": F([1, 1, 0.5, 0.5])},
                opset=18,
            ),
            "antialias",
            id="antialias",
        ),
    ],
)
def test_refused(proto: onnx.ModelProto, message: str, tmp_path: Path) -> None:
    path = save(proto, tmp_path)
    with pytest.raises(ModelFormatError, match=message) as caught:
        import_onnx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"<!DOCTYPE html><html>", "HTML", id="a web page"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS", id="a pointer"),
        pytest.param(relu().SerializeToString()[:-9], "truncated|not protobuf", id="cut off"),
        pytest.param(b"\x08\x07", "not an ONNX model", id="no graph"),
        pytest.param(b"\xff" * 100, "not protobuf", id="other bytes"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for read in (read_signature, import_onnx):
        with pytest.raises(ModelFormatError, match=message):
            read(path)


def test_given_shape_must_fit(tmp_path: Path) -> None:
    path = save(model([node("Relu", "x")], {"x": (1, 3, "h", 8)}), tmp_path)
    assert import_onnx(path, {"x": (1, 3, 5, 8)}).outputs == {"y": (1, 3, 5, 8)}
    with pytest.raises(ModelFormatError, match=r"\(1, 3, \?, 8\), which \(1, 3, 5, 9\)"):
        import_onnx(path, {"x": (1, 3, 5, 9)})
    with pytest.raises(ModelFormatError, match="no input 'image', only x"):
        import_onnx(path, {"image": (1, 3, 5, 8)})


def external(folder: Path, location: str, **more: str) -> Path:
    """Write a model whose weights are in another file."""
    proto = model([node("Conv", "x w")], X, {"w": WEIGHTS})
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return save(proto, folder)


def test_external_data_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "w.bin").write_bytes(b"ab" + WEIGHTS.tobytes() + b"cd")
    network = import_onnx(external(tmp_path, "parts/w.bin", offset="2", length="48"))
    given = feeds(network.inputs)
    expected = np.einsum("oc,bchw->bohw", WEIGHTS[..., 0, 0], given["x"])
    np.testing.assert_allclose(run_opencv(network, given)[0], expected, atol=1e-5)


@pytest.mark.parametrize(
    "location",
    ["../w.bin", "sub/../../w.bin", "/etc/passwd", "", "C:\\w.bin", "..\\w.bin", "\\\\host\\w"],
)
def test_external_data_elsewhere_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ModelFormatError, match="beside the model"):
        import_onnx(external(tmp_path / "model", location))


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    (tmp_path / "model" / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelFormatError, match="link out of the model's folder"):
        import_onnx(external(tmp_path / "model", "w.bin"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"offset": "8"}, "should end at byte 56.*has 48 bytes"),
        ({"offset": "-8"}, "offset of its external data is '-8'"),
        ({"length": "44"}, r"shape \(4, 3, 1, 1\) needs 48 bytes, got 44"),
    ],
)
def test_external_range_must_fit(tmp_path: Path, more: dict[str, str], message: str) -> None:
    (tmp_path / "w.bin").write_bytes(WEIGHTS.tobytes())
    with pytest.raises(ModelFormatError, match=message):
        import_onnx(external(tmp_path, "w.bin", **more))


def encodings() -> dict[str, TensorProto]:
    typed = {
        name: helper.make_tensor("w", kind, WEIGHTS.shape, WEIGHTS.reshape(-1))
        for name, kind in (
            ("float_data", TensorProto.FLOAT),
            ("half in int32_data", TensorProto.FLOAT16),
            ("bfloat16 in int32_data", TensorProto.BFLOAT16),
            ("double_data", TensorProto.DOUBLE),
        )
    }
    half = numpy_helper.from_array(WEIGHTS.astype("f2"), "w")
    return {**typed, "raw": numpy_helper.from_array(WEIGHTS, "w"), "raw half": half}


@pytest.mark.parametrize("name", encodings())
def test_encodings_of_weights(name: str, tmp_path: Path) -> None:
    tensor = encodings()[name]
    expected = numpy_helper.to_array(tensor).astype(F)
    proto = model([node("Cast", "w", "v", to=TensorProto.FLOAT), node("Conv", "x v")], X)
    proto.graph.initializer.append(tensor)
    network = import_onnx(save(proto, tmp_path))
    (weights,) = [value for _, value in network.graph.used_constants()]
    np.testing.assert_array_equal(weights.array(), expected)


@pytest.mark.parametrize("values", [[0, -1, 5], [1 << 40, -(1 << 62), 127, 128]])
def test_integers_in_varints(values: list[int], tmp_path: Path) -> None:
    proto = model([node("Mul", "c c", "d"), node("Cast", "d", "e", to=1), node("Add", "x e")],
                  {"x": (1, 1, 1, len(values))})  # fmt: skip
    tensor = helper.make_tensor("c", TensorProto.INT64, [len(values)], values)
    proto.graph.initializer.append(tensor)
    network = import_onnx(save(proto, tmp_path))
    (found,) = [value for _, value in network.graph.used_constants()]
    with np.errstate(over="ignore"):
        expected = np.square(np.array(values, np.int64)).astype(F)
    np.testing.assert_array_equal(found.array().reshape(-1), expected)


def test_scales_that_are_not_finite_give_no_warning(tmp_path: Path) -> None:
    nodes = [
        node("Reshape", "x shape", "tokens"), node("LayerNormalization", "tokens s b", "n"),
        node("Mul", "n r", "m"), node("Relu", "m"),
    ]  # fmt: skip
    constants = {"s": np.full(4, np.inf, F), "b": np.zeros(4, F), "r": np.zeros(4, F)}
    constants["shape"] = I([1, 12, 4])
    network = import_onnx(save(model(nodes, {"x": (1, 3, 4, 4)}, constants), tmp_path))
    assert any(np.isnan(value.array()).all() for _, value in network.graph.used_constants())


def test_nodes_in_any_order(tmp_path: Path) -> None:
    check(save(model([node("Mul", "r r"), node("Relu", "x", "r")], X), tmp_path))


def test_large_computed_constants_are_not_kept(tmp_path: Path) -> None:
    """Spectral norm divides every weight; the quotients are computed when they are written."""
    weights = np.random.default_rng(0).normal(0, 1, (512, 512, 3, 3)).astype(F)
    nodes = [
        node("Reshape", "w s", "flat"), node("MatMul", "flat v", "u"),
        node("ReduceL2", "u", "norm", keepdims=0), node("Div", "w norm", "n"),
        node("Conv", "x n", kernel_shape=[3, 3]),
    ]  # fmt: skip
    constants = {"w": weights, "s": I([512, -1]), "v": np.ones(4608, F) / F(4608**0.5)}
    path = save(model(nodes, {"x": (1, 512, 4, 4)}, constants), tmp_path)
    network = import_onnx(path)
    (constant,) = [value for _, value in network.graph.used_constants()]
    sigma = np.linalg.norm(weights.reshape(512, -1) @ constants["v"])
    first, second = constant.array(), constant.array()
    assert first is not second
    np.testing.assert_allclose(first, weights / sigma, rtol=1e-4)
    check(path)
