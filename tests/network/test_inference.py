"""Tests of inference from model files to ab, at full size, against independent implementations."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from colorcv import network
from colorcv._typing import MemoryForm
from colorcv.errors import DeviceError, ImageError, ModelFormatError
from colorcv.network import forms, onnx, profiles
from colorcv.network.caffe import caffemodel, centers, importer, prototxt
from colorcv.network.memory import AvailableMemory
from tests.reference import caffe_writer, onnx_reference, small

Array = npt.NDArray[Any]

DATA = Path(__file__).parents[1] / "data"
PROTOTXT = DATA / "colorization_deploy_v2.prototxt"
CENTERS = DATA / "pts_in_hull.npy"
LITE = Path(network.__file__).parents[1] / "models" / "lite"
LITE_FILES = (
    LITE / "colorcv_lite_v3.prototxt",
    LITE / "colorcv_lite_v3.caffemodel",
    LITE / "pts_in_hull.npy",
)
FORMS: tuple[MemoryForm, ...] = ("fast", "balanced", "low")
TOLERANCE = 0.05  # in ab, of a range of +-110


class Seeded(NamedTuple):
    """A full-size network with seeded weights, and ONNX Runtime's ab for one lightness."""

    weights: caffe_writer.Weights
    files: tuple[Path, Path, Path]
    lightness: Array
    ab: Array


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Seeded:
    path = tmp_path_factory.mktemp("seeded") / "seeded.caffemodel"
    weights = caffe_writer.seeded_weights()
    caffe_writer.write(path, weights)
    lightness = caffe_writer.sample_lightness(seed=3)
    reference = onnx_reference.build(weights, np.load(CENTERS), caffe_writer.SCALE)
    ab = onnx_reference.run_ab(reference, lightness)
    return Seeded(weights, (PROTOTXT, path, CENTERS), lightness, ab)


def graph(files: tuple[Path, Path, Path], **options: Any) -> importer.Graph:
    return importer.build(
        prototxt.read(files[0]),
        caffemodel.read(files[1]),
        centers.read(files[2]),
        weights_file=str(files[1]),
        **options,
    )


def max_difference(found: Array, expected: Array) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max())


def recipe(files: tuple[Path, Path, Path], lightness: Array, scale: float) -> Array:
    """Run OpenCV 4's Caffe importer with the centres and the scale set in its layers."""
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("this OpenCV has no Caffe importer")
    net = cv2.dnn.readNetFromCaffe(str(files[0]), str(files[1]))
    points = np.load(files[2]).astype(np.float32).T.reshape(2, 313, 1, 1)
    net.getLayer(net.getLayerId("class8_ab")).blobs = [points]
    net.getLayer(net.getLayerId("conv8_313_rh")).blobs = [np.full((1, 313), scale, np.float32)]
    net.setInput((lightness - 50)[None, None])
    ab: Array = net.forward()[0].transpose(1, 2, 0)
    return ab


def test_seeded_ab_covers_the_range(seeded: Seeded) -> None:
    assert seeded.ab.min() < -50
    assert seeded.ab.max() > 50
    assert seeded.ab.std(axis=(0, 1)).min() > 10


