"""Colourings by ONNX files, against plain pipelines of NumPy and ONNX Runtime on the same file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import pytest

import colorcv
from colorcv import Colorizer, Hint, ModelFormatError, OnnxModel, OptionError
from colorcv._typing import MemoryForm
from colorcv.models.conventions import PRESETS, Conventions
from colorcv.steering.editing import SteeredImage
from colorcv.steering.hints import observe
from colorcv.tensors import ConventionAdapter
from tests.reference.caffe_writer import sample_lightness
from tests.reference.lab_reference import lab_from_rgb, rgb_from_lab

DATA = Path(__file__).parent / "data" / "onnx"
MODELS = {
    "eccv16": OnnxModel(DATA / "eccv16.onnx", "zhang2016"),
    "siggraph17": OnnxModel(DATA / "siggraph17.onnx", size=64),
    "ddcolor": OnnxModel(DATA / "ddcolor.onnx"),
    "ddcolor_new": OnnxModel(DATA / "ddcolor_new.onnx"),
    "deoldify_artistic": OnnxModel(DATA / "deoldify_artistic.onnx", "deoldify"),
}
COLORIZERS: dict[str, Colorizer] = {}


def colorizer_of(name: str) -> Colorizer:
    if name not in COLORIZERS:
        COLORIZERS[name] = Colorizer(MODELS[name], device="cpu")
    return COLORIZERS[name]


def plain_pipeline(name: str, lightness: Any, hints: Any = None) -> Any:
    """Return the ab of the original file in ONNX Runtime, converted by the tests' own Lab."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(DATA / f"{name}.onnx", providers=["CPUExecutionProvider"])
    light = lightness.astype(np.float32)[None, None]
    if name == "eccv16":
        return session.run(None, {"data_l": light})[0][0].transpose(1, 2, 0)
    if name == "siggraph17":
        ab, mask = np.zeros((1, 2, 64, 64), np.float32), np.zeros((1, 1, 64, 64), np.float32)
        for row, column, color in hints or ():
            ab[0, :, row, column], mask[0, 0, row, column] = color, 1
        values = {"data_l": light, "user_ab": ab, "user_map": mask}
        return session.run(None, values)[0][0].transpose(1, 2, 0)
    lab = np.stack([lightness, np.zeros_like(lightness), np.zeros_like(lightness)], axis=-1)
    rgb = rgb_from_lab(lab.reshape(-1, 3)).reshape(lab.shape).transpose(2, 0, 1)[None]
    if name.startswith("ddcolor"):
        return session.run(None, {"input": rgb.astype(np.float32)})[0][0].transpose(1, 2, 0)
    answer = session.run(None, {"input": (rgb * 255).astype(np.float32)})[0][0]
    pixels = np.clip(answer.transpose(1, 2, 0).astype(np.float64) / 255, 0, 1)
    return lab_from_rgb(pixels.reshape(-1, 3)).reshape(*pixels.shape)[..., 1:]


@pytest.mark.parametrize("memory", get_args(MemoryForm))
@pytest.mark.parametrize("name", MODELS)
def test_ab_is_that_of_onnx_runtime(name: str, memory: MemoryForm) -> None:
    colorizer = Colorizer(MODELS[name], device="cpu", memory=memory)
    for seed in range(2):
        lightness = sample_lightness((64, 64), seed)
        expected = plain_pipeline(name, lightness)
        assert expected.std() > 5
        # ab of RGB: 0.02 levels of 255 near black move ab by hundredths.
        tolerance = 0.1 if name.startswith("deoldify") else 0.02
        np.testing.assert_allclose(colorizer.predict_ab(lightness), expected, atol=tolerance)


@pytest.mark.parametrize("name", MODELS)
def test_lightness_stays_and_ab_is_the_networks(name: str) -> None:
    photo = np.round(sample_lightness((96, 128)) * 2.55).astype(np.uint8)
    colored = colorcv.colorize(photo, model=MODELS[name], device="cpu")
    assert colored.shape == (96, 128, 3)
    assert colored.dtype == np.uint8
    lab = lab_from_rgb(colored[..., ::-1].reshape(-1, 3) / 255)
    light = lab_from_rgb(np.repeat(photo.reshape(-1, 1), 3, axis=1) / 255)[:, 0]
    assert np.abs(lab[:, 0] - light).max() < 1.5  # 8 bits of dark saturated colours
    assert np.abs(lab[:, 0] - light).mean() < 0.15
    assert np.abs(lab[:, 1:]).max() > 5


def test_16_bits_and_alpha_stay() -> None:
    grey = (sample_lightness((40, 50)) * 600).astype(np.uint16)
    image = np.dstack([grey, grey, grey, np.full_like(grey, 12345)])
    colored = colorizer_of("ddcolor").colorize(image)
    assert (colored.dtype, colored.shape) == (np.uint16, (40, 50, 4))
    assert (colored[..., 3] == 12345).all()


