"""Tests of the graph rewrites: each alone and all together keep the network's output."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest

from colorcv._typing import MemoryForm
from colorcv.network import onnx, profiles
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from colorcv.network.engine import Engine
from colorcv.network.graph import Graph, Node
from colorcv.network.memory import AvailableMemory
from colorcv.network.rewrites import channels_last, dilation, head, transforms, winograd
from tests.reference import onnx_reference, small
from tests.reference.caffe_writer import encode, sample_lightness

HEAD = """
layer { name: "data_l" type: "Input" top: "data_l"
  input_param { shape { dim: 1 dim: 1 dim: %d dim: %d } } }
"""
TAIL = """
layer { name: "conv8_313" type: "Convolution" bottom: "%s" top: "conv8_313"
  convolution_param { num_output: 313 kernel_size: 1 } }
layer { name: "conv8_313_rh" type: "Scale" bottom: "conv8_313" top: "conv8_313_rh"
  scale_param { filler { value: 2 } } }
layer { name: "class8_313_rh" type: "Softmax" bottom: "conv8_313_rh" top: "class8_313_rh" }
layer { name: "class8_ab" type: "Convolution" bottom: "class8_313_rh" top: "class8_ab"
  convolution_param { num_output: 2 kernel_size: 1 } }
"""


def conv(name: str, bottom: str, outputs: int, more: str, kind: str = "Convolution") -> str:
    return (
        f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}"\n'
        f"convolution_param {{ num_output: {outputs} {more} }} }}\n"
    )


def point(name: str, bottom: str, kind: str) -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{name}" }}\n'


SAME, DILATED = "kernel_size: 3 pad: 1", "kernel_size: 3 pad: 2 dilation: 2"
NETS = {
    "plain 3x3": conv("a", "data_l", 6, SAME) + conv("last", "a", 5, SAME),
    "no bias": conv("last", "data_l", 6, SAME + " bias_term: false"),
    "stride 2": conv("a", "data_l", 6, SAME) + conv("last", "a", 5, SAME + " stride: 2"),
    "deconvolution": conv("a", "data_l", 6, SAME)
    + conv("last", "a", 5, "kernel_size: 4 pad: 1 stride: 2", "Deconvolution"),
    "a run of dilated layers": conv("a", "data_l", 6, SAME)
    + point("n1", "a", "BatchNorm")
    + conv("b", "n1", 7, DILATED)
    + point("r2", "b", "ReLU")
    + conv("c", "r2", 5, DILATED)
    + point("r3", "c", "ReLU")
    + point("n3", "r3", "BatchNorm")
    + conv("d", "n3", 6, DILATED + " bias_term: false")
    + conv("last", "d", 4, SAME),
    "two runs with a tensor read by both": conv("a", "data_l", 6, DILATED)
    + point("ra", "a", "ReLU")
    + conv("b", "ra", 6, DILATED)
    + 'layer { name: "s" type: "Eltwise" bottom: "ra" bottom: "b" top: "s" }\n'
    + conv("last", "s", 4, DILATED),
    "dilation 3, and 2 after it": conv("a", "data_l", 6, "kernel_size: 3 pad: 3 dilation: 3")
    + point("r", "a", "ReLU")
    + conv("last", "r", 4, DILATED),
    "dilation 3, and 2 right after it": conv("a", "data_l", 6, "kernel_size: 3 pad: 3 dilation: 3")
    + conv("last", "a", 4, DILATED),
    "one tensor read with dilation 2, 3 and 2": conv("a", "data_l", 6, SAME)
    + conv("b", "a", 4, DILATED)
    + conv("c", "a", 4, "kernel_size: 3 pad: 3 dilation: 3")
    + conv("d", "a", 4, DILATED)
    + 'layer { name: "last" type: "Eltwise" bottom: "b" bottom: "c" bottom: "d" top: "last" }\n',
    "layers that no rewrite takes": conv("a", "data_l", 6, "kernel_size: 5 pad: 2")
    + conv("b", "a", 6, SAME + " group: 2")
    + conv("c", "b", 6, "kernel_size: 3 pad: 1 dilation: 2")
    + conv("last", "c", 6, "kernel_h: 3 kernel_w: 1 pad_h: 1 pad_w: 0"),
}


def takes_all(node: Node, channels: int) -> bool:
    return True


SIZES = [(12, 24), (18, 30)]

REWRITES: dict[str, Callable[[Graph], Graph]] = {
    "space to batch, Winograd": dilation.space_to_batch_winograd,
    "winograd": winograd.winograd(takes_all),
    "winograd, fewest products": winograd.winograd(takes_all, max_products=1),
    "winograd, smallest kernels": winograd.winograd(takes_all, max_products=9),
    "space to batch, fewest products": partial(dilation.space_to_batch_winograd, max_products=1),
    **{
        f"channels last, {name}": channels_last.winograd_channels_last(takes_all, **options)
        for name, options in {
            "defaults": {},
            "tiles of 5": {"max_products": 1, "max_tile": 5},
            "tiles of 4, shared": {"max_products": 1, "reuse_tiles": True},
            "smallest kernels": {"max_products": 9, "reuse_tiles": True},
        }.items()
    },
    "head": head.head_to_gemm,
    "all for 4": lambda graph: head.head_to_gemm(
        channels_last.winograd_channels_last(takes_all)(graph)
    ),
    "all for 5": lambda graph: head.head_to_gemm(
        winograd.winograd(takes_all)(dilation.space_to_batch_winograd(graph))
    ),
}


def build(tmp_path: Path, name: str, size: tuple[int, int]) -> Graph:
    net = prototxt.parse(HEAD % size + NETS[name] + TAIL % "last", "net")
    rng = np.random.default_rng(1)
    blobs: dict[str, list[Any]] = {}
    channels = {"data_l": 1}
    for layer in net.messages("layer"):
        title, kind = layer.string("name"), layer.string("type")
        c = channels.get(layer.strings("bottom")[0], 1) if layer.strings("bottom") else 1
        channels[title] = c
        if kind == "BatchNorm":
            blobs[title] = [rng.normal(0, 1, c), rng.uniform(0.5, 2, c), np.ones(1)]
        if kind in ("Convolution", "Deconvolution") and title != "class8_ab":
            given = layer.message("convolution_param")
            k = given.integers("kernel_size") * 2 or [3, 1]
            k_out, group = given.integer("num_output"), given.integer("group", 1)
            channels[title] = k_out
            fan = (c, k_out) if kind == "Deconvolution" else (k_out, c // group)
            scale = (2 / (c * 9)) ** 0.5 / (15 if c == 1 else 1)
            blobs[title] = [rng.normal(0, scale, (*fan, k[0], k[1]))]
            if given.flag("bias_term", True):
                blobs[title].append(rng.normal(0, 1, k_out))
    path = tmp_path / "net.caffemodel"
    path.write_bytes(encode(blobs))
    return importer.build(
        net, caffemodel.read(path), centers.read(small.CENTERS), weights_file=str(path)
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("name", NETS)
def test_rewrites_keep_the_output(
    tmp_path: Path, name: str, rewrite: str, size: tuple[int, int]
) -> None:
    graph = build(tmp_path, name, size)
    rewritten = REWRITES[rewrite](graph)
    assert rewritten.output_shape == graph.output_shape
    assert len({node.name for node in rewritten.nodes}) == len(rewritten.nodes)
    lightness = sample_lightness(size)
    expected = onnx_reference.run_ab(onnx.encode(graph), lightness)
    found = onnx_reference.run_ab(onnx.encode(filled(rewritten)), lightness)
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(found, expected, atol=2e-3)


def filled(graph: Graph) -> Graph:
    """Return the graph with the packed factors as constants, in place of the placeholders."""
    nodes = []
    for node in graph.nodes:
        if node.name in graph.packed:
            node = replace(node, inputs=(node.inputs[0], f"{node.name}:factor"))
        nodes.append(node)
    factors = {f"{name}:factor": packed.factor for name, packed in graph.packed.items()}
    return graph.replaced(nodes, factors)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("form", get_args(MemoryForm))
def test_this_opencv_runs_its_profiles(tmp_path: Path, name: str, form: MemoryForm) -> None:
    graph = build(tmp_path, name, (18, 30))
    lightness = sample_lightness((18, 30))
    engine = Engine(lambda: graph, "cpu", profiles.select_profile("cpu", form))
    found = engine.run({"data_l": (lightness - 50)[None, None]})[0][0].transpose(1, 2, 0)
    expected = onnx_reference.run_ab(onnx.encode(graph), lightness)
    np.testing.assert_allclose(found, expected, atol=5e-3)


@pytest.mark.skipif(cv2.__version__.startswith("5"), reason="MatMul's factors are packed by 4 only")
@pytest.mark.parametrize("name", NETS)
def test_opencv_4_runs_packed_factors(tmp_path: Path, name: str) -> None:
    rewrites = (channels_last.winograd_channels_last(takes_all, reuse_tiles=True),)
    graph = build(tmp_path, name, (18, 30))
    graph = replace(graph, features=graph.nodes[-4].inputs[0])
    lightness = sample_lightness((18, 30))
    engine = Engine(lambda: graph, "cpu", profiles.Profile(rewrites))
    expected = onnx_reference.run_ab(onnx.encode(replace(graph, features=None)), lightness)
    for _ in range(2):
        found, features = engine.run({"data_l": (lightness - 50)[None, None]})
        np.testing.assert_allclose(found[0].transpose(1, 2, 0), expected, atol=5e-3)
        engine.request_features()  # OpenCV allocates the network again, and factors are lost
    assert features is not None


def test_placeholders_of_packed_factors_give_no_colour(tmp_path: Path) -> None:
    graph = build(tmp_path, "plain 3x3", (12, 24))
    rewritten = REWRITES["channels last, defaults"](graph)
    assert len(rewritten.packed) == 2
    assert np.isnan(onnx_reference.run_ab(onnx.encode(rewritten), sample_lightness((12, 24)))).all()


def ops(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


def test_run_of_dilated_layers_is_converted_once(tmp_path: Path) -> None:
    graph = build(tmp_path, "a run of dilated layers", (12, 24))
    rewritten = dilation.space_to_batch_winograd(graph)
    perms = [node.attributes["perm"] for node in rewritten.nodes if node.op == "Transpose"]
    assert perms.count((0, 2, 4, 1, 3)) == 1  # to phases
    assert perms.count((0, 3, 1, 4, 2)) == 1  # and back
    dilated = [node for node in graph.nodes if dilation.dilation_of(node)]
    assert len(dilated) == 3
    assert ops(rewritten).count("Conv") == ops(graph).count("Conv") - len(dilated)


def test_all_convolutions_are_rewritten(tmp_path: Path) -> None:
    graph = build(tmp_path, "a run of dilated layers", (12, 24))
    rewritten = REWRITES["all for 5"](graph)
    assert "Conv" not in ops(rewritten)


@pytest.mark.parametrize(
    "rewrite",
    ["space to batch, Winograd", "winograd", "channels last, defaults"],
)
def test_other_layers_stay(tmp_path: Path, rewrite: str) -> None:
    graph = build(tmp_path, "layers that no rewrite takes", (12, 24))
    assert REWRITES[rewrite](graph).nodes == graph.nodes


def test_head_with_other_consumers_stays(tmp_path: Path) -> None:
    graph = build(tmp_path, "plain 3x3", (12, 24))
    assert ops(head.head_to_gemm(graph))[-6:-1] == [
        "Reshape", "Gemm", "Softmax", "Gemm", "Transpose"
    ]  # fmt: skip
    other = Node("Relu", "other", ("class8_313_rh",), graph.shape("class8_313_rh"))
    shared = graph.replaced([*graph.nodes, other])
    assert head.head_to_gemm(shared) is shared


def test_sizes_that_the_dilation_does_not_divide_stay(tmp_path: Path) -> None:
    graph = build(tmp_path, "a run of dilated layers", (13, 24))
    assert dilation.space_to_batch_winograd(graph).nodes == graph.nodes


@pytest.mark.parametrize(
    ("key", "taps", "output"),
    [
        (("Conv", 3, 1, 1, 1), 3, lambda x, w, y: x[y : y + 3] @ w),
        (("Conv", 3, 2, 1, 1), 3, lambda x, w, y: x[2 * y : 2 * y + 3] @ w),
        (
            ("ConvTranspose", 4, 2, 1, 1),
            4,
            lambda x, w, y: (
                x[y // 2] * w[3] + x[y // 2 + 1] * w[1]
                if y % 2 == 0
                else x[y // 2 + 1] * w[2] + x[y // 2 + 2] * w[0]
            ),
        ),
    ],
)
def test_transforms_in_one_dimension(key: Any, taps: int, output: Any) -> None:
    rng = np.random.default_rng(0)
    for transform in transforms.TRANSFORMS[key]:
        x, w = rng.standard_normal(transform.tile_in), rng.standard_normal(taps)
        products = (transform.kernel_transform @ w) * (transform.input_transform @ x)
        expected = [output(x, w, y) for y in range(transform.tile_out)]
        np.testing.assert_allclose(transform.output_transform @ products, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("size", "tile_out"),
    [((14, 14), 2), ((28, 28), 3), ((56, 56), 3), ((6, 6), 2), ((3, 3), 3), ((4, 4), 4)],
)
def test_select_transform(size: tuple[int, int], tile_out: int) -> None:
    candidates = transforms.TRANSFORMS["Conv", 3, 1, 1, 1]
    assert transforms.select_transform(candidates, size).tile_out == tile_out


@pytest.mark.parametrize(("max_products", "tile_out"), [(1.0, 4), (1.5, 3), (2.0, 2)])
def test_more_products_allow_smaller_kernels(max_products: float, tile_out: int) -> None:
    candidates = transforms.TRANSFORMS["Conv", 3, 1, 1, 1]
    assert transforms.select_transform(candidates, (28, 28), max_products).tile_out == tile_out


def test_products_of_tensors_have_three_dimensions(tmp_path: Path) -> None:
    """OpenCV 5.0 keeps a copy of the input of every MatMul of two-dimensional tensors."""
    graph = REWRITES["all for 5"](build(tmp_path, "a run of dilated layers", (12, 24)))
    products = [node for node in graph.nodes if node.op == "MatMul"]
    of_tensors = [node for node in products if not node.name.endswith("transformed")]
    assert len(of_tensors) == 3 * ops(graph).count("Concat") // 2
    assert all(len(node.shape) == 3 for node in of_tensors)


def test_the_published_f43_matrices() -> None:
    # Lavin and Gray 2015, section 4.3. Rows of kernel and input may have opposite scales.
    inputs, kernel, outputs = transforms.toom_cook(4, 3, (0, 1, -1, 2, -2))
    np.testing.assert_allclose(kernel[1] * inputs[1, 4], [-1 / 6] * 3)
    np.testing.assert_array_equal(outputs[3], [0, 1, -1, 8, -8, 1])
    np.testing.assert_array_equal(inputs[0], [4, 0, -5, 0, 1, 0])


@pytest.mark.parametrize(
    ("version", "fast", "low"),
    [
        ("4.9.0", 0, 0),
        ("4.10.0", 2, 2),
        ("4.14.0-dev", 2, 2),
        ("4.15.0", 0, 0),
        ("5.0.0", 3, 0),
        ("5.1.0", 0, 0),
        ("6.1.0", 0, 0),
        ("unknown", 0, 0),
    ],
)
def test_select_profile(monkeypatch: pytest.MonkeyPatch, version: str, fast: int, low: int) -> None:
    monkeypatch.setattr(cv2, "__version__", version)
    chosen = {form: profiles.select_profile("cpu", form) for form in get_args(MemoryForm)}
    assert [len(profile.rewrites) for profile in chosen.values()] == [fast, fast, low]
    assert not chosen["low"].opencv_winograd
    assert chosen["fast"].peak >= chosen["balanced"].peak > chosen["low"].peak
    for name in ("cuda", "cuda-fp16", "opencl", "opencl-fp16"):
        assert profiles.select_profile(name, "balanced") == profiles.DEFAULT_PROFILE


@pytest.mark.parametrize(
    ("mebibytes", "form", "reason"),
    [
        (None, "balanced", "the free memory is not known"),
        (8000, "balanced", r"balanced, which needs \d+ MiB; 8000 MiB are free"),
        (300, "low", r"low, because balanced needs \d+ MiB and only 300 MiB are free"),
        (1, "low", "only 1 MiB are free"),
    ],
)
def test_choose_form(mebibytes: int | None, form: str, reason: str) -> None:
    available = None if mebibytes is None else AvailableMemory(mebibytes << 20, "free")
    chosen, why = profiles.choose_form(123 << 20, available)
    assert chosen == form
    assert re.search(reason, why)


def test_classic_engine_gets_the_plain_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__version__", "5.0.0")
    monkeypatch.setenv("OPENCV_FORCE_DNN_ENGINE", "1")
    assert profiles.select_profile("cpu", "fast") == profiles.DEFAULT_PROFILE