@pytest.mark.parametrize("encoding", caffe_writer.ENCODINGS)
def test_all_encodings_at_full_size(seeded: Seeded, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "seeded.caffemodel"
    caffe_writer.write(path, seeded.weights, encoding)
    net = network.load(PROTOTXT, path, CENTERS)
    path.unlink()
    assert (net.input_hw, net.output_hw) == ((224, 224), (56, 56))
    assert max_difference(net.predict_ab(seeded.lightness), seeded.ab) < TOLERANCE


def test_against_opencvs_caffe_importer(seeded: Seeded) -> None:
    expected = recipe(seeded.files, seeded.lightness, caffe_writer.SCALE)
    found = network.load(*seeded.files).predict_ab(seeded.lightness)
    assert max_difference(found, expected) < TOLERANCE


def test_encoded_onnx_on_onnx_runtime(seeded: Seeded) -> None:
    found = onnx_reference.run_ab(onnx.encode(graph(seeded.files)), seeded.lightness)
    assert max_difference(found, seeded.ab) < TOLERANCE


@pytest.mark.parametrize("memory", FORMS)
def test_every_memory_form_gives_the_same_ab(seeded: Seeded, memory: MemoryForm) -> None:
    net = network.load(*seeded.files, device="cpu", memory=memory)
    assert (net.memory, net.device_reason) == (memory, "requested")
    assert max_difference(net.predict_ab(seeded.lightness), seeded.ab) < TOLERANCE


def test_other_size_and_temperature(seeded: Seeded) -> None:
    lightness = caffe_writer.sample_lightness((256, 320))
    net = network.load(*seeded.files, input_hw=(256, 320), temperature=0.5)
    reference = onnx_reference.build(seeded.weights, np.load(CENTERS), 2.0, (256, 320))
    assert net.output_hw == (64, 80)
    expected = onnx_reference.run_ab(reference, lightness)
    assert max_difference(net.predict_ab(lightness), expected) < TOLERANCE


def test_folder_with_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "MIN_EXTERNAL", 1)
    folder = tmp_path / "größe 大 ' %s"
    folder.mkdir()
    lightness = caffe_writer.sample_lightness((16, 24))
    for memory in FORMS:
        net = network.load(*small.write(folder), memory=memory)
        np.testing.assert_allclose(net.predict_ab(lightness), small.answer(lightness), atol=1e-3)
    monkeypatch.chdir(folder)
    files = [path.name for path in small.write(folder)[:2]]
    net = network.load(*files, small.CENTERS)
    np.testing.assert_allclose(net.predict_ab(lightness), small.answer(lightness), atol=1e-3)


def test_lite_gives_the_golden_ab() -> None:
    golden = np.load(DATA / "lite_golden.npz")
    net = network.load(*LITE_FILES)
    assert (net.input_hw, net.output_hw) == ((192, 192), (48, 48))
    assert max_difference(net.predict_ab(golden["lightness"]), golden["ab"]) < TOLERANCE
    assert max_difference(net.predict_ab(golden["lightness"][2]), golden["ab"][2]) < TOLERANCE


def test_lite_against_opencvs_caffe_importer() -> None:
    lightness = np.load(DATA / "lite_golden.npz")["lightness"][0]
    expected = recipe(LITE_FILES, lightness, 3.5)
    assert max_difference(network.load(*LITE_FILES).predict_ab(lightness), expected) < TOLERANCE


def test_batch_equals_single_images(tmp_path: Path) -> None:
    net = network.load(*small.write(tmp_path))
    batch = np.stack([caffe_writer.sample_lightness((16, 24), seed) for seed in range(5)])
    together = net.predict_ab(batch)
    assert together.dtype == np.float32
    for lightness, ab in zip(batch, together, strict=True):
        np.testing.assert_allclose(ab, small.answer(lightness), atol=1e-3)
    assert net.predict_ab(batch[:0]).shape == (0, 16, 24, 2)


def test_input_array_is_not_modified(tmp_path: Path) -> None:
    net = network.load(*small.write(tmp_path))
    lightness = caffe_writer.sample_lightness((16, 24))
    lightness.flags.writeable = False
    expected = net.predict_ab(lightness)
    wide = np.zeros((16, 48), np.float64)
    wide[:, ::2] = lightness
    np.testing.assert_array_equal(net.predict_ab(wide[:, ::2]), expected)
    np.testing.assert_array_equal(net.predict_ab(lightness), expected)