def test_hints_go_to_the_network() -> None:
    photo = np.round(sample_lightness((64, 64)) * 2.55).astype(np.uint8)
    colorizer = colorizer_of("siggraph17")
    assert colorizer.takes_hints
    light = lab_from_rgb(np.repeat(photo.reshape(-1, 1), 3, axis=1) / 255)[:, 0].reshape(64, 64)
    red = lab_from_rgb(np.array([[220, 20, 60]]) / 255)[0, 1:]
    expected = plain_pipeline("siggraph17", light, [(20, 10, red)])
    assert np.abs(expected - plain_pipeline("siggraph17", light)).max() > 1
    seen = SteeredImage(colorizer, light.astype(np.float32))
    observed = observe([Hint(10, 20, "crimson")], (64, 64), (64, 64), "bgr")
    np.testing.assert_allclose(seen.chroma(observed, by_model=True), expected, atol=0.05)
    by_model = colorizer.colorize(photo, hints=[Hint(10, 20, "crimson")])
    other = colorizer.colorize(photo, hints=[Hint(10, 20, "crimson")], steering="regression")
    assert (by_model != other).any()


@pytest.mark.parametrize("name", ["eccv16", "ddcolor", "deoldify_artistic"])
def test_hints_and_references_by_regression(name: str) -> None:
    colorizer = colorizer_of(name)
    grey = np.full((48, 64), 128, np.uint8)
    result = colorizer.colorize(grey, hints=[Hint(30, 20, "crimson")])
    lab = lab_from_rgb(result[20, 30, ::-1][np.newaxis] / 255)[0]
    goal = lab_from_rgb(np.array([[220, 20, 60]]) / 255)[0]
    plain = lab_from_rgb(colorizer.colorize(grey)[20, 30, ::-1][np.newaxis] / 255)[0]
    assert np.hypot(*(lab[1:] - goal[1:])) < 12
    assert np.hypot(*(plain[1:] - goal[1:])) > 20
    reference = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    assert (colorizer.colorize(grey, reference=reference) != colorizer.colorize(grey)).any()
    with pytest.raises(OptionError, match="steering='model' needs"):
        colorizer.colorize(grey, hints=[Hint(1, 1, "red")], steering="model")


def test_the_preset_is_named() -> None:
    assert colorizer_of("ddcolor").device_reason.endswith(
        "preset 'ddcolor' (guessed: 3 channels in, 2 out)"
    )
    assert "preset 'zhang2016'" in colorizer_of("eccv16").device_reason
    assert repr(colorizer_of("eccv16")) == "<Colorizer eccv16.onnx on cpu>"


def test_a_file_of_one_size_takes_no_other() -> None:
    with pytest.raises(OptionError, match="takes 64x64 pixels only"):
        colorizer_of("ddcolor").predict_ab(np.full((32, 32), 50, np.float32))
    with pytest.raises(OptionError, match="size=128, but the file takes 64x64"):
        Colorizer(OnnxModel(DATA / "ddcolor.onnx", size=128), device="cpu")


def test_a_file_of_any_size() -> None:
    colorizer = colorizer_of("siggraph17")
    assert colorizer.input_hw == (64, 64)
    assert colorizer.predict_ab(sample_lightness((32, 48))).shape == (32, 48, 2)


def test_options_that_it_has_not() -> None:
    with pytest.raises(OptionError, match="temperature is for"):
        Colorizer(MODELS["ddcolor"], temperature=0.3)
    with pytest.raises(ModelFormatError, match="suggestions and variants need"):
        colorizer_of("ddcolor").suggest(np.full((9, 9), 99, np.uint8), 1, 1)
    with pytest.raises(OptionError, match="model must be a name, ModelFiles or OnnxModel"):
        colorcv.colorize(np.zeros((9, 9), np.uint8), model=DATA / "ddcolor.onnx")  # type: ignore[call-overload]


def test_a_pickled_colorizer() -> None:
    colorizer = colorizer_of("deoldify_artistic")
    copy = pickle.loads(pickle.dumps(colorizer))
    lightness = sample_lightness((64, 64))
    np.testing.assert_array_equal(copy.predict_ab(lightness), colorizer.predict_ab(lightness))


def test_units_of_another_scale_change_the_answer() -> None:
    model = OnnxModel(DATA / "deoldify_artistic.onnx", "deoldify", input_scale=1, output_scale=1)
    lightness = sample_lightness((64, 64))
    with pytest.raises(ModelFormatError, match="its units are others than stated"):
        Colorizer(model, device="cpu").predict_ab(lightness)


def test_frames_are_coloured_at_key_frames() -> None:
    photo = np.round(sample_lightness((60, 80)) * 2.55).astype(np.uint8)
    colorizer = colorizer_of("ddcolor")
    assert colorizer.default_keyframe_interval == 8
    frames = list(colorizer.frames([photo] * 3, smooth=False))
    np.testing.assert_array_equal(frames[0], colorizer.colorize(photo, ignore_border=False))


