"""Every kind of input: arrays, paths, bytes, open files and Pillow images."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageOps

import colorcv
from colorcv.errors import ImageError
from colorcv.image.inputs import load_image
from colorcv.image.source import SourceImage

GREY = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8), (0, 0), 3)
RGB = Image.fromarray(np.dstack((GREY, GREY // 2, 255 - GREY)))
CHROMA = np.random.default_rng(1).uniform(-30, 30, (6, 8, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def lite() -> colorcv.Colorizer:
    return colorcv.Colorizer("lite", device="cpu")


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_transparency(image: Image.Image, value: object) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, transparency=value)))


def uses_alpha(seed: int = 3) -> Image.Image:
    alpha = np.random.default_rng(seed).integers(1, 256, GREY.shape, np.uint8)
    return Image.merge("RGBA", (*RGB.split(), Image.fromarray(alpha)))


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize(
    ("image", "mode"),
    [
        pytest.param(Image.fromarray(GREY), "RGB", id="L"),
        pytest.param(Image.fromarray(GREY > 128), "RGB", id="1"),
        pytest.param(RGB, "RGB", id="RGB"),
        pytest.param(uses_alpha(), "RGBA", id="RGBA"),
        pytest.param(uses_alpha().convert("LA"), "RGBA", id="LA"),
        pytest.param(uses_alpha().convert("RGBa"), "RGBA", id="RGBa"),
        pytest.param(RGB.quantize(8), "RGB", id="P"),
        pytest.param(RGB.quantize(8).convert("PA"), "RGBA", id="PA"),
        pytest.param(with_transparency(RGB.quantize(8), 2), "RGBA", id="P-transparent"),
        pytest.param(with_transparency(Image.fromarray(GREY), 100), "RGBA", id="L-transparent"),
        pytest.param(RGB.convert("CMYK"), "RGB", id="CMYK"),
        pytest.param(RGB.convert("YCbCr"), "RGB", id="YCbCr"),
        pytest.param(RGB.convert("HSV"), "RGB", id="HSV"),
    ],
)  # fmt: skip
def test_pillow_images(image: Image.Image, mode: str, order: str) -> None:
    before = image.tobytes()
    source = SourceImage(image, order=order)
    result = source.to_result(source.colored(CHROMA))
    assert isinstance(result, Image.Image)
    assert result.mode == mode
    assert result.size == image.size
    assert image.tobytes() == before
    rgba = np.asarray(image.convert("RGBA"))
    expected = SourceImage(rgba, order="rgb").colored(CHROMA)
    if mode == "RGB":
        expected = SourceImage(np.ascontiguousarray(rgba[..., :3]), order="rgb").colored(CHROMA)
    assert np.array_equal(np.asarray(result), expected)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_16_bit_pillow_images_become_8_bit_rgb(dtype: type) -> None:
    deep = GREY.astype(dtype) * 257
    source = SourceImage(Image.fromarray(deep))
    result = source.to_result(source.colored(CHROMA))
    assert result.mode == "RGB"
    reference = SourceImage(deep.astype(np.uint16), order="rgb").colored(CHROMA)
    assert np.abs(np.asarray(result) - reference / 257).max() <= 0.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pillow_images_are_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.open(io.BytesIO(encoded(RGB, exif=exif)))
    source = SourceImage(image)
    result = source.to_result(source.colored(CHROMA, saturation=0))
    upright = ImageOps.exif_transpose(image)
    assert result.size == upright.size
    expected = SourceImage(np.asarray(upright), order="rgb").colored(CHROMA, saturation=0)
    assert np.array_equal(np.asarray(result), expected)
    assert ImageOps.exif_transpose(result).size == result.size


def test_pillow_metadata_that_still_holds_is_kept() -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey_icc = icc[:16] + b"GRAY" + icc[20:]
    for profile, kept in ((icc, icc), (grey_icc, None)):
        image = Image.open(io.BytesIO(encoded(RGB, icc_profile=profile, dpi=(300, 300))))
        source = SourceImage(image)
        result = source.to_result(source.colored(CHROMA))
        assert result.info.get("icc_profile") == kept
        assert result.info["dpi"] == image.info["dpi"]


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(Image.fromarray(GREY.astype(np.float32)), id="F"),
        pytest.param(Image.fromarray(GREY.astype(np.int32) - 300), id="I-negative"),
    ],
)
def test_pillow_modes_without_a_known_range_are_refused(image: Image.Image) -> None:
    with pytest.raises(ImageError, match=r'mode (F|I) .*convert it to "L"'):
        SourceImage(image)


def test_a_damaged_pillow_image() -> None:
    image = Image.open(io.BytesIO(encoded(RGB)[:500]))
    with pytest.raises(ImageError, match="the Pillow image cannot be decoded"):
        SourceImage(image)


def test_pillow_is_not_imported_for_other_inputs() -> None:
    code = (
        "import sys, numpy, colorcv; colorcv.colorize(numpy.zeros((9, 9), 'u1'), model='lite');"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'PIL']"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_encoded_bytes_and_open_files(order: str, kind: Any, tmp_path: Path) -> None:
    data = encoded(RGB)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    expected = SourceImage(path, order=order).colored(CHROMA)
    assert np.array_equal(SourceImage(kind(data), order=order).colored(CHROMA), expected)
    with path.open("rb") as file:
        assert np.array_equal(SourceImage(file, order=order).colored(CHROMA), expected)
        assert not file.closed


def test_open_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"text")
    with path.open() as text, pytest.raises(ImageError, match=r'photo\.png: expected bytes.*"rb"'):
        load_image(text, "bgr")
    with path.open("rb") as file:
        pass
    with pytest.raises(ImageError, match=r"photo\.png: cannot be read: .*closed"):
        load_image(file, "bgr")
    with pytest.raises(ImageError, match="open file is empty"):
        load_image(io.BytesIO(), "bgr")


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3), (6, 5, 4)])
def test_boolean_arrays_are_black_and_white(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).random(shape) > 0.5
    expected = SourceImage(image.astype(np.uint8) * 255).colored(CHROMA)
    result = SourceImage(image).colored(CHROMA)
    assert result.dtype == np.uint8
    assert np.array_equal(result, expected)


@pytest.mark.parametrize(
    ("image", "says"),
    [
        pytest.param([GREY, GREY], r"got list .*colorize_batch\(images\)", id="list-of-arrays"),
        pytest.param(("a.png", "b.png"), r"got tuple .*colorize_batch", id="tuple-of-paths"),
        pytest.param([[1, 2], [3, 4]], r"got list \(pass numpy\.asarray", id="list-of-lists"),
        pytest.param(None, "got None .*cv2.imread", id="None"),
        pytest.param(object(), "got object$", id="object"),
    ],
)
def test_other_types_are_refused_with_advice(image: Any, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        load_image(image, "bgr")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_two_values_are_noticed(dtype: type) -> None:
    scan = (GREY > 128).astype(dtype)
    assert SourceImage(scan).has_two_values()
    assert SourceImage(np.dstack((scan,) * 3)).has_two_values()
    assert not SourceImage(scan * 0).has_two_values()
    if dtype != np.float32:
        scan[-1, -1] = 2
        assert not SourceImage(scan).has_two_values()
    photo = (GREY / 255).astype(dtype) if dtype == np.float32 else GREY.astype(dtype)
    assert not SourceImage(photo).has_two_values()


def test_a_1_bit_scan_is_said_once_by_name(
    lite: colorcv.Colorizer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(encoded(Image.fromarray(GREY > 128)))
    with caplog.at_level(logging.WARNING, "colorcv"):
        lite.colorize(path)
        lite.colorize(GREY)
    (record,) = caplog.records
    assert "scan.png" in record.getMessage()
    assert "halftone or line art?" in record.getMessage()


def test_frames_of_a_path_point_to_colorize_video(lite: colorcv.Colorizer) -> None:
    for source in ("film.mp4", Path("film.mp4"), b"film.mp4"):
        with pytest.raises(ImageError, match=r"'film\.mp4'.*colorcv\.colorize_video"):
            lite.frames(source)  # type: ignore[arg-type]


def test_a_batch_gives_what_single_calls_give(lite: colorcv.Colorizer, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(RGB))
    images: list[Any] = [GREY, path, RGB, encoded(RGB), GREY[:20], np.dstack((GREY,) * 3)]
    results = list(lite.colorize_batch(iter(images), order="rgb", saturation=1.5))
    assert len(results) == len(images)
    for image, result in zip(images, results, strict=True):
        single: npt.NDArray[Any] = lite.colorize(image, order="rgb", saturation=1.5)
        assert type(result) is type(single)
        assert np.array_equal(np.asarray(result), np.asarray(single))


def test_a_batch_reads_a_few_images_ahead(lite: colorcv.Colorizer) -> None:
    read = 0

    def images() -> Any:
        nonlocal read
        for _ in range(20):
            read += 1
            yield GREY

    for taken, _ in enumerate(lite.colorize_batch(images()), 1):
        assert read - taken <= 3


def test_a_batch_raises_at_the_bad_image(lite: colorcv.Colorizer) -> None:
    results = lite.colorize_batch([GREY, GREY, "missing.png", GREY])
    assert next(results).shape == (40, 60, 3)
    assert next(results).shape == (40, 60, 3)
    with pytest.raises(ImageError, match=r"missing\.png"):
        next(results)
    for single in (GREY, "photo.png"):
        with pytest.raises(ImageError, match="use colorize for one image"):
            lite.colorize_batch(single)
    with pytest.raises(colorcv.OptionError, match="saturation"):
        lite.colorize_batch([GREY], saturation=11)