@pytest.mark.parametrize(
    ("lightness", "message"),
    [
        (np.zeros((16, 23), "f4"), r"shape \(16, 24\)"),
        (np.zeros((16, 24, 1), "f4"), "shape"),
        (np.zeros((1, 1, 16, 24), "f4"), "shape"),
        (np.float32(3), "shape"),
        (None, "float32, got object"),
        (np.zeros((16, 24), "c8"), "float32, got complex64"),
        (np.zeros((16, 24), bool), "float32, got bool"),
        (np.full((16, 24), np.nan, "f4"), "between 0 and 100, got nan"),
        (np.full((16, 24), np.inf, "f4"), "between 0 and 100, got inf"),
        (np.full((16, 24), 200, "u1"), "between 0 and 100, got 200"),
    ],
)
def test_invalid_lightness(tmp_path: Path, lightness: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        network.load(*small.write(tmp_path)).predict_ab(lightness)


class FakeNet:
    """Returns or raises `output`."""

    def __init__(self, output: Any) -> None:
        self.output = output

    def setInput(self, blob: Array) -> None:
        pass

    def forward(self, *_: object) -> Any:
        if isinstance(self.output, Exception):
            raise self.output
        return self.output


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (cv2.error("broken"), DeviceError, "failed to run .* on 'cpu': broken"),
        (np.full((1, 2, 16, 24), np.nan), ModelFormatError, "not a colour"),
        (np.zeros((1, 2, 8, 8)), DeviceError, r"expected output of shape \(1, 2, 16, 24\)"),
    ],
)
def test_opencv_failures_on_the_cpu(
    tmp_path: Path, output: Any, error: type[Exception], message: str
) -> None:
    net = network.load(*small.write(tmp_path))
    net._engine._net = FakeNet(output)
    with pytest.raises(error, match=message):
        net.predict_ab(caffe_writer.sample_lightness((16, 24)))


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Exceptions that the next calls of `readNetFromONNX` raise."""
    errors: list[Exception] = []
    read = cv2.dnn.readNetFromONNX

    def fail_first(*args: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop(0)
        return read(*args, **options)

    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", fail_first)
    return errors


def test_smaller_form_when_memory_runs_out_while_loading(
    tmp_path: Path, failures: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    failures += [cv2.error("std::bad_alloc"), MemoryError()]
    net = network.load(*small.write(tmp_path), device="cpu", memory="fast")
    assert (net.memory, failures) == ("low", [])
    assert net.device_reason == ("requested; memory form low, because memory ran out with balanced")
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "memory form balanced, because memory ran out with fast" in caplog.text
    lightness = caffe_writer.sample_lightness((16, 24))
    np.testing.assert_allclose(net.predict_ab(lightness), small.answer(lightness), atol=1e-3)


def test_smaller_form_when_memory_runs_out_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = network.load(*small.write(tmp_path), device="cpu", memory="balanced")
    error = cv2.error("Failed to allocate 123 bytes")
    error.code = cv2.Error.StsNoMem  # type: ignore[attr-defined]
    net._engine._net = FakeNet(error)  # type: ignore[assignment]
    lightness = caffe_writer.sample_lightness((16, 24))
    np.testing.assert_allclose(net.predict_ab(lightness), small.answer(lightness), atol=1e-3)
    assert net.memory == "low"
    assert "memory ran out with balanced" in caplog.text


def test_no_form_fits(tmp_path: Path, failures: list[Exception]) -> None:
    failures += [MemoryError()] * 3
    with pytest.raises(DeviceError, match="not enough memory for the network; use memory="):
        network.load(*small.write(tmp_path), device="cpu", memory="fast")


def test_other_errors_do_not_change_the_form(tmp_path: Path, failures: list[Exception]) -> None:
    failures += [cv2.error("bad node")] * 2
    with pytest.raises(DeviceError, match="cannot load the network for 'cpu': bad node"):
        network.load(*small.write(tmp_path), device="cpu", memory="fast")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS and /proc")
def test_smaller_form_under_a_limit_of_the_address_space(seeded: Seeded, tmp_path: Path) -> None:
    np.save(tmp_path / "lightness.npy", seeded.lightness)
    script = """
