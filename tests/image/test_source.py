"""`SourceImage`: shapes, dtypes, order, alpha, lightness and memory of results."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colorcv.errors import ImageError, OptionError
from colorcv.image.source import SourceImage
from tests.reference import lab_reference as reference

Array = npt.NDArray[Any]

DTYPES = [np.uint8, np.uint16, np.float16, np.float32, np.float64]
# How far L* may be off: half a level of the dtype at the steepest place of L*, and float32's part.
ROUNDING = {np.uint8: 0.5 / 255, np.uint16: 0.5 / 65535, np.float16: 2**-12, np.float32: 0.0,
            np.float64: 0.0}  # fmt: skip
CHANNELS = {"H,W": None, "H,W,1": 1, "H,W,3": 3, "H,W,4": 4}


def random_image(
    shape_hw: tuple[int, int], channels: int | None, dtype: type, *, seed: int = 0
) -> Array:
    shape = shape_hw if channels is None else (*shape_hw, channels)
    values = np.random.default_rng(seed).random(shape)
    if np.dtype(dtype).kind == "u":
        return np.rint(values * np.iinfo(dtype).max).astype(dtype)
    return values.astype(dtype)


def random_chroma(shape_hw: tuple[int, int] = (5, 7), *, reach: float = 60, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return rng.uniform(-reach, reach, (*shape_hw, 2)).astype(np.float32)


def slope_of_lightness(result: Array) -> Array:
    """How much L* moves per unit of value at each pixel of a result, all channels together."""
    step = 1e-4
    scale = np.iinfo(result.dtype).max if result.dtype.kind == "u" else 1
    values = result[..., :3].astype(np.float64) / scale
    up, down = np.minimum(values + step, 1), np.maximum(values - step, 0)
    return np.asarray(
        (reference.lab_from_rgb(up[..., ::-1]) - reference.lab_from_rgb(down[..., ::-1]))[..., 0]
        / np.maximum(np.min(up - down, axis=-1), step)
    )


@settings(max_examples=120, deadline=None)
@given(
    shape_hw=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([None, 1, 3, 4]),
    dtype=st.sampled_from(DTYPES),
    order=st.sampled_from(["bgr", "rgb"]),
    chroma_hw=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    reach=st.sampled_from([0, 15, 60, 110]),
    seed=st.integers(0, 9),
)
def test_results_keep_shape_dtype_alpha_and_lightness(
    shape_hw: tuple[int, int], channels: int | None, dtype: type, order: str,
    chroma_hw: tuple[int, int], reach: float, seed: int,
) -> None:  # fmt: skip
    image = random_image(shape_hw, channels, dtype, seed=seed)
    image.flags.writeable = False
    before = image.copy()
    chroma = random_chroma(chroma_hw, reach=reach, seed=seed)
    source = SourceImage(image, order=order)
    result = source.colored(chroma)

    assert result.shape == (*shape_hw, 4 if channels == 4 else 3)
    assert result.dtype == image.dtype
    assert np.array_equal(image, before)
    assert np.isfinite(result).all()
    if result.dtype.kind == "f":
        assert result.min() >= 0
        assert result.max() <= 1
    if channels == 4:
        assert np.array_equal(result[..., 3], image[..., 3])
    wanted = reference.lightness_of(image, order=order)
    got = reference.lightness_of(result[..., :3], order=order)
    bgr = result[..., 2::-1] if order == "rgb" else result
    allowed = slope_of_lightness(bgr) * (ROUNDING[dtype] * 1.05) + 2e-3
    assert np.all(np.abs(got - wanted) <= allowed)
    assert np.array_equal(source.colored(chroma), result)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize("order", ["bgr", "rgb"])
def test_colours_equal_the_reference(dtype: type, channels: int | None, order: str) -> None:
    image = random_image((50, 60), channels, dtype)
    chroma = random_chroma((5, 7), reach=50)
    result = SourceImage(image, order=order).colored(chroma)
    lightness = reference.lightness_of(image, order=order)
    ab = reference.cubic(chroma, (50, 60))
    rgb = reference.desaturated_rgb_from_lab(np.dstack((lightness, ab)))
    expected = rgb if order == "rgb" else rgb[..., ::-1]
    scale = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    error = np.abs(result[..., :3] / scale - expected)
    allowed = ROUNDING[dtype] * 1.02 + 6e-6  # 6e-6 is 0.4 levels of 16 bits
    assert np.quantile(error, 0.999) <= allowed
    # The darkest channel of a bright, saturated colour is a small difference of large float32.
    assert error.max() <= allowed + 8e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", CHANNELS.values(), ids=CHANNELS)
def test_zero_saturation_returns_the_grey_image(dtype: type, channels: int | None) -> None:
    image = random_image((20, 30), channels, dtype)
    source = SourceImage(image)
    result = source.colored(random_chroma(), saturation=0)
    assert result.dtype == image.dtype
    assert np.array_equal(result[..., 0], result[..., 1])
    assert np.array_equal(result[..., 0], result[..., 2])
    if channels in (None, 1):
        assert np.array_equal(result[..., 0], image.reshape(20, 30))
    else:
        wanted, got = reference.lightness_of(image), reference.lightness_of(result[..., :3])
        assert np.all(np.abs(got - wanted) <= slope_of_lightness(result) * ROUNDING[dtype] + 2e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_saturation_keeps_three_channel_grey(dtype: type) -> None:
    grey = random_image((20, 30), None, dtype)
    image = np.dstack((grey, grey, grey))
    assert np.array_equal(SourceImage(image).colored(random_chroma(), saturation=0), image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_zero_chroma_keeps_every_grey_level(dtype: type) -> None:
    levels = np.arange(np.iinfo(dtype).max + 1, dtype=dtype).reshape(-1, 256)
    result = SourceImage(levels).colored(np.zeros((3, 3, 2), np.float32))
    assert np.array_equal(result, np.dstack((levels,) * 3))


def test_saturation_scales_chroma() -> None:
    image = np.full((8, 8), 0.5, np.float32)
    chroma = np.full((1, 1, 2), 10, np.float32)
    for saturation in (0.5, 1, 2):
        result = SourceImage(image).colored(chroma, saturation=saturation)
        lab = reference.lab_from_rgb(result[..., ::-1])
        assert np.abs(lab[..., 1:] - 10 * saturation).max() < 1e-3


def test_sepia_is_replaced() -> None:
    grey = np.tile(np.linspace(0.1, 0.8, 64), (8, 1))
    sepia = np.clip(grey[..., np.newaxis] * (0.7, 0.9, 1.1), 0, 1)
    result = SourceImage((sepia * 255).astype(np.uint8)).colored(np.zeros((2, 2, 2), np.float32))
    assert np.ptp(result.astype(int), axis=2).max() <= 1


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(lambda a: a[::-1, ::-1], id="negative-strides"),
        pytest.param(lambda a: a[::2, ::3], id="not-contiguous"),
        pytest.param(lambda a: np.asfortranarray(a), id="columns-first"),
        pytest.param(lambda a: a.swapaxes(0, 1), id="transposed"),
        pytest.param(lambda a: a[..., ::-1], id="channels-reversed"),
        pytest.param(lambda a: np.broadcast_to(a[:1], a.shape), id="broadcast"),
        pytest.param(lambda a: a.astype(a.dtype.newbyteorder(">")), id="big-endian"),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_memory_layout_does_not_matter(view: Any, dtype: type) -> None:
    image = view(random_image((24, 36), 4, dtype))
    plain = np.ascontiguousarray(image, image.dtype.newbyteorder("="))
    for saturation in (1, 0):
        got = SourceImage(image).colored(random_chroma(), saturation=saturation)
        assert got.dtype == image.dtype
        assert np.array_equal(
            got, SourceImage(plain).colored(random_chroma(), saturation=saturation)
        )
    small = SourceImage(image).lightness_at((10, 9))
    assert np.array_equal(small, SourceImage(plain).lightness_at((10, 9)))


def test_array_subclasses() -> None:
    image = random_image((8, 9), None, np.uint8).view(np.matrix)
    result = SourceImage(image).colored(random_chroma())
    assert type(result) is np.ndarray
    assert result.shape == (8, 9, 3)


@settings(max_examples=60, deadline=None)
@given(
    full=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    small=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    channels=st.sampled_from([None, 3]),
    dtype=st.sampled_from(DTYPES),
)
def test_lightness_is_the_area_mean(
    full: tuple[int, int], small: tuple[int, int], channels: int | None, dtype: type
) -> None:
    image = random_image(full, channels, dtype)
    got = SourceImage(image).lightness_at(small)
    assert got.shape == small
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    assert np.abs(got - reference.area_mean(reference.lightness_of(image), small)).max() < 0.05


@pytest.fixture(params=[1, 2, 64])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(request.param)
    yield request.param
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape_hw", [(900, 700), (40, 30_000), (30_000, 40), (1, 40_000)])
def test_strips_change_nothing(shape_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    image = random_image(shape_hw, 3, np.uint8)
    chroma = random_chroma((16, 20), reach=30)
    source = SourceImage(image)
    small, result = source.lightness_at((32, 32)), source.colored(chroma)
    monkeypatch.setattr("colorcv.image.source._MIN_STRIP_PIXELS", 1 << 30)
    monkeypatch.setattr("colorcv.image.source._MAX_STRIP_PIXELS", 1 << 30)
    whole = SourceImage(image)
    assert np.abs(small - whole.lightness_at((32, 32))).max() < 1e-3
    differ = result.astype(int) - whole.colored(chroma)
    assert np.abs(differ).max() <= 1  # the order of float additions decides a few roundings
    assert np.mean(differ != 0) < 1e-3


def test_transparent_pixels_do_not_count() -> None:
    image = random_image((64, 64), 4, np.uint8, seed=1)
    image[..., 3] = 0
    image[16:48, 16:48] = (150, 150, 150, 255)
    small = SourceImage(image).lightness_at((16, 16))
    inside = reference.lightness_of(image[16:17, 16:17, :3])[0, 0]
    assert np.abs(small - inside).max() < 0.1
    other = image.copy()
    other[other[..., 3] == 0] = (255, 0, 255, 0)
    assert np.array_equal(SourceImage(other).lightness_at((16, 16)), small)


def test_full_opacity_equals_no_alpha() -> None:
    image = random_image((30, 40), 4, np.uint8)
    image[..., 3] = 255
    plain = SourceImage(np.ascontiguousarray(image[..., :3])).lightness_at((8, 9))
    assert np.abs(SourceImage(image).lightness_at((8, 9)) - plain).max() < 1e-3


def test_opacity_weights_lightness() -> None:
    image = np.zeros((2, 2, 4), np.float32)
    image[0] = (1, 1, 1, 0.75)
    image[1] = (0, 0, 0, 0.25)
    small = SourceImage(image).lightness_at((1, 1))
    assert small[0, 0] == pytest.approx(75, abs=0.01)  # the fill takes a thousandth


@pytest.mark.parametrize("dtype", DTYPES)
def test_fully_transparent_images_keep_their_lightness(dtype: type) -> None:
    image = random_image((8, 8), 4, dtype)
    image[..., 3] = 0
    opaque = np.ascontiguousarray(image[..., :3])
    assert np.array_equal(
        SourceImage(image).lightness_at((4, 4)), SourceImage(opaque).lightness_at((4, 4))
    )


def with_value(value: float, dtype: type = np.float32) -> Array:
    image = np.full((300, 400), 0.5, dtype)
    image[299, 399] = value
    return image


@pytest.mark.parametrize(
    ("image", "says"),
    [
        pytest.param(None, "None", id="None"),
        pytest.param("no/such/file.png", "file.png does not exist", id="missing-file"),
        pytest.param(Path("no/such/file.png"), "file.png does not exist", id="missing-path"),
        pytest.param([[1, 2], [3, 4]], "list", id="list"),
        pytest.param(b"\x89PNG", "image bytes", id="bytes"),
        pytest.param(3, "int", id="number"),
        pytest.param(np.zeros((0, 5), np.uint8), r"empty array of shape \(0, 5\)", id="empty"),
        pytest.param(np.zeros((5, 0, 3), np.uint8), "empty", id="empty-columns"),
        pytest.param(np.full((4, 4), None), "object", id="object"),
        pytest.param(np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)", id="2-channels"),
        pytest.param(np.zeros((4, 4, 5), np.uint8), r"\(4, 4, 5\)", id="5-channels"),
        pytest.param(np.zeros(16, np.uint8), r"\(16,\)", id="1-axis"),
        pytest.param(np.zeros((2, 4, 4, 3), np.uint8), r"\(2, 4, 4, 3\)", id="4-axes"),
        pytest.param(np.array(5, np.uint8), r"\(\)", id="no-axes"),
        pytest.param(np.zeros((4, 4), np.int32), r"int32.*astype", id="int32"),
        pytest.param(np.zeros((4, 4), np.int8), "int8", id="int8"),
        pytest.param(np.zeros((4, 4), np.uint32), "uint32", id="uint32"),
        pytest.param(np.zeros((4, 4), np.complex64), "complex64", id="complex"),
        pytest.param(np.zeros((4, 4), np.longdouble), "float", id="longdouble"),
        pytest.param(np.zeros((4, 4), "U1"), "<U1", id="text"),
        pytest.param(np.zeros((4, 4), [("b", "u1")]), "b", id="fields"),
        pytest.param(with_value(math.nan), "NaN", id="nan"),
        pytest.param(with_value(math.inf), "infinite", id="inf"),
        pytest.param(with_value(-math.inf), "infinite", id="minus-inf"),
        pytest.param(with_value(math.nan, np.float16), "NaN", id="nan-float16"),
        pytest.param(with_value(255), "0.5 to 255.*divide by 255", id="0..255"),
        pytest.param(with_value(1.01), "0.5 to 1.01", id="above-1"),
        pytest.param(with_value(-0.5), "-0.5 to 0.5", id="below-0"),
    ],
)
def test_unusable_inputs_are_refused_with_advice(image: Any, says: str) -> None:
    with pytest.raises(ImageError, match=says) as caught:
        SourceImage(image)
    if not isinstance(image, (str, Path, bytes)):
        assert "uint8, uint16 or floats in 0..1" in str(caught.value)


def test_small_overshoot_is_clipped_in_the_result_only() -> None:
    image = with_value(1.0005)
    image[0, 0] = -0.0005
    result = SourceImage(image).colored(random_chroma(), saturation=0)
    assert result.min() == 0
    assert result.max() == 1
    assert image.max() > 1


@pytest.mark.parametrize("order", ["xyz", "BGR", "", None, 1])
def test_unknown_order(order: Any) -> None:
    with pytest.raises(OptionError, match=f"order must be .*bgr.* got {order!r}"):
        SourceImage(np.zeros((4, 4), np.uint8), order=order)


@pytest.mark.parametrize("saturation", [-0.1, math.nan, math.inf, 10.1, None, "1", True, 1j])
def test_bad_saturation(saturation: Any) -> None:
    source = SourceImage(np.zeros((4, 4), np.uint8))
    with pytest.raises(OptionError, match=r"saturation must be between 0 and 10, got"):
        source.colored(random_chroma(), saturation=saturation)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("channels", [3, 4])
def test_paths(order: str, channels: int, tmp_path: Path) -> None:
    image = random_image((12, 16), channels, np.uint8)
    path = tmp_path / "Grüße 祖母.png"
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    swapped = image[..., [2, 1, 0, 3][:channels]] if order == "rgb" else image
    for name in (path, str(path)):
        result = SourceImage(name, order=order).colored(random_chroma())
        assert np.array_equal(result, SourceImage(swapped, order=order).colored(random_chroma()))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1500, 2000), np.uint8),
        ((1000, 1500, 3), np.uint8),
        ((1000, 1000, 4), np.uint8),
        ((30_000, 3), np.uint8),
        ((3, 30_000), np.uint8),
        ((3, 30_000, 4), np.uint8),
        ((700, 1000), np.uint16),
        ((700, 1000, 3), np.float32),
        ((700, 1000, 4), np.float16),
    ],
)
def test_memory_is_bounded_by_the_result(shape: tuple[int, ...], dtype: type) -> None:
    image = random_image(shape[:2], shape[2] if len(shape) == 3 else None, dtype)
    chroma = random_chroma((56, 56), reach=110)
    SourceImage(image[:4, :4]).colored(chroma)  # fill the cached tables
    tracemalloc.start()
    try:
        source = SourceImage(image)
        small = source.lightness_at((224, 224))
        result = source.colored(chroma)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 3 * result.nbytes + 4 * small.nbytes  # arrays of the network's size come on top


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("source", ["array", "file"])
def test_process_memory_is_bounded_by_the_result(source: str, tmp_path: Path) -> None:
    """As above, with OpenCV's own allocations: 20 megapixels in a child process."""
    path = tmp_path / "it.bmp"
    if source == "file":
        cv2.imwrite(str(path), np.tile(np.arange(256, dtype=np.uint8), (4000, 20)))
    script = """
        import sys
        import numpy as np
        from pathlib import Path
        from colorcv.image.source import SourceImage

        def now(what):
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what))

        chroma = np.random.default_rng(0).uniform(-90, 90, (56, 56, 2)).astype(np.float32)
        SourceImage(np.zeros((300, 300), np.uint8)).colored(chroma)
        image = sys.argv[1]
        if not image.endswith(".bmp"):
            image = np.tile(np.arange(256, dtype=np.uint8), (4000, 20))
        before = now("VmRSS")
        source = SourceImage(image)
        source.lightness_at((224, 224))
        result = source.colored(chroma)
        print((now("VmHWM") - before) / result.nbytes)
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path) if source == "file" else "array"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert 0.9 < float(ran.stdout) <= 3
