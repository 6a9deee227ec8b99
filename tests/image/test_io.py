"""Image files: read upright or refused; written completely or not at all."""

from __future__ import annotations

import io
import logging
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from colorcv.errors import ImageError
from colorcv.image import io as image_io
from colorcv.image.io import decode_image, encode_image, read_image, write_image
from colorcv.image.metadata import Metadata, exif_orientation
from colorcv.image.source import SourceImage
from tests.image.test_metadata import RGB_PROFILE, XMP, exif_block

Array = npt.NDArray[Any]


def some_pixels(*shape: int, dtype: type = np.uint8) -> Array:
    values = np.random.default_rng(0).random(shape)
    if np.dtype(dtype).kind == "u":
        return np.rint(values * np.iinfo(dtype).max).astype(dtype)
    return values.astype(dtype)


def smooth(height: int = 48, width: int = 64) -> Array:
    y, x = np.mgrid[:height, :width]
    return np.dstack((x * 3, y * 4, 255 - x - y)).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def as_rgb(pixels: Array) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))


# Reading


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_orientation_agrees_with_pillow(orientation: int, form: str, mode: str) -> None:
    if (form, mode) == ("JPEG", "RGBA"):
        mode = "RGB"
    image = as_rgb(smooth()).convert(mode)
    exif = Image.Exif()
    exif[274] = orientation
    options = {"tiffinfo": exif} if form == "TIFF" else {"exif": exif.tobytes()}
    if form == "WEBP":
        options["lossless"] = True
    data = saved(image, form, **options)
    with Image.open(io.BytesIO(data)) as pillow_image:
        upright = np.asarray(ImageOps.exif_transpose(pillow_image)).astype(int)
    read = decode_image(data, "it")
    pixels = read.pixels.astype(int)
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    if upright.ndim != pixels.ndim:  # WebP has no grey
        upright = upright[..., :3] if upright.ndim == 3 else np.dstack((upright,) * 3)
    assert pixels.shape == upright.shape
    assert np.abs(pixels - upright).max() <= (3 if form == "JPEG" else 0)
    assert exif_orientation(read.metadata.exif) == 1


@pytest.mark.parametrize("name", ["exif_rotated_Landscape_6.jpg", "exif_rotated_Portrait_8.jpg"])
def test_rotated_photos(name: str, shared: Path, tmp_path: Path) -> None:
    path = shared / "photos/special" / name
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    read = read_image(path)
    assert np.abs(read.pixels[..., ::-1] - upright).mean() < 1
    write_image(tmp_path / "out.jpg", read.pixels, read.metadata)
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == upright.shape[1::-1]
        assert image.getexif().get(274, 1) == 1


def test_alpha_of_a_photo_is_kept(shared: Path, tmp_path: Path) -> None:
    path = shared / "photos/special/alpha_cutout_animal.png"
    result = SourceImage(path).colored(np.full((4, 4, 2), 20, np.float32))
    write_image(tmp_path / "out.png", result)
    with Image.open(path) as before, Image.open(tmp_path / "out.png") as after:
        assert np.array_equal(np.asarray(before)[..., 3], np.asarray(after)[..., 3])


