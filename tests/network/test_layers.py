"""Tests of the Caffe import: correct outputs, and a clear error for everything else."""

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
def test_all_layer_types_against_plain_loops(tmp_path: Path, encoding: str) -> None:
    found = load(tmp_path, encoding=encoding).predict_ab(LIGHTNESS)
    expected = small.answer(LIGHTNESS)
    assert found.shape == expected.shape == (16, 24, 2)
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_onnx_runtime_gives_the_same_ab(tmp_path: Path) -> None:
    paths = small.write(tmp_path)
    graph = importer.build(
        prototxt.read(paths[0]),
        caffemodel.read(paths[1]),
        centers.read(paths[2]),
        weights_file="small",
    )
    found = onnx_reference.run_ab(onnx.encode(graph), LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS), atol=1e-3)


def test_temperature_replaces_that_of_the_prototxt(tmp_path: Path) -> None:
    found = load(tmp_path, temperature=0.25).predict_ab(LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS, scale=4.0), atol=1e-3)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), "warm", 1e-9])
def test_invalid_temperature(tmp_path: Path, temperature: Any) -> None:
    with pytest.raises(OptionError, match="temperature"):
        load(tmp_path, temperature=temperature)


def test_batch_norm_with_factor_0(tmp_path: Path) -> None:
    blobs = damaged("norm1", 2, lambda b: b * 0)
    blobs["conv1"] = [blob / 300 for blob in blobs["conv1"]]
    found = load(tmp_path, blobs=blobs).predict_ab(LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS, blobs), atol=1e-3)


def test_blobs_of_the_injected_layers_are_ignored(tmp_path: Path) -> None:
    blobs = small.weights()
    blobs["class8_ab"] = [np.full((2, 313, 1, 1), np.nan)]
    blobs["conv8_313_rh"] = [np.zeros(313)]
    found = load(tmp_path, blobs=blobs).predict_ab(LIGHTNESS)
    np.testing.assert_allclose(found, small.answer(LIGHTNESS), atol=1e-3)


def test_other_input_size(tmp_path: Path) -> None:
    lightness = sample_lightness((20, 12))
    net = load(tmp_path, input_hw=(20, 12))
    assert (net.input_hw, net.output_hw) == ((20, 12), (20, 12))
    np.testing.assert_allclose(net.predict_ab(lightness), small.answer(lightness), atol=1e-3)


SUM = 'bottom: "conv2" bottom: "side"'
CONV2 = "num_output: 8 kernel_size: 3 pad: 2 dilation: 2 group: 2"


