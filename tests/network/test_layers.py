"""Caffe's layers as a graph: right answers, and a readable refusal of everything else."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colorcv import network
from colorcv.errors import ModelFormatError, OptionError
from colorcv.network import onnx
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from tests.reference import onnx_reference, small
from tests.reference.caffe_writer import ENCODINGS, encode, sample_lightness

LIGHTNESS = sample_lightness((16, 24))


def load(tmp_path: Path, **changes: Any) -> network.Network:
    files = {k: changes.pop(k) for k in ("prototxt", "blobs", "encoding") if k in changes}
    return network.load(*small.write(tmp_path, **files), device="cpu", **changes)


def edited(old: str, new: str) -> str:
    assert old in small.PROTOTXT
    return small.PROTOTXT.replace(old, new, 1)


def damaged(layer: str, index: int, change: Any) -> small.Weights:
    made = small.weights()
    made[layer][index] = np.asarray(change(made[layer][index].copy()), np.float32)
    return made


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_layer_type_against_plain_loops(tmp_path: Path, encoding: str) -> None:
    found = load(tmp_path, encoding=encoding).predict_ab(LIGHTNESS)
    expected = small.answer(LIGHTNESS)
    assert found.shape == expected.shape == (16, 24, 2)
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_onnx_runtime_reads_the_same(tmp_path: Path) -> None:
    paths = small.write(tmp_path)
    graph = importer.build(
        prototxt.read(paths[0]),
        caffemodel.read(paths[1]),
        centers.read(paths[2]),
        weights_file="small",
    )
    found = onnx_reference.run_ab(onnx.encode(graph), LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS), atol=1e-3)


def test_temperature_replaces_the_prototxts(tmp_path: Path) -> None:
    found = load(tmp_path, temperature=0.25).predict_ab(LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS, scale=4.0), atol=1e-3)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "warm", 1e-9])
def test_temperature_must_make_sense(tmp_path: Path, temperature: Any) -> None:
    with pytest.raises(OptionError, match="temperature"):
        load(tmp_path, temperature=temperature)


def test_a_norm_that_summed_nothing(tmp_path: Path) -> None:
    blobs = damaged("norm1", 2, lambda b: b * 0)
    blobs["conv1"] = [blob / 300 for blob in blobs["conv1"]]
    found = load(tmp_path, blobs=blobs).predict_ab(LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS, blobs), atol=1e-3)


def test_blobs_of_the_injected_layers_are_left_alone(tmp_path: Path) -> None:
    blobs = small.weights()
    blobs["class8_ab"] = [np.full((2, 313, 1, 1), np.nan)]
    blobs["conv8_313_rh"] = [np.zeros(313)]
    found = load(tmp_path, blobs=blobs).predict_ab(LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS), atol=1e-3)


def test_another_input_size(tmp_path: Path) -> None:
    lightness = sample_lightness((20, 12))
    net = load(tmp_path, input_hw=(20, 12))
    assert (net.input_hw, net.output_hw) == ((20, 12), (20, 12))
    np.testing.assert_allclose(net.predict_ab(lightness), small.answer(lightness), atol=1e-3)


SUM = 'bottom: "conv2" bottom: "side"'
CONV2 = "num_output: 8 kernel_size: 3 pad: 2 dilation: 2 group: 2"


@pytest.mark.parametrize(
    ("prototxt_text", "why"),
    [
        (edited('type: "ReLU"', 'type: "PReLU"'), "layer 'relu1': its type 'PReLU' is not known"),
        (edited('type: "ReLU"', ""), "layer 'relu1': type is missing"),
        (edited('name: "relu1"', ""), "layer 3: name is missing"),
        (edited('name: "relu1"', 'name: "conv1"'), "layer 'conv1' stands there twice"),
        (edited('name: "relu1"', 'name: "a b"'), "layer 3: the name 'a b'"),
        (edited('name: "relu1"', 'name: ""'), "layer 3: the name ''"),
        (edited('bottom: "data_l"', 'bottom: "up"'), "'conv1': its bottom 'up' is made by no"),
        (edited('bottom: "data_l"', ""), "'conv1': 0 bottoms"),
        (edited('top: "side"', ""), "'side': 0 tops"),
        (edited('top: "side"', 'top: "conv2"'), "'side': its top 'conv2' is made by another"),
        (edited(SUM, 'bottom: "conv2"'), "'sum': 1 bottoms"),
        (edited(SUM, 'bottom: "conv2" bottom: "data_l"'), "'sum': it sums unlike tensors"),
        (edited(SUM, SUM + " eltwise_param { operation: MAX }"), "only a plain SUM"),
        (edited(SUM, SUM + " eltwise_param { coeff: 2 }"), "only a plain SUM"),
        (edited("dim: 1 dim: 1", "dim: 1 dim: 3"), "'data_l': shape .*, not 1, 1, height"),
        (edited("dim: 1 dim: 1", "dim: 1"), "'data_l': shape"),
        (edited("dim: 16", "dim: -16"), "'data_l': shape"),
        (edited("dim: 16", "dim: 99999999999999999999"), "'data_l': shape"),
        (edited("dim: 16", "dim: 60000").replace("24", "60000"), "too large a tensor"),
        (edited("dim: 16", "dim: 1.5"), "should be a whole number"),
        (edited(CONV2, CONV2 + " axis: 2"), "axis 2"),
        (edited(CONV2, CONV2 + " pads: 2"), "'pads' is not understood"),
        (edited("num_output: 6", "num_output: 0"), "num_output is 0"),
        (edited("num_output: 6", "num_output: -6"), "num_output is -6"),
        (edited("num_output: 6", "num_output: 2147483648"), "num_output is 2147483648"),
        (edited("num_output: 6", ""), "num_output is missing"),
        (edited("group: 2", "group: 3"), "group 3 does not divide 6 channels into 8"),
        (edited("group: 2", "group: 0"), "group is 0"),
        (edited("kernel_size: 3", "kernel_size: 0"), "kernel_size is 0"),
        (edited("kernel_size: 3", "kernel_size: 1000"), "kernel_size is 1000"),
        (edited("kernel_size: 3", ""), "kernel_size has 0 values"),
        (edited("kernel_size: 3", "kernel_size: 3 kernel_h: 3"), "both kernel_size and kernel_h"),
        (edited("kernel_h: 1", ""), "kernel_h is missing"),
        (edited("kernel_size: 3 pad: 1", "kernel_size: 40"), "nothing is left of 16x24"),
        (edited("kernel_size: 4 pad: 1", "kernel_size: 4 pad: 4"), "is not smaller than"),
        (edited("kernel_size: 1 }", "kernel_size: 1 pad: 1 }"), "is not smaller than the kernel"),
        (edited("kernel_size: 4", "kernel_size: 4 group: 2"), "deconvolution with dilation or gr"),
        (edited("kernel_size: 4", "kernel_size: 4 dilation: 2"), "deconvolution with dilation or"),
        (edited("group: 2", "group: 6").replace("num_output: 8", "num_output: 6"),
         "dilated depthwise"),
        (edited("stride: 2", "stride: 0"), "stride is 0"),
        (edited("pad: 1", "pad: -1"), "pad is -1"),
        (edited("dilation: 2", "dilation: 0"), "dilation is 0"),
        (edited("value: 1.5", "value: 0"), "1/T is 0"),
        (edited("value: 1.5", "value: nan"), "1/T is nan"),
        (edited("value: 1.5", ""), "states no constant value"),
        (edited("'constant'", "'gaussian'"), "states no constant value"),
        (edited('name: "class8_ab"', 'name: "other"'), "layer 'class8_ab', which holds the 313"),
        (edited('name: "conv8_313_rh"', 'name: "o"'), "'conv8_313_rh', which holds the scale"),
        (edited('name: "class8_ab" type: "Convolution"', 'name: "class8_ab" type: "ReLU"'),
         "'class8_ab': this layer cannot be of type 'ReLU'"),
        (edited("num_output: 2", "num_output: 3"), "the centres are"),
        (re.sub(r"(?m)^layer", "layers", small.PROTOTXT), "V1 layers are not taken"),
        ("name: 'x'", "no layers"),
        ("layer: 5", "layer should be a message"),
        (small.PROTOTXT + "layer { name: 'i' type: 'Input' top: 'i' input_param { shape { dim: "
         "[1, 1, 8, 8] } } }", "a second input"),
    ],
)  # fmt: skip
def test_a_prototxt_that_is_wrong(tmp_path: Path, prototxt_text: str, why: str) -> None:
    with pytest.raises(ModelFormatError, match=why) as caught:
        load(tmp_path, prototxt=prototxt_text)
    assert "small.prototxt" in str(caught.value)


@pytest.mark.parametrize(
    ("blobs", "why"),
    [
        (damaged("conv1", 0, lambda b: b[:5]), r"'conv1', blob 0: shape \(5, 1, 3, 3\), not \(6,"),
        (damaged("conv2", 0, lambda b: b.transpose(1, 0, 2, 3)), "'conv2', blob 0: shape"),
        (damaged("up", 0, lambda b: b.transpose(1, 0, 2, 3)), "'up', blob 0: shape"),
        (damaged("up", 1, lambda b: b[:4]), "'up', blob 1: shape"),
        (damaged("conv1", 0, lambda b: b * np.nan), "'conv1', blob 0: it holds NaN"),
        (damaged("conv1", 1, lambda b: b + np.inf), "'conv1', blob 1: it holds NaN or infinite"),
        (damaged("norm1", 1, lambda b: b - 9), "'norm1': its statistics make no sense"),
        (damaged("norm1", 2, lambda b: b - 3), "'norm1': its statistics make no sense"),
        (damaged("norm1", 2, lambda b: np.ones(2)), "'norm1', blob 2: shape"),
        ({**small.weights(), "conv2": []}, "'conv2': 0 blobs, 2 are needed"),
        ({**small.weights(), "side": small.weights()["conv2"]}, "'side': 2 blobs, 1 are needed"),
    ],
)
def test_weights_that_are_wrong(tmp_path: Path, blobs: small.Weights, why: str) -> None:
    with pytest.raises(ModelFormatError, match=why) as caught:
        load(tmp_path, blobs=blobs)
    assert re.search("small.(caffemodel|prototxt)", str(caught.value))


def test_a_number_too_large_for_float32(tmp_path: Path) -> None:
    blobs = small.weights()
    blobs["conv1"][1] = np.full(6, 1e300)
    files = small.write(tmp_path, caffemodel_bytes=encode(blobs, "double"))
    with pytest.raises(ModelFormatError, match="infinite"):
        network.load(*files, device="cpu")


def test_a_head_of_other_than_313_bins(tmp_path: Path) -> None:
    blobs = small.weights()
    blobs["conv8_313"] = [blob[:300] for blob in blobs["conv8_313"]]
    with pytest.raises(ModelFormatError, match="'conv8_313_rh': it should scale 313"):
        load(tmp_path, prototxt=edited("num_output: 313", "num_output: 300"), blobs=blobs)


@pytest.mark.parametrize(
    ("input_hw", "why"),
    [
        ((0, 24), r"1\.\.4096"),
        ((5000, 24), r"1\.\.4096"),
        ((16,), "rows, columns"),
        (16, "rows, columns"),
        (("a", 2), "rows, columns"),
        (None, None),
    ],
)
def test_input_sizes_that_do_not_go(tmp_path: Path, input_hw: Any, why: str | None) -> None:
    if why is None:
        text = edited(SUM, 'bottom: "conv8_1" bottom: "data_l"').replace(
            'layer { name: "sum"',
            'layer { name: "conv8_1" type: "Deconvolution" bottom: "norm1" top: "conv8_1"\n'
            "convolution_param { num_output: 1 kernel_size: 2 stride: 2 bias_term: false } }\n"
            'layer { name: "sum"',
        )
        blobs = small.weights()
        blobs["conv8_1"] = [np.ones((6, 1, 2, 2), "f4")]
        blobs["scale"] = [np.ones(1, "f4")] * 2
        blobs["up"] = [np.ones((1, 5, 4, 4), "f4"), np.ones(5, "f4")]
        load(tmp_path, prototxt=text, blobs=blobs, input_hw=(18, 20))
        with pytest.raises(OptionError, match=r"cannot run at 17x20 .* multiples of 2 go"):
            load(tmp_path, prototxt=text, blobs=blobs, input_hw=(17, 20))
        return
    with pytest.raises(OptionError, match=why):
        load(tmp_path, input_hw=input_hw)


def test_a_huge_network_in_a_small_file_is_refused_at_once(tmp_path: Path) -> None:
    grow = "".join(
        f'layer {{ name: "g{i}" type: "Deconvolution" bottom: "g{i - 1}" top: "g{i}"\n'
        "convolution_param { num_output: 1 kernel_size: 2 stride: 64 bias_term: false } }\n"
        for i in range(1, 40)
    ).replace('"g0"', '"data_l"')
    blobs = {f"g{i}": [np.ones((1, 1, 2, 2), "f4")] for i in range(1, 40)}
    started = time.perf_counter()
    with pytest.raises(ModelFormatError, match="too large a tensor"):
        load(
            tmp_path,
            prototxt=edited('layer { name: "conv1"', grow + 'layer { name: "conv1"'),
            blobs={**blobs, **small.weights()},
        )
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda b: b[:-1], "truncated"),
        (lambda b: b + b"x", "truncated"),
        (lambda b: b[:20], "no table of numbers|no .npy"),
        (lambda b: b"\x80\x04" + b, "no .npy"),
        (lambda b: b.replace(b"(313, 2)", b"(312, 2)"), r"\(312, 2\), not \(313, 2\)"),
        (lambda b: b.replace(b"'<i8'", b"'|O8'"), "no table of numbers"),
        (lambda b: b[:128] + b"\xff" * 7 + b"\x7f" + b[136:], "within -128..128"),
        (lambda b: b"<html>", "HTML page"),
        (lambda b: b"", "empty"),
        (lambda b: b * 20, "too many"),
    ],
)
def test_centres_that_are_wrong(tmp_path: Path, change: Any, why: str) -> None:
    path = tmp_path / "centers.npy"
    path.write_bytes(change(small.CENTERS.read_bytes()))
    with pytest.raises(ModelFormatError, match=why) as caught:
        centers.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", ["<i4", "<i8", "<f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_centres_in_other_types(tmp_path: Path, dtype: str, order: Any) -> None:
    expected = np.load(small.CENTERS)
    np.save(tmp_path / "c.npy", np.asarray(expected, dtype, order=order))
    np.testing.assert_array_equal(centers.read(tmp_path / "c.npy"), expected)