@pytest.mark.parametrize(
    ("data", "shape", "dtype"),
    [
        pytest.param(saved(as_rgb(smooth()).convert("P"), "PNG"), (48, 64, 3), "uint8", id="P"),
        pytest.param(
            saved(as_rgb(smooth()).convert("P"), "PNG", transparency=0), (48, 64, 4), "uint8",
            id="P-transparent",
        ),
        pytest.param(saved(as_rgb(smooth()).convert("1"), "PNG"), (48, 64), "uint8", id="1-bit"),
        pytest.param(saved(as_rgb(smooth()).convert("LA"), "PNG"), (48, 64, 4), "uint8", id="LA"),
        pytest.param(
            saved(as_rgb(smooth()).convert("CMYK"), "JPEG"), (48, 64, 3), "uint8", id="CMYK-JPEG"
        ),
        pytest.param(
            saved(as_rgb(smooth()).convert("CMYK"), "TIFF"), (48, 64, 3), "uint8", id="CMYK-TIFF"
        ),
        pytest.param(
            saved(Image.fromarray(some_pixels(9, 8, dtype=np.uint16)), "PNG"), (9, 8), "uint16",
            id="16-bit-PNG",
        ),
        pytest.param(
            saved(Image.fromarray(some_pixels(9, 8, dtype=np.uint16)), "TIFF"), (9, 8), "uint16",
            id="16-bit-TIFF",
        ),
        pytest.param(
            saved(Image.fromarray(some_pixels(9, 8, dtype=np.float32)), "TIFF"), (9, 8), "float32",
            id="float-TIFF",
        ),
        pytest.param(saved(as_rgb(some_pixels(1, 1, 3)), "PNG"), (1, 1, 3), "uint8", id="1x1"),
        pytest.param(
            saved(as_rgb(some_pixels(2, 65535, 3)), "PNG"), (2, 65535, 3), "uint8", id="65535-wide"
        ),
    ],
)  # fmt: skip
def test_unusual_files_agree_with_pillow(data: bytes, shape: tuple[int, ...], dtype: str) -> None:
    pixels = decode_image(data, "it").pixels
    assert pixels.shape == shape
    assert pixels.dtype == dtype
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB") if image.mode in ("P", "CMYK", "LA") else image)
    if expected.dtype == bool:
        expected = expected * np.uint8(255)
    got = pixels[..., 2::-1] if pixels.ndim == 3 else pixels
    tolerance = 8 if data[:2] == b"\xff\xd8" else 0  # CMYK is converted differently
    assert np.abs(got.astype(float) - expected).max() <= tolerance
    assert SourceImage(pixels).colored(np.full((2, 2, 2), 9, np.float32)).dtype == dtype