@pytest.mark.parametrize(
    ("prototxt_text", "message"),
    [
        (edited('type: "ReLU"', 'type: "PReLU"'), "layer 'relu1': layer type 'PReLU' is not"),
        (edited('type: "ReLU"', ""), "layer 'relu1': type is missing"),
        (edited('name: "relu1"', ""), "layer 3: name is missing"),
        (edited('name: "side"', 'name: "conv1"'), "layer 'conv1': its name is used twice"),
        (edited('name: "relu1"', 'name: "a b"'), "layer 3: a name must be .* got 'a b'"),
        (edited('name: "relu1"', 'name: ""'), "layer 3: a name must be .* got ''"),
        (edited('bottom: "data_l"', 'bottom: "up"'), "'conv1': its bottom 'up' is not a top of"),
        (edited('bottom: "data_l"', ""), "'conv1': expected 1 bottoms for Convolution, got 0"),
        (edited('top: "side"', ""), "'side': expected 1 tops, got 0"),
        (edited('top: "side"', 'top: "conv2"'), "'side': its top 'conv2' is already a top"),
        (edited(SUM, 'bottom: "conv2"'), "'sum': expected 2 bottoms for Eltwise, got 1"),
        (edited(SUM, 'bottom: "conv2" bottom: "data_l"'), "'sum': cannot add tensors of shapes"),
        (edited('type: "ReLU"', 'type: "ReLU" relu_param { negative_slope: -1 }'),
         "negative_slope must be between 0 and 1, got -1"),
        (edited(SUM, SUM + " eltwise_param { operation: MAX }"), "only SUM without coeff"),
        (edited(SUM, SUM + " eltwise_param { coeff: 2 }"), "only SUM without coeff"),
        (edited("dim: 1 dim: 1", "dim: 1 dim: 3"), r"expected shape \[1, 1, .*, got \[1, 3"),
        (edited("dim: 1 dim: 1", "dim: 1"), "'data_l': expected shape"),
        (edited("dim: 16", "dim: -16"), "'data_l': expected shape"),
        (edited("dim: 16", "dim: 99999999999999999999"), "'data_l': expected shape"),
        (edited("dim: 16", "dim: 60000").replace("24", "60000"), r"the tensor \(.*\) is too large"),
        (edited("dim: 16", "dim: 1.5"), "must be an integer"),
        (edited(CONV2, CONV2 + " axis: 2"), "axis must be 1, got 2"),
        (edited(CONV2, CONV2 + " pads: 2"), "field 'pads' is not supported"),
        (edited("num_output: 6", "num_output: 0"), "num_output must be .* got 0"),
        (edited("num_output: 6", "num_output: -6"), "num_output must be .* got -6"),
        (edited("num_output: 6", "num_output: 2147483648"), "num_output must be .* got 2147483648"),
        (edited("num_output: 6", ""), "num_output is missing"),
        (edited("group: 2", "group: 3"), "group must divide 6 and 8 channels, got 3"),
        (edited("group: 2", "group: 0"), "group must be .* got 0"),
        (edited("kernel_size: 3", "kernel_size: 0"), "kernel_size must be .* got 0"),
        (edited("kernel_size: 3", "kernel_size: 1000"), "kernel_size must be .* got 1000"),
        (edited("kernel_size: 3", ""), "kernel_size must have 1 or 2 values, got 0"),
        (edited("kernel_size: 3", "kernel_size: 3 kernel_h: 3"), "kernel_size or kernel_h .* not"),
        (edited("kernel_h: 1", ""), "kernel_h is missing"),
        (edited("kernel_size: 3 pad: 1", "kernel_size: 40"), "a 16x24 input has no output"),
        (edited("kernel_size: 4 pad: 1", "kernel_size: 4 pad: 4"), "pad must be smaller than"),
        (edited("kernel_size: 1 }", "kernel_size: 1 pad: 1 }"), "pad must be smaller than"),
        (edited("kernel_size: 4", "kernel_size: 4 group: 2"), "deconvolutions with dilation or gr"),
        (edited("kernel_size: 4", "kernel_size: 4 dilation: 2"), "deconvolutions with dilation or"),
        (edited("group: 2", "group: 6").replace("num_output: 8", "num_output: 6"),
         "dilated depthwise"),
        (edited("stride: 2", "stride: 0"), "stride must be .* got 0"),
        (edited("pad: 1", "pad: -1"), "pad must be .* got -1"),
        (edited("dilation: 2", "dilation: 0"), "dilation must be .* got 0"),
        (edited("value: 1.5", "value: 0"), "1/T must be .* got 0"),
        (edited("value: 1.5", "value: nan"), "1/T must be .* got nan"),
        (edited("value: 1.5", ""), "must be a constant with the value 1/T"),
        (edited("'constant'", "'gaussian'"), "must be a constant with the value 1/T"),
        (edited('name: "class8_ab"', 'name: "other"'), r"'class8_ab' is missing .*the 313"),
        (edited('name: "conv8_313_rh"', 'name: "o"'), r"'conv8_313_rh' is missing .*scale"),
        (edited('name: "class8_ab" type: "Convolution"', 'name: "class8_ab" type: "ReLU"'),
         "'class8_ab': its type must be Convolution, got ReLU"),
        (edited("num_output: 2", "num_output: 3"), r"expected a kernel of shape \(2, 313, 1, 1\)"),
        (re.sub(r"(?m)^layer", "layers", small.PROTOTXT), "V1 layers .* are not supported"),
        ("name: 'x'", "no layers"),
        ("layer: 5", "layer must be a message"),
        (small.PROTOTXT + "layer { name: 'i' type: 'Input' top: 'i' input_param { shape { dim: "
         "[1, 1, 8, 8] } } }", "a second input"),
    ],
)  # fmt: skip
def test_wrong_prototxt(tmp_path: Path, prototxt_text: str, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message) as caught:
        load(tmp_path, prototxt=prototxt_text)
    assert "small.prototxt" in str(caught.value)


