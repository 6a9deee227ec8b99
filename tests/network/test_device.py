"""Devices: what is there, what is asked for, and what happens when one fails.

No test machine need have a device: a stand-in at the boundary of `cv2.dnn` plays one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from colorcv import network
from colorcv.errors import DeviceError, OptionError
from colorcv.network import device, loading
from tests.reference import small
from tests.reference.caffe_writer import sample_lightness

LIGHTNESS = sample_lightness((16, 24))
CUDA = (cv2.dnn.DNN_BACKEND_CUDA, [cv2.dnn.DNN_TARGET_CUDA, cv2.dnn.DNN_TARGET_CUDA_FP16])
Behaviour = Callable[[np.ndarray, int], np.ndarray]


class StandIn:
    """A net that runs on the CPU whatever it is told, and behaves as it is told elsewhere."""

    def __init__(self, net: cv2.dnn.Net, behaviour: Behaviour) -> None:
        self._net = net
        self._behaviour = behaviour
        self._backend = self._target = 0
        self._forwards = 0

    def setPreferableBackend(self, backend: int) -> None:
        self._backend = backend

    def setPreferableTarget(self, target: int) -> None:
        self._target = target

    def forward(self) -> np.ndarray:
        answer = self._net.forward()
        if self._target in (cv2.dnn.DNN_TARGET_CPU, 0):
            return answer
        self._forwards += 1
        return self._behaviour(answer, self._forwards)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._net, name)


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make OpenCV report CUDA."""
    monkeypatch.setattr(
        cv2.dnn, "getAvailableTargets", lambda backend: CUDA[1] if backend == CUDA[0] else [0]
    )


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch, reported: None) -> Callable[[Behaviour], None]:
    """Make OpenCV report CUDA, with networks on it that behave as the test says."""

    def install(behaviour: Behaviour) -> None:
        read = cv2.dnn.readNetFromONNX
        monkeypatch.setattr(
            cv2.dnn, "readNetFromONNX", lambda *a, **k: StandIn(read(*a, **k), behaviour)
        )

    return install


def right(answer: np.ndarray, count: int) -> np.ndarray:
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


def assert_right(net: network.Network) -> None:
    np.testing.assert_allclose(net.predict_ab(LIGHTNESS), small.answer(LIGHTNESS), atol=1e-3)


def test_auto_takes_a_cuda_that_agrees(tmp_path: Path, cuda: Any) -> None:
    cuda(right)
    net = load(tmp_path)
    assert net.device == "cuda"
    assert "agrees with the CPU within 0.000" in net.device_reason
    assert_right(net)


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (wrong, "does not answer as the CPU does .off by 20.0"),
        (not_finite, "CUDA failed: .* no colour"),
        (failing, "CUDA failed: .* no kernel image"),
    ],
)
def test_auto_stays_on_the_cpu_and_says_why(
    tmp_path: Path, cuda: Any, behaviour: Behaviour, why: str
) -> None:
    cuda(behaviour)
    net = load(tmp_path)
    assert net.device == "cpu"
    assert_right(net)
    assert re.search(why, net.device_reason)


def test_auto_goes_on_with_the_cpu_when_cuda_fails_later(tmp_path: Path, cuda: Any) -> None:
    cuda(failing_later)
    net = load(tmp_path)
    assert net.device == "cuda"
    for _ in range(4):
        assert_right(net)
    assert net.device == "cpu"
    assert "cuda failed later on" in net.device_reason
    assert "no kernel image" in net.device_reason


def test_explicit_cuda_is_used(tmp_path: Path, cuda: Any) -> None:
    cuda(right)
    net = load(tmp_path, "cuda-fp16")
    assert (net.device, net.device_reason) == ("cuda-fp16", "asked for")
    assert net._net._target == cv2.dnn.DNN_TARGET_CUDA_FP16
    assert net._net._backend == cv2.dnn.DNN_BACKEND_CUDA
    assert_right(net)


@pytest.mark.parametrize("behaviour", [failing, not_finite])
def test_explicit_cuda_that_fails_is_an_error(
    tmp_path: Path, cuda: Any, behaviour: Behaviour
) -> None:
    cuda(behaviour)
    with pytest.raises(DeviceError, match="'cuda'"):
        load(tmp_path, "cuda")


def test_explicit_cuda_that_fails_later_is_an_error(tmp_path: Path, cuda: Any) -> None:
    cuda(failing_later)
    net = load(tmp_path, "cuda")
    assert_right(net)
    for _ in range(2):
        with pytest.raises(DeviceError, match="failed to run the network on 'cuda'"):
            net.predict_ab(LIGHTNESS)
    assert net.device == "cuda"


