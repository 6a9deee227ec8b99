"""Tests of CUDA, with an OpenCV that has it and a GPU; skipped elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import colorcv
from tests.reference import caffe_writer

Array = npt.NDArray[np.float32]
_MISSING = {info.name: info.reason for info in colorcv.devices() if not info.available}
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif("cuda" in _MISSING, reason=f"no CUDA: {_MISSING.get('cuda')}"),
]
needs_half = pytest.mark.skipif(
    "cuda-fp16" in _MISSING, reason=f"no half precision: {_MISSING.get('cuda-fp16')}"
)
DEVICES = ["cuda", pytest.param("cuda-fp16", marks=needs_half)]
TOLERANCE = {"cuda": 0.05, "cuda-fp16": 1.0}


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> colorcv.ModelFiles:
    """The full-size network with seeded weights."""
    weights = tmp_path_factory.mktemp("seeded") / "seeded.caffemodel"
    caffe_writer.write(weights, caffe_writer.seeded_weights())
    return colorcv.ModelFiles(
        prototxt=caffe_writer.DATA / "colorization_deploy_v2.prototxt",
        caffemodel=weights,
        centers=caffe_writer.DATA / "pts_in_hull.npy",
    )


@pytest.fixture(scope="module", params=["full size", "lite"])
def model(request: pytest.FixtureRequest) -> str | colorcv.ModelFiles:
    if request.param == "lite":
        return "lite"
    files: colorcv.ModelFiles = request.getfixturevalue("full_size")
    return files


def lightness_for(colorizer: colorcv.Colorizer, seed: int = 0) -> Array:
    return caffe_writer.sample_lightness(colorizer.input_hw, seed)


def test_auto_uses_cuda_with_the_reason(model: str | colorcv.ModelFiles) -> None:
    colorizer = colorcv.Colorizer(model)
    assert colorizer.device == "cuda"
    assert "agrees with the CPU" in colorizer.device_reason


@pytest.mark.parametrize("device", DEVICES)
def test_ab_agrees_with_the_cpu(model: str | colorcv.ModelFiles, device: str) -> None:
    on_cpu, on_gpu = (colorcv.Colorizer(model, device=name) for name in ("cpu", device))
    assert (on_cpu.device, on_gpu.device) == ("cpu", device)
    for seed in range(4):
        lightness = lightness_for(on_cpu, seed)
        difference = np.abs(on_gpu.predict_ab(lightness) - on_cpu.predict_ab(lightness)).max()
        assert difference < TOLERANCE[device]


def test_photo_agrees_with_the_cpu() -> None:
    photo = Path(__file__).parents[2] / "examples" / "photos" / "tetons_1942.jpg"
    on_cpu, on_gpu = (
        colorcv.colorize(photo, model="lite", device=name).astype(int) for name in ("cpu", "cuda")
    )
    assert np.abs(on_cpu - on_gpu).max() <= 2


def test_several_colorizers_in_threads() -> None:
    colorizers = [colorcv.Colorizer("lite", device="cuda") for _ in range(3)]
    inputs = [lightness_for(colorizers[0], seed) for seed in range(6)]
    expected = [colorizers[0].predict_ab(lightness) for lightness in inputs]
    with ThreadPoolExecutor(6) as pool:
        answers = [
            pool.submit(colorizers[turn % 3].predict_ab, inputs[turn % 6]) for turn in range(60)
        ]
        for turn, answer in enumerate(answers):
            assert np.abs(answer.result() - expected[turn % 6]).max() < 1e-3


@pytest.fixture
def full_memory() -> Iterator[None]:
    """Fill nearly all of the GPU's memory, by allocations that become smaller and smaller."""
    blocks = []
    megabytes = 4096
    while megabytes >= 1:
        block = cv2.cuda.GpuMat()  # with a size here, a failure would be a SystemError
        try:
            block.create(1024 * megabytes, 1024, cv2.CV_8U)
            blocks.append(block)
        except cv2.error:
            megabytes //= 2
    yield
    for block in blocks:
        block.release()


@pytest.mark.usefixtures("full_memory")
def test_full_gpu_memory_is_a_clear_error(full_size: colorcv.ModelFiles) -> None:
    with pytest.raises(colorcv.DeviceError, match="cuda"):
        colorcv.Colorizer(full_size, device="cuda")


@pytest.mark.usefixtures("full_memory")
def test_auto_falls_back_to_the_cpu_if_gpu_memory_is_full(full_size: colorcv.ModelFiles) -> None:
    colorizer = colorcv.Colorizer(full_size)
    assert colorizer.device == "cpu"
    assert "CUDA failed" in colorizer.device_reason
    assert np.isfinite(colorizer.predict_ab(lightness_for(colorizer))).all()
