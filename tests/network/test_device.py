"""Tests of devices: availability, choice, and failures.

No device is needed: a fake at the boundary of `cv2.dnn` behaves like one.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import cv2
import numpy as np
import pytest

import colorcv
from colorcv import network
from colorcv._typing import Device
from colorcv.errors import DeviceError, OptionError
from colorcv.network import device
from tests.reference import small
from tests.reference.caffe_writer import sample_lightness

LIGHTNESS = sample_lightness((16, 24))
CUDA = (cv2.dnn.DNN_BACKEND_CUDA, [cv2.dnn.DNN_TARGET_CUDA, cv2.dnn.DNN_TARGET_CUDA_FP16])
Behavior = Callable[[np.ndarray, int], np.ndarray]


class FakeNet:
    """A net that runs on the CPU and changes its output if another device is set."""

    def __init__(self, net: cv2.dnn.Net, behavior: Behavior) -> None:
        self._net = net
        self._behavior = behavior
        self._backend = self._target = 0
        self._forwards = 0

    def setPreferableBackend(self, backend: int) -> None:
        self._backend = backend

    def setPreferableTarget(self, target: int) -> None:
        self._target = target

    def forward(self, *outputs: str) -> np.ndarray:
        answer = self._net.forward(*outputs)
        if self._target in (cv2.dnn.DNN_TARGET_CPU, 0):
            return answer
        self._forwards += 1
        return self._behavior(answer, self._forwards)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


@pytest.fixture
def cuda_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make OpenCV report CUDA."""
    monkeypatch.setattr(
        cv2.dnn, "getAvailableTargets", lambda backend: CUDA[1] if backend == CUDA[0] else [0]
    )


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, cuda_reported: None) -> Callable[[Behavior], None]:
    """Make OpenCV report CUDA, and return a function that sets how networks behave on it."""

    def install(behavior: Behavior) -> None:
        read = cv2.dnn.readNetFromONNX
        monkeypatch.setattr(
            cv2.dnn, "readNetFromONNX", lambda *a, **k: FakeNet(read(*a, **k), behavior)
        )

    return install


def correct(answer: np.ndarray, count: int) -> np.ndarray:
    return answer


def wrong(answer: np.ndarray, count: int) -> np.ndarray:
    return answer + 20


def not_finite(answer: np.ndarray, count: int) -> np.ndarray:
    return answer * np.nan


def failing(answer: np.ndarray, count: int) -> np.ndarray:
    raise cv2.error("no kernel image is available for execution on the device")


def failing_later(answer: np.ndarray, count: int) -> np.ndarray:
    return answer if count < 3 else failing(answer, count)


def load(tmp_path: Path, name: str = "auto") -> network.Network:
    return network.load(*small.write(tmp_path), device=name)


def assert_correct(net: network.Network) -> None:
    np.testing.assert_allclose(net.predict_ab(LIGHTNESS), small.answer(LIGHTNESS), atol=1e-3)


def test_auto_uses_cuda_that_agrees(tmp_path: Path, cuda: Any) -> None:
    cuda(correct)
    net = load(tmp_path)
    assert net.device == "cuda"
    assert "agrees with the CPU within 0.000" in net.device_reason
    assert_correct(net)


@pytest.mark.parametrize(
    ("behavior", "reason"),
    [
        (wrong, "disagrees with the CPU .by up to 20.0 in ab"),
        (not_finite, "CUDA failed: .* not a colour"),
        (failing, "CUDA failed: .* no kernel image"),
    ],
)
def test_auto_falls_back_to_the_cpu_with_the_reason(
    tmp_path: Path, cuda: Any, behavior: Behavior, reason: str
) -> None:
    cuda(behavior)
    net = load(tmp_path)
    assert net.device == "cpu"
    assert_correct(net)
    assert re.search(reason, net.device_reason)


