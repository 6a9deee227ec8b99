"""`Colorizer` and `colorize`, also shared between threads and processes."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import colorcv
from colorcv import Colorizer, api, network
from colorcv.color import lab
from colorcv.errors import OptionError
from colorcv.image.source import SourceImage

Lightness = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def lite() -> colorcv.Colorizer:
    return colorcv.Colorizer("lite", device="cpu")


@pytest.fixture(scope="module")
def golden() -> dict[str, npt.NDArray[np.float32]]:
    return dict(np.load(Path(__file__).parent / "data" / "lite_golden.npz"))


@pytest.fixture
def _no_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_defaults", {})


def grey_images(count: int) -> list[npt.NDArray[np.uint8]]:
    random = np.random.default_rng(7)
    return [
        np.kron(random.integers(0, 256, (4, 5), np.uint8), np.ones((12, 12), np.uint8))
        for _ in range(count)
    ]


def test_golden_answers(
    lite: colorcv.Colorizer, golden: dict[str, npt.NDArray[np.float32]]
) -> None:
    for lightness, ab in zip(golden["lightness"], golden["ab"], strict=True):
        assert np.abs(lite.predict_ab(lightness) - ab).max() < 0.05


def test_colorize_equals_its_steps(lite: colorcv.Colorizer) -> None:
    image = grey_images(1)[0]
    small = SourceImage(image).lightness_at(lite.input_hw)
    chroma = lab.upsample_chroma(lite.predict_ab(small) * np.float32(1.4), small)
    expected = SourceImage(image).colored(chroma, saturation=1.5)
    np.testing.assert_array_equal(lite.colorize(image, saturation=1.5), expected)


def test_saturation_scales_chroma(lite: colorcv.Colorizer) -> None:
    image = grey_images(1)[0]
    np.testing.assert_array_equal(lite.colorize(image, saturation=0), np.dstack([image] * 3))
    spread = [np.ptp(lite.colorize(image, saturation=s).astype(int), axis=2).mean()
              for s in (0.25, 0.5, 1.0)]  # fmt: skip
    assert 0 < spread[0] < spread[1] < spread[2]


def test_rgb_order_mirrors_bgr_order(lite: colorcv.Colorizer) -> None:
    bgr = np.dstack(grey_images(3))
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    np.testing.assert_array_equal(lite.colorize(rgb, order="rgb")[..., ::-1], lite.colorize(bgr))


def test_attributes(lite: colorcv.Colorizer) -> None:
    assert lite.model == "lite"
    assert lite.device == "cpu"
    assert lite.device_reason
    assert lite.input_hw == (192, 192)
    assert lite.default_saturation == 1.4
    assert "lite" in repr(lite)
    assert "cpu" in repr(lite)


def test_temperature_ranges_from_the_mode_to_the_mean(
    golden: dict[str, npt.NDArray[np.float32]],
) -> None:
    centers = np.load(Path(__file__).parent / "data" / "pts_in_hull.npy").astype(np.float32)
    lightness = golden["lightness"][0]

    def answer(temperature: float) -> npt.NDArray[np.float32]:
        colorizer = colorcv.Colorizer("lite", device="cpu", temperature=temperature)
        return colorizer.predict_ab(lightness).reshape(-1, 1, 2)

    assert np.abs(answer(1e5) - centers.mean(axis=0)).max() < 0.05
    to_nearest = np.abs(answer(1e-3) - centers).max(axis=2).min(axis=1)
    assert np.median(to_nearest) < 0.01


def test_default_temperature(golden: dict[str, npt.NDArray[np.float32]]) -> None:
    colorizer = colorcv.Colorizer("lite", device="cpu", temperature=1 / 3.5)
    assert np.abs(colorizer.predict_ab(golden["lightness"][0]) - golden["ab"][0]).max() < 0.05


def test_other_input_sizes_build_a_second_network(lite: colorcv.Colorizer) -> None:
    lightness = np.tile(np.linspace(0, 100, 256, dtype=np.float32), (128, 1))
    first = lite.predict_ab(lightness)
    assert first.shape == (32, 64, 2)
    assert lite.predict_ab(np.full((192, 192), 50, np.float32)).shape == (48, 48, 2)
    np.testing.assert_array_equal(lite.predict_ab(lightness), first)


@pytest.mark.parametrize(
    ("lightness", "said"),
    [
        pytest.param(np.zeros((192, 192, 1)), "shape", id="three-dimensional"),
        pytest.param(np.zeros((0, 192)), "shape", id="empty"),
        pytest.param(np.full((192, 192), 255), "255", id="not-in-0..100"),
        pytest.param(np.full((192, 192), np.nan), "nan", id="nan"),
        pytest.param(None, "shape", id="none"),
        pytest.param("a string", "shape", id="string"),
        pytest.param(np.full((192, 192), "a"), "<U1", id="letters"),
    ],
)
def test_predict_ab_rejects_bad_arrays(
    lite: colorcv.Colorizer, lightness: object, said: str
) -> None:
    with pytest.raises(colorcv.ImageError, match=said):
        lite.predict_ab(lightness)  # type: ignore[arg-type]


def test_predict_ab_rejects_unsupported_sizes(lite: colorcv.Colorizer) -> None:
    with pytest.raises(colorcv.OptionError):
        lite.predict_ab(np.zeros((100, 100), np.float32))
    assert lite.predict_ab(np.zeros((192, 192), np.float32)).shape == (48, 48, 2)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "much"])
def test_bad_saturation(lite: colorcv.Colorizer, value: float) -> None:
    with pytest.raises(colorcv.OptionError, match="saturation"):
        lite.colorize(grey_images(1)[0], saturation=value)


def test_bad_options() -> None:
    grey = grey_images(1)[0]
    with pytest.raises(colorcv.OptionError, match=r"zhang2016.*lite|lite.*zhang2016"):
        colorcv.colorize(grey, model="zhang2017")
    with pytest.raises(colorcv.OptionError, match="NoneType"):
        colorcv.colorize(grey, model=None)  # type: ignore[arg-type]
    with pytest.raises(colorcv.OptionError, match="device"):
        colorcv.Colorizer("lite", device="gpu")
    with pytest.raises(colorcv.OptionError, match="order"):
        colorcv.colorize(grey, model="lite", order="grb")
    with pytest.raises(colorcv.OptionError, match="temperature"):
        colorcv.Colorizer("lite", temperature=0)
    with pytest.raises(TypeError):
        colorcv.colorize(grey, "lite")  # type: ignore[misc]


def test_a_bad_picture_is_told_before_a_model_is_fetched() -> None:
    with pytest.raises(colorcv.ImageError):
        colorcv.colorize(np.zeros((4, 4, 2), np.uint8))


def test_zhang2016_is_never_replaced_silently() -> None:
    with pytest.raises(colorcv.DownloadError, match="COLORCV_OFFLINE"):
        colorcv.colorize(grey_images(1)[0])


def test_model_from_files() -> None:
    folder = Path(colorcv.__file__).parent / "models" / "lite"
    files = colorcv.ModelFiles(
        prototxt=folder / "colorcv_lite_v3.prototxt",
        caffemodel=folder / "colorcv_lite_v3.caffemodel",
        centers=folder / "pts_in_hull.npy",
    )
    grey = grey_images(1)[0]
    assert colorcv.Colorizer(files).default_saturation == 1
    np.testing.assert_allclose(  # the factor belongs to the name, not to the files
        colorcv.colorize(grey, model=files, saturation=1.4).astype(int),
        colorcv.colorize(grey, model="lite").astype(int),
        atol=1,
    )


@pytest.mark.usefixtures("_no_defaults")
def test_concurrent_first_calls_build_one_colorizer(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    load = network.load

    def counting_load(*args: object, **options: object) -> network.Network:
        built.append(threading.get_ident())
        return load(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(network, "load", counting_load)
    start = threading.Barrier(4)
    grey = grey_images(1)[0]

    def first(_: int) -> npt.NDArray[np.uint8]:
        start.wait()
        return colorcv.colorize(grey, model="lite", device="cpu")

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(first, range(4)))
    assert len(built) == 1
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer, answers[0])


def test_threads_sharing_a_colorizer_get_the_single_thread_result(lite: colorcv.Colorizer) -> None:
    greys = grey_images(12)
    expected = [lite.colorize(grey) for grey in greys]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lite.colorize, greys * 8))
    for answer, right in zip(answers, expected * 8, strict=True):
        np.testing.assert_array_equal(answer, right)


def test_pickling_keeps_the_options(lite: colorcv.Colorizer) -> None:
    copy = pickle.loads(pickle.dumps(lite))
    grey = grey_images(1)[0]
    assert copy.model == "lite"
    np.testing.assert_array_equal(copy.colorize(grey), lite.colorize(grey))


def _in_child(colorizer: colorcv.Colorizer, grey: npt.NDArray[np.uint8]) -> bytes:
    return colorizer.colorize(grey).tobytes()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_child_processes_build_their_own_network(lite: colorcv.Colorizer, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"needs the start method {method}")
    grey = grey_images(1)[0]
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = [pool.apply_async(_in_child, (lite, grey)).get(timeout=60) for _ in range(2)]
    assert answers == [lite.colorize(grey).tobytes()] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # a fork with other threads running is the case under test
def test_fork_while_other_threads_hold_the_locks(lite: colorcv.Colorizer) -> None:
    """The Colorizer's lock, and those of OpenCV's thread pool while its workers run."""
    grey = grey_images(1)[0]
    expected = lite.colorize(grey)
    for _ in range(15):
        with lite._lock:
            child = os.fork()
            if child == 0:
                same = bool((lite.colorize(grey) == expected).all())
                os._exit(0 if same else 1)
        assert _exit_code(child, seconds=60) == 0
        np.testing.assert_array_equal(lite.colorize(grey), expected)


def _exit_code(child: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def test_import_loads_no_heavy_module() -> None:
    code = (
        "import sys, colorcv; colorcv.ColorcvError; dir(colorcv);"
        "heavy = {'cv2', 'numpy', 'requests', 'platformdirs', 'av'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_colorizing_needs_no_requests() -> None:
    code = (
        "import sys, numpy, colorcv; colorcv.colorize(numpy.zeros((9, 9), 'u1'), model='lite');"
        "assert 'requests' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_memory_forms_of_a_colorizer() -> None:
    small = Colorizer("lite", device="cpu", low_memory=True)
    assert small.memory == "low"
    assert pickle.loads(pickle.dumps(small)).memory == "low"
    assert Colorizer("lite", device="cpu", memory="fast").memory == "fast"
    automatic = Colorizer("lite", device="cpu")
    assert automatic.memory == "balanced"
    assert re.search("memory form balanced, which needs .* MiB are free", automatic.device_reason)
    grey = np.tile(np.linspace(0, 255, 64, dtype=np.uint8), (48, 1))
    results = [
        colorcv.colorize(grey, model="lite", device="cpu", memory=memory)
        for memory in ("fast", "balanced", "low")
    ]
    assert all(np.abs(result.astype(int) - results[0]).max() <= 1 for result in results)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "small"}, "memory must be 'auto', 'fast', 'balanced' or 'low', got 'small'"),
        ({"memory": "fast", "low_memory": True}, "low_memory=True contradicts memory='fast'"),
    ],
)
def test_wrong_memory_forms(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Colorizer("lite", device="cpu", **options)
