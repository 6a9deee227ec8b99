"""Malicious image files, arrays and videos: coloured or refused, never modified.

The long runs are commands: `python -m tests.fuzz.run image COUNT`, `metadata`, `video`.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import colorcv
from colorcv.cli import parser
from colorcv.errors import ImageError
from colorcv.image.decoding import decode_image
from colorcv.image.metadata import extract
from colorcv.video.api import colorize_video, preview
from tests.fuzz import videos
from tests.fuzz.images import bombs, corpus, png
from tests.fuzz.run import run_inputs

OLD_OPENCV = tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 12)


@pytest.fixture(scope="module")
def lite() -> colorcv.Colorizer:
    return colorcv.Colorizer("lite", device="cpu")


def grey(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def encoded(suffix: str, pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


RGB = Image.fromarray(grey(20, 30, 3))
ODD_FILES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "one-byte": lambda: b"\xff",
    "zeros": lambda: bytes(1000),
    "text": lambda: b"not a picture\n" * 50,
    "html": lambda: b"<!DOCTYPE html><html>404</html>",
    "1x1": lambda: encoded(".png", grey(1, 1)),
    "1xN": lambda: encoded(".png", grey(1, 999)),
    "Nx1": lambda: encoded(".png", grey(999, 1)),
    "65535-wide": lambda: encoded(".png", grey(2, 65_535)),
    "65500-high-jpeg": lambda: encoded(".jpg", grey(65_500, 1)),
    "16-bit": lambda: encoded(".png", grey(9, 9).astype(np.uint16) * 257),
    "float-tiff": lambda: encoded(".tif", np.float32(grey(9, 9)) / 255),
    "nan-tiff": lambda: encoded(".tif", np.full((9, 9), np.nan, np.float32)),
    "huge-float-tiff": lambda: encoded(".tif", np.full((9, 9), 1e30, np.float32)),
    "palette": lambda: saved(RGB.quantize(7), "PNG"),
    "palette-with-alpha": lambda: saved(RGB.quantize(7), "PNG", transparency=2),
    "two-colours": lambda: saved(RGB.convert("1"), "PNG"),
    "cmyk-jpeg": lambda: saved(RGB.convert("CMYK"), "JPEG"),
    "cmyk-tiff": lambda: saved(RGB.convert("CMYK"), "TIFF"),
    "animated-gif": lambda: saved(RGB, "GIF", save_all=True, append_images=[RGB] * 3),
    "animated-webp": lambda: saved(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(90)]),
    "pages": lambda: saved(RGB, "TIFF", save_all=True, append_images=[RGB, RGB]),
    "no-rows": lambda: png(30, 20, 8, 2, b""),
    "no-width": lambda: png(0, 20, 8, 2, b"\0" * 100),
    "odd-depth": lambda: png(30, 20, 5, 2, b"\0" * 100),
    "white-of-0": lambda: b"P5 2 2 0\n" + bytes(4),
    "white-of-65536": lambda: b"P5 2 2 65536\n" + bytes(8),
    "white-of-1": lambda: b"P5 2 2 1\n" + bytes((0, 1, 1, 255)),
    "negative-pnm": lambda: b"P5 -2 2 255\n" + bytes(4),
    "suffix-lies": lambda: encoded(".jpg", grey(9, 9, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD_FILES)
def test_unusual_files_are_coloured_or_refused(
    name: str, lite: colorcv.Colorizer, tmp_path: Path
) -> None:
    path = tmp_path / "odd.png"
    path.write_bytes(ODD_FILES[name]())
    with contextlib.suppress(ImageError):
        colored = lite.colorize(path)
        assert colored.ndim == 3
        assert colored.shape[2] in (3, 4)


@pytest.mark.parametrize("side", [65_535, 1_100_000])
@pytest.mark.parametrize("name", bombs(1))
def test_headers_that_claim_too_many_pixels(name: str, side: int) -> None:
    with pytest.raises(
        ImageError,
        match=r"limit of 250,000,000|truncated|not supported|cannot be decoded",
    ):
        decode_image(bombs(side)[name], name)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/self/status")
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    """400 million pixels in 50 kB."""
    pixels = zlib.compressobj(9)
    rows = b"".join(pixels.compress(bytes(2501 * 1000)) for _ in range(20)) + pixels.flush()
    bomb = png(20_000, 20_000, 1, 0, b"")
    at = bomb.index(b"IDAT") - 4
    chunk = b"IDAT" + rows
    bomb = bomb[:at] + struct.pack(">L", len(rows)) + chunk + struct.pack(">L", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(bomb + b"\0\0\0\0IEND\xae\x42\x60\x82")
    assert len(bomb) < 100_000
    # Not wait4's peak: it begins with what this process, its parent, has in memory.
    code = (
        "import sys\n"
        "from colorcv.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "status = open('/proc/self/status').read()\n"
        "print(status.split('VmHWM:')[1].split()[0])\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "image", "--model", "lite", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "bomb.png has 20000x20000 pixels" in done.stderr
    assert "--max-pixels" in done.stderr
    assert int(done.stdout) < 500_000  # kB; unpacked it would be 400 MB and more
    assert sorted(tmp_path.iterdir()) == [tmp_path / "bomb.png"]


def test_max_pixels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), grey(100, 100))
    options = ["image", "--model", "lite", "--device", "cpu", str(tmp_path / "a.png")]
    assert parser.main([*options, "--max-pixels", "9999"]) == 1
    assert "has 100x100 pixels, more than --max-pixels 9999" in capsys.readouterr().err
    monkeypatch.setenv("COLORCV_MAX_PIXELS", "9998")  # the command ignored it
    assert parser.main(options) == 1
    assert "has 100x100 pixels, more than --max-pixels 9998" in capsys.readouterr().err
    assert parser.main([*options, "--max-pixels", "10000"]) == 0
    monkeypatch.setenv("COLORCV_MAX_PIXELS", "1e9")
    assert parser.main(options) == 2
    assert "COLORCV_MAX_PIXELS must be a positive integer" in capsys.readouterr().err


def test_only_one_of_many_profiles_is_decompressed() -> None:
    """Each decompresses from 16 kB to 16 MB."""
    profile = b"iCCPx\0\0" + zlib.compress(bytes(1 << 24), 9)
    chunk = struct.pack(">L", len(profile) - 4) + profile + b"crc?"
    start = time.process_time()
    assert len(extract(b"\x89PNG\r\n\x1a\n" + chunk * 1000).icc) == 1 << 24
    assert time.process_time() - start < 3  # it was 30


@pytest.mark.skipif(not OLD_OPENCV, reason="this OpenCV has a JPEG 2000 that bears damage")
def test_jpeg_2000_is_not_given_to_an_opencv_that_may_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Where Pillow is installed, it reads these files.
    monkeypatch.setattr("colorcv.image.pillow.is_installed", lambda: False)
    for data in (data for data in corpus() if data[4:6] == b"jP"):
        with pytest.raises(ImageError, match=r"JPEG 2000.*install opencv-python 4\.12"):
            decode_image(data, "it")


ARRAYS: dict[str, Callable[[], Any]] = {
    "objects": lambda: np.array([[None, 1], [2, 3]], object),
    "texts": lambda: np.array([["a", "b"]]),
    "complex": lambda: np.zeros((4, 4), complex),
    "dates": lambda: np.zeros((4, 4), "M8[s]"),
    "records": lambda: np.zeros((4, 4), [("a", "u1"), ("b", "u1")]),
    "signed": lambda: np.zeros((4, 4), np.int16),
    "long-doubles": lambda: np.zeros((4, 4), np.longdouble),
    "no-dimension": lambda: np.array(3, np.uint8),
    "one-dimension": lambda: grey(9),
    "four-dimensions": lambda: grey(2, 3, 4, 3),
    "no-rows": lambda: grey(0, 5),
    "no-channels": lambda: np.zeros((5, 5, 0), np.uint8),
    "two-channels": lambda: grey(5, 5, 2),
    "nan": lambda: np.full((4, 4), np.nan, np.float32),
    "one-infinity": lambda: np.where(np.eye(5) > 0, np.inf, 0.5),
    "levels-as-floats": lambda: grey(5, 5).astype(np.float64),
    "a-list": lambda: [[1, 2], [3, 4]],
    "bytes": lambda: b"\x89PNG",
    "nothing": lambda: None,
    "a-number": lambda: 3,
    "a-null-byte": lambda: "photo\0.png",
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
def test_unusable_arrays_raise_an_image_error(name: str, lite: colorcv.Colorizer) -> None:
    with pytest.raises(ImageError):
        lite.colorize(ARRAYS[name]())


VIEWS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "upside-down": lambda a: a[::-1],
    "mirrored": lambda a: a[:, ::-1],
    "every-other": lambda a: np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2],
    "turned": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "fortran": np.asfortranarray,
    "one-row-again-and-again": lambda a: np.broadcast_to(a[:1], a.shape),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
    "windows": lambda a: np.lib.stride_tricks.sliding_window_view(a.ravel(), a.size)[0].reshape(
        a.shape
    ),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 3, 4])
@pytest.mark.parametrize("name", VIEWS)
def test_memory_layout_does_not_matter(
    name: str, channels: int | None, dtype: type, lite: colorcv.Colorizer
) -> None:
    shape = (20, 30) if channels is None else (20, 30, channels)
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    view = VIEWS[name]((grey(*shape) / 255 * white).astype(dtype))
    view.flags.writeable = False
    plain = np.array(view, view.dtype.newbyteorder("="), order="C")
    before = view.tobytes()
    colored = lite.colorize(view)
    np.testing.assert_array_equal(colored, lite.colorize(plain))
    assert view.tobytes() == before


@pytest.mark.parametrize(("name", "count"), [("image", 300), ("metadata", 1000), ("video", 60)])
def test_short_fuzzing_runs(
    name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_inputs(name, 2026, 0, count, tmp_path)
    assert [line for line in result["findings"] if not line.endswith(" s")] == []
    assert result["accepted"] > 0


@pytest.mark.parametrize("option", ["start", "end"])
@pytest.mark.parametrize("value", [-1, 1e9, 1e300, float("inf"), float("nan"), "1"])
def test_times_outside_any_video(option: str, value: Any, tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    film.write_bytes(videos.corpus()[0])
    with pytest.raises(
        colorcv.OptionError, match=rf"{option} must be a time in seconds between 0 and 1e\+08"
    ):
        colorize_video(film, colorizer=videos.FakeColorizer(), **{option: value})
    assert list(tmp_path.iterdir()) == [film]


@pytest.mark.parametrize("count", [12, 1_000_000_000])
def test_preview_of_more_images_than_frames(count: int, tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    film.write_bytes(videos.corpus()[0])
    assert len(list(preview(film, count, colorizer=videos.FakeColorizer()))) == 12