import logging, re, resource, sys
import cv2, numpy as np
from pathlib import Path
from colorcv import network
logging.basicConfig(format="%(levelname)s %(message)s")
lightness = np.load(sys.argv[1])
size = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
limit = size + (600 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
cv2.setNumThreads(1)
net = network.load(*sys.argv[2:], device="cpu", memory="fast")
np.save(sys.argv[1], net.predict_ab(lightness))
print(net.memory)
"""
    command = [sys.executable, "-c", script, str(tmp_path / "lightness.npy"), *seeded.files]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    assert completed.stdout.strip() in ("balanced", "low")
    assert "WARNING there is not enough memory" in completed.stderr
    assert max_difference(np.load(tmp_path / "lightness.npy"), seeded.ab) < TOLERANCE


def test_auto_fits_into_a_container(seeded: Seeded, monkeypatch: pytest.MonkeyPatch) -> None:
    for mebibytes, form in ((8000, "balanced"), (350, "low")):
        found = AvailableMemory(mebibytes << 20, "free within the container's limit")
        monkeypatch.setattr(forms, "available_memory", lambda found=found: found)
        net = network.load(*seeded.files, device="cpu", memory="auto")
        assert net.memory == form
        assert f"{mebibytes} MiB are free within the container's limit" in net.device_reason
        assert max_difference(net.predict_ab(seeded.lightness), seeded.ab) < TOLERANCE
    assert network.load(*LITE_FILES, device="cpu").memory == "balanced"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_file_and_onnx_are_released(seeded: Seeded) -> None:
    net = network.load(*seeded.files)
    assert str(seeded.files[1]) not in Path("/proc/self/maps").read_text()
    known = {id(a) for blobs in seeded.weights.values() for a in blobs}
    gc.collect()
    held = [
        o
        for o in gc.get_objects() + list(vars(net).values())
        if isinstance(o, np.ndarray) and o.nbytes > 1 << 20 and id(o) not in known
    ]
    assert not held


def test_unknown_opencv_gets_the_plain_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "__version__", "6.1.0")
    assert profiles.select_profile("cpu", "fast").rewrites == ()
    assert profiles.select_profile("cuda", "fast").rewrites == ()


@pytest.mark.parametrize("memory", FORMS)
def test_features_beside_ab(seeded: Seeded, memory: MemoryForm) -> None:
    net = network.load(*seeded.files, memory=memory)
    alone = net.predict_ab(seeded.lightness)
    ab, features = net.predict_features(seeded.lightness)
    np.testing.assert_allclose(ab, alone, atol=1e-4)
    np.testing.assert_array_equal(net.predict_ab(seeded.lightness), ab)
    assert features.shape == (56, 56, 256)
    assert features.dtype == np.float32
    # The head computes ab from the features.
    shares = shares_of(features, net.head)
    assert max_difference(shares @ net.head.centers, seeded.ab) < TOLERANCE


@pytest.mark.parametrize("memory", FORMS)
@pytest.mark.parametrize("rewritten", [False, True], ids=["plain", "rewritten"])
def test_features_of_lite(
    monkeypatch: pytest.MonkeyPatch, rewritten: bool, memory: MemoryForm
) -> None:
    if not rewritten:
        monkeypatch.setattr(profiles, "PROFILES", ())
    net = network.load(*LITE_FILES, device="cpu", memory=memory)
    lightness = caffe_writer.sample_lightness(seed=5)[:192, :192]
    ab, features = net.predict_features(lightness)
    assert features.shape == (48, 48, 128)
    assert max_difference(shares_of(features, net.head) @ net.head.centers, ab) < TOLERANCE
    assert max_difference(net.predict_ab(lightness), ab) == 0


def test_features_follow_the_temperature_only_in_the_head() -> None:
    lightness = caffe_writer.sample_lightness(seed=5)[:192, :192]
    warm, cold = (network.load(*LITE_FILES, device="cpu", temperature=t) for t in (1.0, 0.1))
    np.testing.assert_allclose(
        warm.predict_features(lightness)[1], cold.predict_features(lightness)[1], atol=1e-3
    )
    np.testing.assert_allclose(cold.head.scale, warm.head.scale * 10, rtol=1e-5)


def test_features_take_one_plane() -> None:
    net = network.load(*LITE_FILES, device="cpu")
    with pytest.raises(ImageError, match=r"\(192, 192\)"):
        net.predict_features(np.zeros((1, 192, 192), np.float32))


def shares_of(features: Array, head: network.Head) -> Array:
    logits = head.scale * (features @ head.kernel.T + head.bias)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=-1, keepdims=True))