def test_auto_continues_on_the_cpu_if_cuda_fails_later(tmp_path: Path, cuda: Any) -> None:
    cuda(failing_later)
    net = load(tmp_path)
    assert net.device == "cuda"
    for _ in range(4):
        assert_correct(net)
    assert net.device == "cpu"
    assert "cuda failed during use" in net.device_reason
    assert "no kernel image" in net.device_reason


def test_requested_cuda_is_used(tmp_path: Path, cuda: Any) -> None:
    cuda(correct)
    net = load(tmp_path, "cuda-fp16")
    assert (net.device, net.device_reason) == ("cuda-fp16", "requested")
    assert net._engine._net._target == cv2.dnn.DNN_TARGET_CUDA_FP16
    assert net._engine._net._backend == cv2.dnn.DNN_BACKEND_CUDA
    assert_correct(net)


@pytest.mark.parametrize("behavior", [failing, not_finite])
def test_requested_cuda_that_fails_is_an_error(
    tmp_path: Path, cuda: Any, behavior: Behavior
) -> None:
    cuda(behavior)
    with pytest.raises(DeviceError, match="'cuda'"):
        load(tmp_path, "cuda")


def test_requested_cuda_that_fails_later_is_an_error(tmp_path: Path, cuda: Any) -> None:
    cuda(failing_later)
    net = load(tmp_path, "cuda")
    assert_correct(net)
    for _ in range(2):
        with pytest.raises(DeviceError, match="failed to run the network on 'cuda'"):
            net.predict_ab(LIGHTNESS)
    assert net.device == "cuda"


@pytest.mark.skipif(not hasattr(cv2.dnn, "ENGINE_CLASSIC"), reason="an OpenCV with one engine")
def test_engine_without_cuda_is_an_error(
    tmp_path: Path, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda(correct)
    read = cv2.dnn.readNetFromONNX  # as with OPENCV_FORCE_DNN_ENGINE=2 in the environment
    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", lambda source, engine=None: read(source))
    with pytest.raises(DeviceError, match="needs OpenCV's classic engine"):
        load(tmp_path, "cuda")
    net = load(tmp_path)
    assert net.device == "cpu"
    assert "needs OpenCV's classic engine" in net.device_reason


@pytest.mark.skipif(not hasattr(cv2.dnn, "ENGINE_CLASSIC"), reason="an OpenCV with one engine")
def test_temporary_file_for_the_classic_engine(
    tmp_path: Path, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda(correct)
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    load(tmp_path, "cuda")
    assert not list(folder.iterdir())
    folder.rmdir()
    with pytest.raises(DeviceError, match="cannot write the temporary file"):
        load(tmp_path, "cuda")


def test_devices_of_this_machine() -> None:
    found = {info.name: info for info in network.devices()}
    assert tuple(found) == device.NAMES
    assert found["cpu"].available
    if cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA):
        pytest.skip("this machine has CUDA")
    assert not found["cuda"].available
    assert "CUDA" in found["cuda"].reason


@pytest.fixture
def cuda_without_gpu() -> None:
    if "NVIDIA CUDA:" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV was built without CUDA")
    if cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA):
        pytest.skip("this machine has a GPU for CUDA")


@pytest.mark.usefixtures("cuda_without_gpu")
def test_opencv_with_cuda_but_without_gpu(tmp_path: Path) -> None:
    net = load(tmp_path)
    assert net.device == "cpu"
    assert "finds no usable GPU" in net.device_reason
    assert_correct(net)
    with pytest.raises(DeviceError, match="finds no usable GPU"):
        load(tmp_path, "cuda")


@pytest.mark.usefixtures("cuda_without_gpu", "cuda_reported")
def test_gpu_that_is_reported_but_missing(tmp_path: Path) -> None:
    net = load(tmp_path)
    assert net.device == "cpu"
    assert "CUDA failed" in net.device_reason
    assert_correct(net)
    with pytest.raises(DeviceError, match=r"'cuda'.*Gpu API call"):
        load(tmp_path, "cuda")


BUILT = """
  NVIDIA CUDA:                   YES (ver 12.4)
    NVIDIA GPU arch:             86 90
  cuDNN:                         YES (ver 9)"""


