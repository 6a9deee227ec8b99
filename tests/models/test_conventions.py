"""Options of `OnnxModel`, and which preset the names and shapes of a file mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colorcv import ModelFormatError, OnnxModel, OptionError
from colorcv.models import resolve
from colorcv.models.conventions import PRESETS, resolve_conventions
from colorcv.models.info import PRESET_NAMES


def shape(channels: int | None, side: int | None = 256) -> tuple[int | None, ...]:
    return (1, channels, side, side)


SIGGRAPH = {"data_l": shape(1), "user_ab": shape(2), "user_map": shape(1)}


def test_every_preset_has_a_name() -> None:
    assert tuple(PRESETS) == PRESET_NAMES


@pytest.mark.parametrize(
    ("inputs", "outputs", "preset"),
    [
        pytest.param({"input": shape(3)}, {"output": shape(2)}, "ddcolor", id="ddcolor"),
        pytest.param(SIGGRAPH, {"color_ab": shape(2)}, "siggraph17", id="siggraph17"),
        pytest.param({"data_l": shape(1)}, {"color_ab": shape(2)}, "zhang2016", id="zoo"),
    ],
)
def test_certain_shapes_need_no_preset(inputs: Any, outputs: Any, preset: str) -> None:
    found = resolve_conventions(OnnxModel("m.onnx"), inputs, outputs)
    assert found.conventions == PRESETS[preset]
    assert f"preset {preset!r} (guessed: " in found.reason
    assert (found.input_hw, found.is_open) == ((256, 256), False)
    stated = resolve_conventions(OnnxModel("m.onnx", preset), inputs, outputs)
    assert stated.conventions == found.conventions
    assert stated.reason == f"preset {preset!r}"


def test_names_of_the_caffe_network_mean_its_units() -> None:
    found = resolve_conventions(
        OnnxModel("m.onnx"), {"data_l": shape(1, 224)}, {"class8_ab": shape(2, 56)}
    )
    assert found.conventions.input == "l-50"


@pytest.mark.parametrize(
    ("inputs", "outputs", "message"),
    [
        pytest.param({"input": shape(3)}, {"output": shape(3)},
                     "white may be 1 or 255; state preset='deoldify'", id="rgb to rgb"),
        pytest.param({"x": shape(1)}, {"y": shape(2)},
                     r"may be L\* or L\* - 50.* state preset='zhang2016'", id="l to ab"),
        pytest.param({"x": shape(4)}, {"y": shape(2)}, "4 channels in, 2 out is none", id="four"),
        pytest.param({"x": None}, {"y": shape(2)}, r"\? channels in, 2 out is none", id="unknown"),
        pytest.param({"x": (1, 3)}, {"y": shape(2)}, r"\? channels in", id="two dimensions"),
        pytest.param({}, {}, "no channels in, no out", id="nothing"),
    ],
)  # fmt: skip
def test_uncertain_shapes_are_an_error(inputs: Any, outputs: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolve_conventions(OnnxModel("m.onnx"), inputs, outputs)


@pytest.mark.parametrize(
    ("preset", "inputs", "outputs", "message"),
    [
        ("ddcolor", {"x": shape(1)}, {"y": shape(2)}, "inputs of 3 channels .*'ddcolor', got 1"),
        ("ddcolor", {"x": shape(3)}, {"y": shape(3)}, "output of 2 channels .*'ddcolor', got 3"),
        ("deoldify", {"x": shape(3)}, {"y": shape(2)}, "output of 3 channels"),
        ("siggraph17", {"x": shape(3)}, {"y": shape(2)}, "inputs of 1, 1, 2 channels"),
        ("zhang2016", SIGGRAPH, {"y": shape(2)}, "inputs of 1 channels .* got 1, 2, 1"),
    ],
)
def test_a_preset_must_fit_the_channels(
    preset: str, inputs: Any, outputs: Any, message: str
) -> None:
    with pytest.raises(ModelFormatError, match=message):
        resolve_conventions(OnnxModel("m.onnx", preset), inputs, outputs)


def test_siggraph17_without_its_hints() -> None:
    model = OnnxModel("m.onnx", "siggraph17")
    found = resolve_conventions(model, {"x": shape(1)}, {"y": shape(2)})
    assert found.conventions.hints is None


def test_the_output_of_the_right_channels_is_used() -> None:
    outputs = {"classes": shape(529), "color_ab": shape(2)}
    assert resolve_conventions(OnnxModel("m.onnx", "siggraph17"), SIGGRAPH, outputs).output == (
        "color_ab"
    )


@pytest.mark.parametrize(
    ("preset", "size", "declared", "expected"),
    [
        pytest.param("ddcolor", None, None, 512, id="ddcolor's default"),
        pytest.param("deoldify", None, None, 256, id="deoldify's default"),
        pytest.param("deoldify", 320, None, 320, id="stated"),
        pytest.param("deoldify", 256, 256, 256, id="stated as the file has it"),
        pytest.param("ddcolor", None, 256, 256, id="the file's"),
    ],
)
def test_size(preset: str, size: int | None, declared: int | None, expected: int) -> None:
    channels = 3 if PRESETS[preset].output == "rgb" else 2
    found = resolve_conventions(
        OnnxModel("m.onnx", preset, size), {"x": shape(3, declared)}, {"y": shape(channels)}
    )
    assert found.input_hw == (expected, expected)
    assert found.is_open == (declared is None)


def test_a_size_that_the_file_cannot_take() -> None:
    with pytest.raises(OptionError, match=r"size=512, but the file takes 256x256 pixels only"):
        resolve_conventions(OnnxModel("m.onnx", "ddcolor", 512), {"x": shape(3)}, {"y": shape(2)})


def test_the_general_form() -> None:
    model = OnnxModel("m.onnx", input="l-50", input_scale=0.02, output="ab", output_scale=110)
    found = resolve_conventions(model, {"x": shape(1)}, {"y": shape(2)})
    conventions = found.conventions
    assert (conventions.input, conventions.input_scale) == ("l-50", 0.02)
    assert (conventions.output, conventions.output_scale) == ("ab", 110)
    assert "input='l-50'" in found.reason


def test_a_preset_can_be_changed() -> None:
    model = OnnxModel("m.onnx", "deoldify", input_scale=1, output_scale=1)
    found = resolve_conventions(model, {"x": shape(3)}, {"y": shape(3)})
    assert (found.conventions.input_scale, found.conventions.output_scale) == (1, 1)
    assert found.reason == "preset 'deoldify' with input_scale=1, output_scale=1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "l"}, "state output too"),
        ({"output": "ab"}, "state input too"),
        ({"input_scale": 1}, "state input too"),
        ({"input": "rgb", "output": "ab"}, "input='rgb' needs input_scale, .*1 or 255"),
        ({"input": "l", "output": "rgb"}, "output='rgb' needs output_scale"),
    ],
)
def test_the_general_form_must_be_complete(options: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolve_conventions(OnnxModel("m.onnx", **options), {"x": shape(3)}, {"y": shape(2)})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "ddcolour"}, "preset must be 'ddcolor', .* got 'ddcolour'"),
        ({"size": 8}, "size must be a whole number between 16 and 4096, got 8"),
        ({"size": 256.0}, "size must be a whole number"),
        ({"size": True}, "size must be a whole number"),
        ({"input": "grey"}, "input must be 'rgb', 'l', 'l-50'; got 'grey'"),
        ({"output": "lab"}, "output must be"),
        ({"hints": True}, "hints must be"),
        ({"input_scale": 0}, "input_scale must be a number between"),
        ({"output_scale": float("nan")}, "output_scale must be a number"),
    ],
)
def test_wrong_options(options: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        OnnxModel("m.onnx", **options)


def test_different_sizes_of_inputs() -> None:
    inputs = {"data_l": shape(1), "user_ab": shape(2, 128), "user_map": shape(1)}
    with pytest.raises(ModelFormatError, match="different sizes"):
        resolve_conventions(OnnxModel("m.onnx"), inputs, {"y": shape(2)})


def test_the_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match=r"does not exist: .*none\.onnx"):
        resolve(OnnxModel(tmp_path / "none.onnx"))
    with pytest.raises(ModelFormatError, match="is not a file"):
        resolve(OnnxModel(tmp_path))


def test_models_are_equal_by_their_options() -> None:
    assert OnnxModel("a.onnx", "ddcolor") == OnnxModel(Path("a.onnx"), "ddcolor")
    assert len({OnnxModel("a.onnx"), OnnxModel("a.onnx"), OnnxModel("a.onnx", size=256)}) == 2