class TestAdapter:
    """Conversions alone, against the tests' own Lab."""

    LIGHT = sample_lightness((8, 12))

    def shapes(self, *channels: int) -> dict[str, tuple[int, ...]]:
        return {f"input{index}": (1, count, 8, 12) for index, count in enumerate(channels)}

    @pytest.mark.parametrize("white", [1, 255])
    def test_rgb_in(self, white: float) -> None:
        adapter = ConventionAdapter(Conventions("rgb", white, "ab", 1))
        values = adapter.encode(self.LIGHT, None, self.shapes(3))["input0"]
        lab = np.zeros((96, 3))
        lab[:, 0] = self.LIGHT.ravel()
        expected = rgb_from_lab(lab)[:, 0].reshape(8, 12) * white
        assert (values.shape, values.dtype) == ((1, 3, 8, 12), np.float32)
        for plane in values[0]:
            np.testing.assert_allclose(plane, expected, atol=2e-6 * white)

    @pytest.mark.parametrize(("kind", "shift"), [("l", 0), ("l-50", 50)])
    @pytest.mark.parametrize("scale", [1, 0.01])
    def test_lightness_in(self, kind: str, shift: float, scale: float) -> None:
        adapter = ConventionAdapter(Conventions(kind, scale, "ab", 1))
        values = adapter.encode(self.LIGHT, None, self.shapes(1))["input0"]
        np.testing.assert_allclose(values[0, 0], (self.LIGHT - shift) * scale, rtol=1e-6)

    @pytest.mark.parametrize("names", [("a", "b", "c"), ("mask", "ab", "light")])
    def test_hints_as_inputs(self, names: tuple[str, str, str]) -> None:
        adapter = ConventionAdapter(PRESETS["siggraph17"])
        shapes = dict(zip(names, self.shapes(1, 2, 1).values(), strict=True))
        ab = np.random.default_rng(0).normal(0, 30, (8, 12, 2)).astype(np.float32)
        mask = np.zeros((8, 12), np.float32)
        mask[2, 3] = 1
        values = adapter.encode(self.LIGHT, (ab, mask), shapes)
        first, last = (names[0], names[2]) if names[0] == "a" else (names[2], names[0])
        np.testing.assert_array_equal(values[first][0, 0], self.LIGHT)
        np.testing.assert_array_equal(values[names[1]][0], ab.transpose(2, 0, 1))
        np.testing.assert_array_equal(values[last][0, 0], mask)

    def test_hints_as_channels(self) -> None:
        adapter = ConventionAdapter(Conventions("l", 1, "ab", 1, hints="channels"))
        values = adapter.encode(self.LIGHT, None, self.shapes(4))["input0"]
        np.testing.assert_array_equal(values[0, 0], self.LIGHT)
        assert not values[0, 1:].any()

    def test_ab_out(self) -> None:
        output = np.random.default_rng(0).normal(0, 1, (1, 2, 4, 6)).astype(np.float32)
        ab = ConventionAdapter(Conventions("l", 1, "ab", 110)).decode(output)
        np.testing.assert_allclose(ab, output[0].transpose(1, 2, 0) * 110, rtol=1e-6)

    @pytest.mark.parametrize("white", [1, 255])
    def test_rgb_out(self, white: float) -> None:
        rgb = np.random.default_rng(0).uniform(-0.1, 1.1, (1, 3, 4, 6)).astype(np.float32)
        ab = ConventionAdapter(Conventions("rgb", 1, "rgb", white)).decode(rgb * white)
        pixels = np.clip(rgb[0].transpose(1, 2, 0).reshape(-1, 3).astype(np.float64), 0, 1)
        np.testing.assert_allclose(ab.reshape(-1, 2), lab_from_rgb(pixels)[:, 1:], atol=2e-3)


def test_opencv_is_not_given_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that crashes OpenCV is rewritten: OpenCV gets bytes, never a path of the user."""
    given: list[Any] = []
    real = cv2.dnn.readNetFromONNX

    def spy(*arguments: Any, **options: Any) -> Any:
        given.append(arguments[0])
        return real(*arguments, **options)

    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", spy)
    Colorizer(MODELS["ddcolor_new"], device="cpu")
    assert given
    assert all(isinstance(value, np.ndarray) or "colorcv-" in str(value) for value in given)


@pytest.mark.parametrize(("cost", "interval"), [(1e9, 8), (42e9, 8), (75e9, 12), (200e9, 16)])
def test_large_networks_run_on_fewer_key_frames(
    cost: float, interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    colorizer = colorizer_of("ddcolor")
    monkeypatch.setattr(type(colorizer._network), "multiply_adds", int(cost))
    assert colorizer.default_keyframe_interval == interval


def test_multiply_adds_are_those_of_the_layers() -> None:
    """zhang2016 at 224x224 has 32.0 billion, lite at 192x192 has 1.1."""
    lite = Colorizer("lite", device="cpu")
    assert lite._network.multiply_adds / 1e9 == pytest.approx(1.1, abs=0.1)
