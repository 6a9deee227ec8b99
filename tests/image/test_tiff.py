"""TIFF pages and the Software tag, against Pillow and OpenCV as independent readers and writers."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from colorcv.errors import ImageError
from colorcv.image import io as image_io
from colorcv.image.pages import write_pages
from colorcv.image.tiff import (
    count_pages,
    join_pages,
    read_software,
    set_software,
    split_pages,
)

SIZES = [(1, 1), (40, 30), (200, 30), (300, 500)]


def images(dtype: str = "uint8") -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    highest = np.iinfo(dtype).max
    return [rng.integers(0, highest, (*size, 3), dtype, endpoint=True) for size in SIZES]


def encode(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".tif", pixels, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()


def pillow_tiff(mode: str = "L", count: int = 3, **options: object) -> bytes:
    rng = np.random.default_rng(1)
    pages = [
        Image.fromarray(rng.integers(0, 256, (20 + n, 30), np.uint8)).convert(mode)
        for n in range(count)
    ]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:], **options)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_joined_pages_are_read_by_opencv(dtype: str) -> None:
    pages = images(dtype)
    data = join_pages([encode(page) for page in pages])
    is_read, found = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert is_read
    assert count_pages(data) == len(found) == len(pages)
    for page, expected in zip(found, pages, strict=True):
        np.testing.assert_array_equal(page, expected)


def test_joined_pages_are_read_by_pillow() -> None:
    pages = images()
    file = Image.open(io.BytesIO(join_pages([encode(page) for page in pages])))
    assert file.n_frames == len(pages)
    for index, expected in enumerate(pages):
        file.seek(index)
        np.testing.assert_array_equal(np.asarray(file)[..., ::-1], expected)


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("L", {}),
        ("L", {"compression": "tiff_lzw"}),
        ("RGB", {"compression": "tiff_adobe_deflate"}),
        ("1", {"compression": "group4"}),
        ("L", {"big_endian": True}),
    ],
)
def test_split_pages_are_what_pillow_reads(mode: str, options: dict[str, object]) -> None:
    is_big_endian = options.get("big_endian")
    data = big_endian_tiff() if is_big_endian else pillow_tiff(mode, **options)
    file = Image.open(io.BytesIO(data))
    pages = list(split_pages(data))
    assert count_pages(data) == len(pages) == file.n_frames
    for index, page in enumerate(pages):
        file.seek(index)
        expected = np.asarray(file.convert("RGB"))[..., ::-1]
        assert count_pages(page) == 1
        found = cv2.imdecode(np.frombuffer(page, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(found, expected)


def big_endian_tiff() -> bytes:
    """Return two uncompressed grey pages, written by hand."""
    data = b"MM\0*" + struct.pack(">L", 8)
    for number in (1, 2):
        size, pixels = 8 * number, bytes(range(64 * number))
        start = len(data)
        values = [(256, 3, size << 16), (257, 3, 8 << 16), (258, 3, 8 << 16), (259, 3, 1 << 16),
                  (262, 3, 1 << 16), (273, 4, start + 114), (277, 3, 1 << 16), (278, 3, 8 << 16),
                  (279, 4, len(pixels))]  # fmt: skip
        data += struct.pack(">H", 9)
        data += b"".join(struct.pack(">HHLL", tag, kind, 1, value) for tag, kind, value in values)
        end = start + 114 + len(pixels)
        data += struct.pack(">L", end if number == 1 else 0) + pixels
    return data


def test_pages_that_go_in_circles_end() -> None:
    data = bytearray(pillow_tiff(count=2))
    (start,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    struct.pack_into("<L", data, start + 2 + 12 * count, start)
    assert count_pages(bytes(data)) == 1


@pytest.mark.parametrize("length", range(0, 300, 7))
def test_cut_files_have_fewer_pages(length: int) -> None:
    data = pillow_tiff()
    assert count_pages(data[:length]) <= 3
    read_software(data[:length])
    set_software(data[:length], "colorcv")


def test_a_thumbnail_is_not_a_page() -> None:
    rng = np.random.default_rng(0)
    page = Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8))
    small = page.resize((6, 4))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    stream = io.BytesIO()
    page.save(stream, "TIFF", save_all=True, append_images=[small])
    assert Image.open(io.BytesIO(stream.getvalue())).n_frames == 2
    assert count_pages(stream.getvalue()) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_software_is_read_by_pillow_and_by_us(suffix: str, tmp_path: Path) -> None:
    pixels = images()[1]
    image_io.write_image(tmp_path / f"x{suffix}", pixels, software="colorcv 1.2.3")
    with Image.open(tmp_path / f"x{suffix}") as file:
        assert file.getexif()[305] == "colorcv 1.2.3"
    found = image_io.read_image(tmp_path / f"x{suffix}")
    assert found.software == "colorcv 1.2.3"
    if suffix != ".jpg":
        np.testing.assert_array_equal(found.pixels, pixels)


def test_software_leaves_other_exif_as_it_is() -> None:
    exif = Image.Exif()
    exif[305], exif[270], exif[306] = "Camera 1.0", "A lake with a long name", "2001:01:01 00:00:00"
    exif.get_ifd(34665)[36867] = "1999:12:31 23:59:59"
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    assert read_software(block) == "Camera 1.0"
    for software in ("name", "colorcv 0.1.0", "colorcv 10.10.100"):
        block = set_software(block, software)
        found = Image.Exif()
        found.load(b"Exif\0\0" + block)
        assert found[305] == software == read_software(block)
        assert found[270] == "A lake with a long name"
        assert found[306] == "2001:01:01 00:00:00"
        assert found.get_ifd(34665)[36867] == "1999:12:31 23:59:59"


@pytest.mark.parametrize("block", [b"XX", b"II*\0", b"II*\0\xff\0\0\0", b"II*\0\x08\0\0\0\xff\xff"])
def test_malformed_exif_is_left_as_it_is(block: bytes) -> None:
    assert set_software(block, "colorcv") == block
    assert read_software(block) == ""


def test_exif_at_the_limit_of_jpeg_is_kept_without_the_tag(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[270] = "x" * 65_400
    photo = Image.fromarray(images()[1])
    photo.save(tmp_path / "a.jpg", exif=exif)
    found = image_io.read_image(tmp_path / "a.jpg")
    assert len(found.metadata.exif) > 65_400
    image_io.write_image(tmp_path / "b.jpg", found.pixels, found.metadata, software="colorcv" * 20)
    with Image.open(tmp_path / "b.jpg") as file:
        assert file.getexif()[270] == "x" * 65_400


def test_write_pages_needs_tiff(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"expected \.tif or \.tiff"):
        write_pages(tmp_path / "x.png", images())