@pytest.mark.skipif(not hasattr(cv2.dnn, "ENGINE_CLASSIC"), reason="an OpenCV with one engine")
def test_an_engine_that_would_silently_run_on_the_cpu(
    tmp_path: Path, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda(right)
    read = cv2.dnn.readNetFromONNX  # as if OPENCV_FORCE_DNN_ENGINE=2 stood in the environment
    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", lambda source, engine=None: read(source))
    with pytest.raises(DeviceError, match="did not give its classic engine"):
        load(tmp_path, "cuda")
    net = load(tmp_path)
    assert net.device == "cpu"
    assert "did not give its classic engine" in net.device_reason


@pytest.mark.skipif(not hasattr(cv2.dnn, "ENGINE_CLASSIC"), reason="an OpenCV with one engine")
def test_the_temporary_file_for_the_classic_engine(
    tmp_path: Path, cuda: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda(right)
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(loading.tempfile, "tempdir", str(folder))
    load(tmp_path, "cuda")
    assert not list(folder.iterdir())
    folder.rmdir()
    with pytest.raises(DeviceError, match="temporary file cannot be written"):
        load(tmp_path, "cuda")


def test_here_without_devices() -> None:
    found = {info.name: info for info in network.devices()}
    assert tuple(found) == device.NAMES
    assert found["cpu"].available
    if cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA):
        pytest.skip("this machine has CUDA")
    assert not found["cuda"].available
    assert "CUDA" in found["cuda"].reason


@pytest.fixture
def cuda_without_a_card() -> None:
    if "NVIDIA CUDA:" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV was built without CUDA")
    if cv2.dnn.getAvailableTargets(cv2.dnn.DNN_BACKEND_CUDA):
        pytest.skip("this machine has a card for CUDA")


@pytest.mark.usefixtures("cuda_without_a_card")
def test_here_with_cuda_but_no_card(tmp_path: Path) -> None:
    net = load(tmp_path)
    assert net.device == "cpu"
    assert "finds no card" in net.device_reason
    assert_right(net)
    with pytest.raises(DeviceError, match="finds no card"):
        load(tmp_path, "cuda")


@pytest.mark.usefixtures("cuda_without_a_card", "reported")
def test_a_card_that_was_there_a_moment_ago(tmp_path: Path) -> None:
    net = load(tmp_path)
    assert net.device == "cpu"
    assert "CUDA failed" in net.device_reason
    assert_right(net)
    with pytest.raises(DeviceError, match=r"'cuda'.*Gpu API call"):
        load(tmp_path, "cuda")


BUILT = """
  NVIDIA CUDA:                   YES (ver 12.4)
    NVIDIA GPU arch:             86 90
  cuDNN:                         YES (ver 9)"""


@pytest.mark.parametrize(
    ("built", "targets", "name", "why"),
    [
        ("  OpenCL: YES", [], "cuda", "built without CUDA and cuDNN"),
        ("  NVIDIA CUDA: YES\n  cuDNN: NO", [], "cuda", "built without CUDA and cuDNN"),
        (BUILT, [], "cuda", "architecture 86 90, but finds no card that it can use"),
        (BUILT, [cv2.dnn.DNN_TARGET_CUDA], "cuda-fp16", "no half precision"),
    ],
)
def test_why_there_is_no_cuda(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    built: str,
    targets: list[int],
    name: str,
    why: str,
) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: built)
    monkeypatch.setattr(cv2.dnn, "getAvailableTargets", lambda backend: targets)
    with pytest.raises(DeviceError, match=f"'{name}' is not there: .*{why}.*device="):
        load(tmp_path, name)


class Card:
    def __init__(self, kind: int, intel: bool, half: bool) -> None:
        self.kind, self.intel, self.half = kind, intel, half

    def type(self) -> int:
        return self.kind

    def name(self) -> str:
        return "card"

    def isIntel(self) -> bool:
        return self.intel

    def isExtensionSupported(self, name: str) -> bool:
        return self.half


GPU, CPU = cv2.ocl.Device_TYPE_GPU, cv2.ocl.Device_TYPE_CPU


@pytest.mark.parametrize(
    ("have", "use", "card", "allow", "problems"),
    [
        (False, False, None, "0", ("no OpenCL device", "no OpenCL device")),
        (True, False, None, "0", ("switched off", "switched off")),
        (True, True, Card(CPU, True, True), "0", ("no graphics card", "no graphics card")),
        (True, True, Card(CPU, False, True), "1", (None, None)),
        (True, True, Card(GPU, False, True), "0", (None, "not use half precision")),
        (True, True, Card(GPU, True, False), "0", (None, "not use half precision")),
        (True, True, Card(GPU, True, True), "0", (None, None)),
    ],
)
def test_opencl_by_opencvs_own_rules(
    monkeypatch: pytest.MonkeyPatch,
    have: bool,
    use: bool,
    card: Card | None,
    allow: str,
    problems: tuple[str | None, str | None],
) -> None:
    monkeypatch.setattr(cv2.ocl, "haveOpenCL", lambda: have)
    monkeypatch.setattr(cv2.ocl, "useOpenCL", lambda: use)
    monkeypatch.setattr(cv2.ocl.Device, "getDefault", staticmethod(lambda: card))
    monkeypatch.setenv("OPENCV_DNN_OPENCL_ALLOW_ALL_DEVICES", allow)
    infos = {info.name: info for info in network.devices()}
    for name, problem in zip(("opencl", "opencl-fp16"), problems, strict=True):
        assert infos[name].available is (problem is None)
        assert (problem or "OpenCV reports it") in infos[name].reason


@pytest.mark.parametrize("name", ["gpu", "", None, 0])
def test_a_device_that_is_not_known(tmp_path: Path, name: Any) -> None:
    with pytest.raises(OptionError, match="device"):
        load(tmp_path, name)


def test_a_network_that_opencv_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise cv2.error("assertion failed")

    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", refuse)
    with pytest.raises(DeviceError, match="does not take the network for 'cpu'"):
        load(tmp_path)