@pytest.mark.parametrize("highest", [1, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [b"P5", b"P6"])
def test_declared_maximum_becomes_white(highest: int, kind: bytes) -> None:
    values = np.array([0, highest // 2, highest], ">u2" if highest > 255 else "u1")
    values = np.repeat(values, 3 if kind == b"P6" else 1)
    data = kind + b"\n# a comment 9 9\n3 1\n%d\n" % highest + values.tobytes()
    pixels = decode_image(data, "it").pixels
    full = 65535 if highest > 255 else 255
    expected = np.rint(np.array([0, highest // 2, highest]) * (full / highest))
    assert np.array_equal(pixels.reshape(3, -1)[:, 0], expected)


@pytest.mark.parametrize("depth", [8, 10, 12])
def test_white_of_an_avif(depth: int) -> None:
    if not cv2.haveImageWriter("x.avif"):
        pytest.skip("this OpenCV does not write AVIF")
    white = np.full((64, 64, 3), 2**depth - 1, np.uint8 if depth == 8 else np.uint16)
    _, data = cv2.imencode(".avif", white, [cv2.IMWRITE_AVIF_DEPTH, depth])
    pixels = decode_image(data.tobytes(), "it").pixels
    assert pixels.min() >= np.iinfo(pixels.dtype).max * 0.99


@pytest.mark.parametrize("form", ["TIFF", "PNG", "GIF", "WEBP"])
def test_of_several_images_the_first_is_used_with_a_warning(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = as_rgb(smooth()), as_rgb(255 - smooth())
    options = {"lossless": True} if form == "WEBP" else {}
    data = saved(first, form, save_all=True, append_images=[second], loop=0, **options)
    caplog.set_level(logging.WARNING, "colorcv")
    try:
        pixels = decode_image(data, "it").pixels
    except ImageError:
        assert cv2.__version__ < "4.12"  # older ones read neither GIF nor animated WebP
        assert form in ("GIF", "WEBP")
        return
    assert np.abs(pixels[..., :3].astype(int) - smooth()).mean() < (20 if form == "GIF" else 1)
    assert f"it has 2 {'page' if form == 'TIFF' else 'frame'}s; only the first" in caplog.text


def test_single_images_give_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    for form in ("TIFF", "PNG", "JPEG", "WEBP"):
        decode_image(saved(as_rgb(smooth()), form), "it")
    assert caplog.text == ""


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp", ".ppm", ".jp2"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.97])
def test_truncated_files_are_refused(suffix: str, kept: float) -> None:
    if suffix == ".jp2" and old_opencv():
        pytest.skip("JPEG 2000 is not read with so old an OpenCV")
    if not cv2.haveImageWriter("x" + suffix):
        pytest.skip("this OpenCV does not write it")
    data = encode_image(suffix, smooth(200, 300))
    assert decode_image(data, "whole").pixels.shape == (200, 300, 3)
    with pytest.raises(ImageError, match=r"cut\.file .*(truncated|damaged|cannot be decoded)"):
        decode_image(data[: max(16, int(len(data) * kept))], "cut.file")


def test_a_jpeg_that_ends_only_in_its_thumbnail_is_truncated() -> None:
    inner = saved(as_rgb(smooth(16, 16)), "JPEG")
    whole = saved(as_rgb(smooth()), "JPEG", exif=b"Exif\0\0" + exif_block() + inner)
    assert decode_image(whole, "whole").pixels.shape == (48, 64, 3)
    assert decode_image(whole + b"trailing bytes", "whole").pixels.shape == (48, 64, 3)
    with pytest.raises(ImageError, match="truncated"):
        decode_image(whole[:-200], "it")


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">L", len(content)) + name + content + struct.pack(">L", check)

    header = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def test_too_many_pixels_names_the_variable() -> None:
    with pytest.raises(ImageError, match=r"40000x40000 pixels.*COLORCV_MAX_PIXELS=1600000000"):
        decode_image(png_header(40_000, 40_000), "huge.png")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"GIF89a", "truncated", id="header-only"),
        pytest.param(b"<!DOCTYPE html><html></html>", "not an image.*<!DOCTYPE html>", id="html"),
        pytest.param(bytes(1000), "not an image", id="zeros"),
        pytest.param(png_header(0, 10), "0x10 pixels", id="no-width"),
        pytest.param(png_header(500, 500), "too few for 500x500", id="no-pixels"),
        pytest.param(b"\xff\xd8\xff", "has no end", id="jpeg-start"),
        pytest.param(b"P5 1 " + b"#  \n" * 900 + b"x", "", id="pnm-of-comments"),
        pytest.param(
            saved(as_rgb(smooth()).convert("I"), "TIFF"), "signed numbers", id="TIFF-int32"
        ),
        pytest.param(
            saved(as_rgb(smooth()).convert("F"), "TIFF"), "divide by 255", id="TIFF-float-0..255"
        ),
    ],
)
def test_files_that_are_not_images(data: bytes, says: str) -> None:
    with pytest.raises(ImageError, match=f"it.*{says}" if says != "it is empty" else says):
        decode_image(data, "it")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / ("x" * 5000))
    with pytest.raises(ImageError, match="null"):
        read_image("a\0b.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError, match=r"empty\.png is empty"):
        read_image(tmp_path / "empty.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path / "loop.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="a device or a pipe"):
        read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    "name", ["祖母.png", "Großmutter ü.png", "a b'c\"d.png", "surr\udcffogate.png"]
)
def test_unusual_file_names(name: str, tmp_path: Path) -> None:
    try:
        (tmp_path / name).touch()
    except (OSError, UnicodeError):
        pytest.skip("this file system does not take the name")
    pixels = some_pixels(5, 6, 3)
    write_image(tmp_path / name, pixels, overwrite=True)
    assert np.array_equal(read_image(str(tmp_path / name)).pixels, pixels)


# Writing

HOLDS = {
    ".png": "uint8 uint8+alpha uint16 uint16+alpha",
    ".tif": "uint8 uint8+alpha uint16 uint16+alpha float32 float32+alpha float64 float64+alpha",
    ".webp": "uint8 uint8+alpha",
    ".jpg": "uint8",
    ".bmp": "uint8",
    ".ppm": "uint8 uint16",
    ".jp2": "uint8",
    ".avif": "uint8",
}


def old_opencv() -> bool:
    """Return True if this OpenCV is too old to read JPEG 2000 safely."""
    return tuple(map(int, cv2.__version__.split(".")[:2])) < (4, 12)


SAME = {".jpeg": ".jpg", ".jpe": ".jpg", ".tiff": ".tif", ".dib": ".bmp", ".pnm": ".ppm"}
EXACT = [".png", ".tif", ".tiff", ".webp", ".bmp", ".dib", ".ppm", ".pnm", ".PNG", ".Tif"]


@pytest.mark.parametrize("suffix", [*EXACT, ".jpg", ".jpeg", ".jpe", ".JPG", ".jp2", ".avif"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
def test_formats_hold_a_dtype_or_refuse_it(
    suffix: str, channels: int, dtype: type, tmp_path: Path
) -> None:
    if not cv2.haveImageWriter(f"x{suffix.lower()}"):
        pytest.skip("this OpenCV does not write it")
    pixels = some_pixels(40, 50, channels, dtype=dtype)
    if channels == 4 and dtype == np.uint8:
        pixels[..., 3] |= 1  # WebP drops the colour of fully transparent pixels
    path = tmp_path / f"it{suffix}"
    refusal = ""
    try:
        write_image(path, pixels)
    except ImageError as err:
        refusal = str(err)
    if refusal:
        assert any(advice in refusal for advice in ("use .png", "use .tif", "convert it"))
        assert list(tmp_path.iterdir()) == []
    kind = np.dtype(dtype).name + "+alpha" * (channels == 4)
    holds = HOLDS[SAME.get(suffix.lower(), suffix.lower())].split()
    assert bool(refusal) == (kind not in holds)
    if refusal or (suffix == ".jp2" and old_opencv()):
        return
    read = read_image(path).pixels
    assert read.shape == pixels.shape
    assert read.dtype == pixels.dtype
    if suffix in EXACT:
        assert np.array_equal(read, pixels)


@pytest.mark.parametrize(
    ("suffix", "channels", "dtype", "says"),
    [
        (".jpg", 4, np.uint8, r"\.jpg does not hold alpha; use .png or .tif"),
        (".jpg", 3, np.uint16, r"\.jpg does not hold uint16; use .png or .tif"),
        (".png", 3, np.float32, r"\.png does not hold float32; use .tif or .tiff$"),
        (".tif", 3, np.float16, r"\.tif does not hold float16; convert it"),
        (".webp", 3, np.uint16, "does not hold uint16"),
        (".gif", 3, np.uint8, r"cannot write GIF; use one of \.jpg, "),
        (".pgm", 3, np.uint8, r"cannot write PGM"),
        (".txt", 3, np.uint8, r"cannot write TXT"),
        ("", 3, np.uint8, "needs a suffix"),
        (".exr", 3, np.float32, r"cannot write EXR"),
    ],
)
def test_refusals_name_another_format(suffix: str, channels: int, dtype: type, says: str) -> None:
    with pytest.raises(ImageError, match=says):
        encode_image(suffix, some_pixels(4, 4, channels, dtype=dtype))


@pytest.mark.parametrize(("suffix", "width"), [(".jpg", 65_600), (".webp", 16_400)])
def test_images_too_large_for_a_format(suffix: str, width: int) -> None:
    with pytest.raises(ImageError, match=f"{width}x1 pixels as {suffix}.*use .png"):
        encode_image(suffix, np.zeros((1, width, 3), np.uint8))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_metadata_is_carried_over(form: str, tmp_path: Path) -> None:
    exif = b"Exif\0\0" + exif_block(6)
    options: dict[str, Any] = {"exif": exif, "icc_profile": RGB_PROFILE, "xmp": XMP}
    if form == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    data = saved(as_rgb(smooth()), form, **options)
    (tmp_path / "in").write_bytes(data)
    read = read_image(tmp_path / "in")
    assert read.pixels.shape == (64, 48, 3)
    for suffix in (".jpg", ".png", ".webp"):
        path = tmp_path / f"out{suffix}"
        write_image(path, read.pixels, read.metadata)
        with Image.open(path) as image:
            assert image.size == (48, 64)
            assert dict(image.getexif()) == {270: "a grandmother", 274: 1}
            assert image.info["icc_profile"] == RGB_PROFILE
            xmp = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
            assert b"<dc:title>a</dc:title>" in xmp
            assert ImageCms.getProfileName(
                ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
            )


def test_jpeg_quality_is_95() -> None:
    with Image.open(io.BytesIO(encode_image(".jpg", smooth()))) as image:
        tables = image.quantization  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(saved(as_rgb(smooth()), "JPEG", quality=95))) as image:
        assert tables == image.quantization  # type: ignore[attr-defined]


def test_existing_outputs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    path.write_text("mine")
    for refuse in (
        lambda: write_image(path, smooth()),
        lambda: image_io.check_output_path(path, overwrite=False),
    ):
        with pytest.raises(ImageError, match=r"already exists; pass overwrite=True"):
            refuse()
    assert path.read_text() == "mine"
    write_image(path, smooth(), overwrite=True)
    assert np.array_equal(read_image(path).pixels, smooth())
    assert list(tmp_path.iterdir()) == [path]


def test_dangling_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "it.png").symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(ImageError, match="already exists"):
        write_image(tmp_path / "it.png", smooth())
    assert not (tmp_path / "elsewhere.png").exists()


def test_of_concurrent_writers_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "it.png"
    start, succeeded, failed = threading.Barrier(8), [], []

    def write(number: int) -> None:
        start.wait()
        try:
            write_image(path, np.full((30, 30, 3), number, np.uint8))
            succeeded.append(number)
        except ImageError:
            failed.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(succeeded) == 1
    assert len(failed) == 7
    assert np.all(read_image(path).pixels == succeeded[0])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("overwrite", [False, True])
def test_file_systems_without_hard_links(
    overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    path = tmp_path / "it.png"
    write_image(path, smooth(), overwrite=overwrite)
    assert np.array_equal(read_image(path).pixels, smooth())
    with pytest.raises(ImageError, match="already exists"):
        write_image(path, smooth())
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fails", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failed_writes_leave_no_file(
    fails: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "it.png"
    path.write_text("old")

    def fail(*_: Any) -> None:
        raise error

    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif fails == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(image_io, "encode_image", lambda *_, **__: memoryview(b"x" * 10))
        monkeypatch.setattr(os, "fsync", fail)
    expected = ImageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        write_image(path, smooth(), overwrite=True)
    if expected is ImageError:
        assert "No space left on device" in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_real_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = Path.open
    monkeypatch.setattr(
        Path,
        "open",
        lambda self, mode: real_open(Path("/dev/full"), "wb" if mode == "xb" else mode),
    )
    with pytest.raises(ImageError, match="No space left"):
        write_image(tmp_path / "it.png", smooth())
    assert list(tmp_path.iterdir()) == []


def test_missing_folders_and_folders_as_outputs(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be written: No such file"):
        write_image(tmp_path / "none/it.png", smooth())
    (tmp_path / "folder.png").mkdir()
    for overwrite in (False, True):
        with pytest.raises(ImageError, match="is a folder"):
            write_image(tmp_path / "folder.png", smooth(), overwrite=overwrite)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_image(tmp_path / "it.png", smooth())
    finally:
        os.umask(before)
    assert (tmp_path / "it.png").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("before", [(6, 5), (6, 5, 1), (6, 5, 3)])
def test_side_by_side(before: tuple[int, ...]) -> None:
    left, right = some_pixels(*before), some_pixels(6, 5, 3)
    both = image_io.side_by_side(left, right)
    assert both.shape == (6, 10, 3)
    assert np.array_equal(both[:, 5:], right)
    assert np.array_equal(both[:, :5, 0], left.reshape(6, 5, -1)[..., 0])


def test_big_endian_pixels(tmp_path: Path) -> None:
    pixels = some_pixels(5, 6, 3, dtype=np.uint16)
    write_image(tmp_path / "it.png", pixels.astype(">u2"))
    assert np.array_equal(read_image(tmp_path / "it.png").pixels, pixels)


def test_encode_and_decode_bytes() -> None:
    read = decode_image(encode_image(".png", smooth(), Metadata(icc=RGB_PROFILE)), "a pipe")
    assert np.array_equal(read.pixels, smooth())
    assert read.metadata.icc == RGB_PROFILE