@pytest.mark.parametrize(
    ("blobs", "message"),
    [
        (
            damaged("conv1", 0, lambda b: b[:5]),
            r"'conv1', blob 0: expected shape \(6, 1, 3, 3\), got \(5,",
        ),
        (damaged("conv2", 0, lambda b: b.transpose(1, 0, 2, 3)), "'conv2', blob 0: expected shape"),
        (damaged("up", 0, lambda b: b.transpose(1, 0, 2, 3)), "'up', blob 0: expected shape"),
        (damaged("up", 1, lambda b: b[:4]), "'up', blob 1: expected shape"),
        (damaged("conv1", 0, lambda b: b * np.nan), "'conv1', blob 0: it has NaN"),
        (damaged("conv1", 1, lambda b: b + np.inf), "'conv1', blob 1: it has NaN or infinite"),
        (damaged("norm1", 1, lambda b: b - 9), "'norm1': invalid statistics"),
        (damaged("norm1", 2, lambda b: b - 3), "'norm1': invalid statistics"),
        (damaged("norm1", 2, lambda b: np.ones(2)), "'norm1', blob 2: expected shape"),
        ({**small.weights(), "conv2": []}, "'conv2': expected 2 blobs, got 0"),
        ({**small.weights(), "side": small.weights()["conv2"]}, "'side': expected 1 blobs, got 2"),
    ],
)
def test_wrong_weights(tmp_path: Path, blobs: small.Weights, message: str) -> None:
    with pytest.raises(ModelFormatError, match=message) as caught:
        load(tmp_path, blobs=blobs)
    assert re.search("small.(caffemodel|prototxt)", str(caught.value))


def test_value_too_large_for_float32(tmp_path: Path) -> None:
    blobs = small.weights()
    blobs["conv1"][1] = np.full(6, 1e300)
    files = small.write(tmp_path, caffemodel_bytes=encode(blobs, "double"))
    with pytest.raises(ModelFormatError, match="infinite"):
        network.load(*files, device="cpu")


def test_head_with_other_than_313_bins(tmp_path: Path) -> None:
    blobs = small.weights()
    blobs["conv8_313"] = [blob[:300] for blob in blobs["conv8_313"]]
    with pytest.raises(ModelFormatError, match="'conv8_313_rh': it must scale 313"):
        load(tmp_path, prototxt=edited("num_output: 313", "num_output: 300"), blobs=blobs)


@pytest.mark.parametrize(
    ("input_hw", "message"),
    [
        ((0, 24), "between 1 and 4096"),
        ((5000, 24), "between 1 and 4096"),
        ((16,), "rows, columns"),
        (16, "rows, columns"),
        (("a", 2), "rows, columns"),
        (None, None),
    ],
)
def test_invalid_input_sizes(tmp_path: Path, input_hw: Any, message: str | None) -> None:
    if message is None:
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
        with pytest.raises(OptionError, match=r"cannot run at 17x20 .* use multiples of 2"):
            load(tmp_path, prototxt=text, blobs=blobs, input_hw=(17, 20))
        return
    with pytest.raises(OptionError, match=message):
        load(tmp_path, input_hw=input_hw)


def test_huge_network_in_a_small_file_is_rejected_at_once(tmp_path: Path) -> None:
    grow = "".join(
        f'layer {{ name: "g{i}" type: "Deconvolution" bottom: "g{i - 1}" top: "g{i}"\n'
        "convolution_param { num_output: 1 kernel_size: 2 stride: 64 bias_term: false } }\n"
        for i in range(1, 40)
    ).replace('"g0"', '"data_l"')
    blobs = {f"g{i}": [np.ones((1, 1, 2, 2), "f4")] for i in range(1, 40)}
    start = time.perf_counter()
    with pytest.raises(ModelFormatError, match=r"the tensor \(.*\) is too large"):
        load(
            tmp_path,
            prototxt=edited('layer { name: "conv1"', grow + 'layer { name: "conv1"'),
            blobs={**blobs, **small.weights()},
        )
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b[:-1], "truncated"),
        (lambda b: b + b"x", "truncated"),
        (lambda b: b[:20], "a table of numbers|not a .npy"),
        (lambda b: b"\x80\x04" + b, "not a .npy"),
        (
            lambda b: b.replace(b"(313, 2)", b"(312, 2)"),
            r"must have shape \(313, 2\), got \(312, 2\)",
        ),
        (lambda b: b.replace(b"'<i8'", b"'|O8'"), "a table of numbers"),
        (lambda b: b[:128] + b"\xff" * 7 + b"\x7f" + b[136:], "between -128 and 128"),
        (lambda b: b"<html>", "HTML page"),
        (lambda b: b"", "empty"),
        (lambda b: b * 20, "the limit is"),
    ],
)
def test_wrong_centres(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / "centers.npy"
    path.write_bytes(change(small.CENTERS.read_bytes()))
    with pytest.raises(ModelFormatError, match=message) as caught:
        centers.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("dtype", ["<i4", "<i8", "<f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_centres_of_other_dtypes(tmp_path: Path, dtype: str, order: Any) -> None:
    expected = np.load(small.CENTERS)
    np.save(tmp_path / "c.npy", np.asarray(expected, dtype, order=order))
    np.testing.assert_array_equal(centers.read(tmp_path / "c.npy"), expected)