@pytest.mark.parametrize(
    ("built", "targets", "name", "reason"),
    [
        ("  OpenCL: YES", [], "cuda", "built without CUDA and cuDNN"),
        ("  NVIDIA CUDA: YES\n  cuDNN: NO", [], "cuda", "built without CUDA and cuDNN"),
        (BUILT, [], "cuda", "architecture 86 90, but finds no usable GPU"),
        (BUILT, [cv2.dnn.DNN_TARGET_CUDA], "cuda-fp16", "does not support half precision"),
    ],
)
def test_reasons_for_missing_cuda(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    built: str,
    targets: list[int],
    name: str,
    reason: str,
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: built)
    monkeypatch.setattr(cv2.dnn, "getAvailableTargets", lambda backend: targets)
    with pytest.raises(DeviceError, match=f"'{name}' is not available: .*{reason}.*; .*use "):
        load(tmp_path, name)


class FakeOpenCLDevice:
    def __init__(self, kind: int, intel: bool, half: bool) -> None:
        self.kind, self.intel, self.half = kind, intel, half

    def type(self) -> int:
        return self.kind

    def name(self) -> str:
        return "fake"

    def isIntel(self) -> bool:
        return self.intel

    def isExtensionSupported(self, name: str) -> bool:
        return self.half


GPU, CPU = cv2.ocl.Device_TYPE_GPU, cv2.ocl.Device_TYPE_CPU


@pytest.mark.parametrize(
    ("have", "use", "device", "allow", "problems"),
    [
        (False, False, None, "0", ("no OpenCL device", "no OpenCL device")),
        (True, False, None, "0", ("disabled", "disabled")),
        (True, True, FakeOpenCLDevice(CPU, True, True), "0", ("not a GPU", "not a GPU")),
        (True, True, FakeOpenCLDevice(CPU, False, True), "1", (None, None)),
        (
            True,
            True,
            FakeOpenCLDevice(GPU, False, True),
            "0",
            (None, "does not use half precision"),
        ),
        (
            True,
            True,
            FakeOpenCLDevice(GPU, True, False),
            "0",
            (None, "does not use half precision"),
        ),
        (True, True, FakeOpenCLDevice(GPU, True, True), "0", (None, None)),
    ],
)
def test_opencl_follows_opencvs_rules(
    monkeypatch: pytest.MonkeyPatch,
    have: bool,
    use: bool,
    device: FakeOpenCLDevice | None,
    allow: str,
    problems: tuple[str | None, str | None],
) -> None:
    monkeypatch.setattr(cv2.ocl, "haveOpenCL", lambda: have)
    monkeypatch.setattr(cv2.ocl, "useOpenCL", lambda: use)
    monkeypatch.setattr(cv2.ocl.Device, "getDefault", staticmethod(lambda: device))
    monkeypatch.setenv("OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES", allow)
    infos = {info.name: info for info in network.devices()}
    for name, problem in zip(("opencl", "opencl-fp16"), problems, strict=True):
        assert infos[name].available is (problem is None)
        assert (problem or "supported by this OpenCV") in infos[name].reason


@pytest.mark.parametrize("name", ["gpu", "", None, 0])
def test_unknown_device(tmp_path: Path, name: Any) -> None:
    with pytest.raises(OptionError, match="device"):
        load(tmp_path, name)


def test_network_that_opencv_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reject(*args: object, **kwargs: object) -> None:
        raise cv2.error("assertion failed")

    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", reject)
    with pytest.raises(DeviceError, match="cannot load the network for 'cpu'"):
        load(tmp_path)


def test_device_type_lists_all_devices() -> None:
    assert get_args(Device) == ("auto", *device.NAMES)
    assert get_type_hints(network.load)["device"] == Device


def test_device_info_is_public() -> None:
    assert colorcv.DeviceInfo is device.DeviceInfo
    assert all(isinstance(info, colorcv.DeviceInfo) for info in colorcv.devices())
