"""Structure and size of image files, checked before OpenCV decodes them."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, features

from colorcv.errors import ImageError, OptionError
from colorcv.image import tiff_layout
from colorcv.image.decoding import decode_image
from colorcv.image.inspection import inspect
from colorcv.image.limits import MAX_PIXELS, TooManyPixelsError
from tests.fuzz.images import bombs, corpus, png

RGB = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def claiming_png(claimed: int) -> bytes:
    """Return an 8 x 8 PNG whose IDAT chunk claims more bytes than there are."""
    data = png(8, 8, 8, 0, bytes(72))
    pos = data.index(b"IDAT") - 4
    return data[:pos] + struct.pack(">L", claimed) + data[pos + 4 :]


@pytest.mark.parametrize("data", corpus(), ids=lambda data: repr(data[:12]))
def test_sizes_of_the_corpus_are_those_of_opencv(data: bytes) -> None:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or data.startswith((b"#?RADIANCE", b"PF")):
        pytest.skip("not read by this OpenCV, or not supported")
    height, width = pixels.shape[:2]
    assert inspect(data, "it").size_wh in ((width, height), (height, width))


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 1 << 20, 100])
def test_a_chunk_longer_than_the_file(claimed: int) -> None:
    with pytest.raises(ImageError, match=rf"it\.png is truncated .*IDAT.* claims {claimed} bytes"):
        decode_image(claiming_png(claimed), "it.png")


def test_a_second_header() -> None:
    """OpenCV 4.14 took the size from it: 145 bytes took 358 MB."""
    data = png(9, 7, 8, 0, bytes(70))
    second = png(9, 8_388_615, 8, 0, b"")[8:33]
    pos = data.index(b"IDAT") - 4
    with pytest.raises(ImageError, match=r"it\.png is .*second IHDR, at byte 33"):
        decode_image(data[:pos] + second + data[pos:], "it.png")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/self/status")
def test_refusing_takes_little_memory(tmp_path: Path) -> None:
    """61 bytes took 4.4 GB and 20 s."""
    webp = saved(RGB, "WEBP")
    cut = bytearray(saved(RGB, "TIFF"))
    cut[-2000:] = b""
    files = {
        "chunk.png": claiming_png(0xFFFFFFF0),
        "few.png": png(15_000, 16_000, 8, 2, bytes(100)),
        "riff.webp": webp[:4] + struct.pack("<L", 1 << 31) + webp[8:],
        "sof.jpg": b"\xff\xd8\xff\xc2\0\x11\x08\x3a\x98\x3a\x98\3\1\x22\0\2\x11\1\3\x11\1"
        b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0\0\xff\xd9",
        "cut.tif": bytes(cut),
        "high.bmp": b"BM" + struct.pack("<LLLLllHHLLllLL", 60, 0, 54, 40, 15_000, 15_000, 1, 24,
                                        0, 0, 0, 0, 0, 0),
        # 29 bytes took 1.9 GB and 4 s.
        "screen.gif": bombs(15_811)["gif"],
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from colorcv.errors import ImageError\n"
        "from colorcv.image.io import read_image\n"
        "def peak():\n"
        "    status = Path('/proc/self/status').read_text()\n"
        "    return int(status.split('VmHWM:')[1].split()[0])\n"
        "before = peak()\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        read_image(path)\n"
        "        sys.exit(f'{path.name} was read')\n"
        "    except ImageError as err:\n"
        "        assert path.name in str(err), err\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 50_000  # kB


@pytest.mark.parametrize("junk", [b"junk", b"\0" * 50, b"\xff\0\xff", b"\xff" * 9])
def test_junk_between_jpeg_segments(junk: bytes) -> None:
    """Libjpeg passes over it; the size was not found."""
    data = saved(RGB, "JPEG")
    expected = decode_image(data, "it").pixels
    for start in (2, data.index(b"\xff\xdb"), data.index(b"\xff\xc0")):
        damaged = data[:start] + junk + data[start:]
        if start == 2 and junk[0] != 0xFF:
            continue  # not the first bytes of a JPEG
        assert np.array_equal(decode_image(damaged, "it").pixels, expected)


def test_gif_of_the_best_compression() -> None:
    """LZW reaches 2,700 pixels a byte; a small image may lie on a large screen."""
    plain = np.zeros((3000, 4000), np.uint8)
    data = saved(Image.fromarray(plain), "GIF")
    assert len(data) < plain.size / 500
    assert inspect(data, "it").size_wh == (4000, 3000)
    dot = bytearray(saved(Image.fromarray(plain[:1, :1]), "GIF"))
    dot[6:10] = struct.pack("<HH", 1000, 900)
    assert inspect(bytes(dot), "it").size_wh == (1000, 900)
    dot[6:10] = struct.pack("<HH", 2000, 900)
    with pytest.raises(ImageError, match=r"it is truncated .* bytes of pixels are too few for"):
        inspect(bytes(dot), "it")


def tiff(tags: dict[int, Any], pixels: bytes) -> bytes:
    """Return an 8-bit grey TIFF of 8 x 8 pixels; some tags (type, value) are changed or absent."""
    start = 8 + 2 + 12 * 8 + 4
    known = {256: (4, 8), 257: (4, 8), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, start),
             278: (4, 8), 279: (4, len(pixels))} | tags  # fmt: skip
    known = {tag: entry for tag, entry in known.items() if entry}
    entries = b"".join(struct.pack("<HHLL", tag, kind, 1, value)
                       for tag, (kind, value) in sorted(known.items()))  # fmt: skip
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(known)) + entries + bytes(4) + pixels


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        # OpenCV returned black images.
        pytest.param({259: (3, 0)}, "compression 0, which TIFF does not define", id="codec-0"),
        pytest.param({259: (3, 9)}, "compression 9, which TIFF does not define", id="codec-9"),
        # Each took more than a gigabyte.
        pytest.param({256: (4, 15_000), 257: (4, 15_000)}, "225000000 bytes of pix", id="raw"),
        pytest.param({259: (3, 5), 256: (4, 15_000), 257: (4, 15_000)}, "225000000", id="lzw"),
        pytest.param({259: (3, 8), 256: (4, 15_000), 257: (4, 15_000)}, "225000000", id="deflate"),
        pytest.param({259: (3, 7), 256: (4, 15_000), 257: (4, 15_000)}, "225000000", id="jpeg"),
        pytest.param({259: (3, 32773), 256: (4, 9000), 257: (4, 9000)}, "81000000", id="packbits"),
        pytest.param({258: (3, 1), 259: (3, 4), 257: (4, 200_000)}, "200000 rows", id="group4"),
    ],
)  # fmt: skip
def test_tiff_of_too_few_bytes(tags: dict[int, tuple[int, int]], says: str) -> None:
    grey = bytes(range(64))
    assert np.array_equal(decode_image(tiff({}, grey), "it").pixels.ravel(), list(grey))
    with pytest.raises(ImageError, match=f"it is truncated or damaged: {says}"):
        decode_image(tiff(tags, grey), "it")


def test_big_tiff_at_impossible_offsets() -> None:
    """An OverflowError of Python was raised."""
    for offset in (1 << 63, (1 << 64) - 1):
        with pytest.raises(ImageError, match="this TIFF has no readable page"):
            decode_image(b"II+\0\x08\0\0\0" + struct.pack("<Q", offset) + bytes(99), "it")


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_damaged_deflate_in_a_tiff(mode: str) -> None:
    """OpenCV returned strips that were black or held the pixels of another one."""
    noise = np.random.default_rng(1).integers(0, 256, (300, 200, 3), np.uint8)
    image = Image.fromarray(noise).convert(mode)
    data = saved(image, "TIFF", compression="tiff_adobe_deflate", tiffinfo={278: 64})
    page = tiff_layout.pages(data)[0]
    assert decode_image(data, "it").pixels.shape[:2] == (300, 200)
    offsets, sizes = (page.tags[tag] for tag in page.blocks)
    assert len(offsets) > 1
    for number in (1, len(offsets)):
        damaged = bytearray(data)
        damaged[offsets[number - 1] + sizes[number - 1] // 2] ^= 0x41
        says = rf"it is truncated or damaged: strip or tile {number} of {len(offsets)} is damaged"
        with pytest.raises(ImageError, match=says):
            decode_image(bytes(damaged), "it")
    short = bytearray(data)
    empty = zlib.compress(b"")
    short[offsets[-1] : offsets[-1] + len(empty)] = empty
    with pytest.raises(ImageError, match=r"its strips or tiles hold \d+ of \d+ bytes of pixels"):
        decode_image(bytes(short), "it")


def test_damaged_deflate_in_a_tile() -> None:
    """A tile of 16 x 16 pixels holds an image of 10 x 10."""
    stream = zlib.compress(np.random.default_rng(0).bytes(256))
    start = 8 + 2 + 12 * 9 + 4
    tags = {256: (4, 10), 257: (4, 10), 259: (3, 8), 322: (4, 16), 323: (4, 16), 324: (4, start),
            325: (4, len(stream))}  # fmt: skip
    without = {273: None, 278: None, 279: None}
    assert decode_image(tiff(tags | without, stream), "it").pixels.shape == (10, 10)
    wrong = bytearray(stream)
    wrong[200] ^= 0x41
    with pytest.raises(ImageError, match="strip or tile 1 of 1 is damaged"):
        decode_image(tiff(tags | without, bytes(wrong)), "it")
    half = zlib.compress(bytes(128)).ljust(len(stream), b"\0")
    with pytest.raises(ImageError, match="its strips or tiles hold 128 of 256 bytes"):
        decode_image(tiff(tags | without, half), "it")


@pytest.mark.parametrize("side", [1000, 5000])
@pytest.mark.parametrize(
    "compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg"]
)
def test_tiff_of_the_best_compression(side: int, compression: str) -> None:
    plain = Image.fromarray(np.zeros((side, side), np.uint8))
    if compression == "group4":
        plain = plain.convert("1")
    data = saved(plain, "TIFF", compression=compression)
    assert inspect(data, "it").size_wh == (side, side)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 9999999 +X 9999999\n\2",
                     "is Radiance HDR, which is not supported; convert", id="hdr"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
                     r'is HEIC.*pip install "colorcv\[heif\]".*magick', id="heic"),
        pytest.param(b"8BPS\0\1" + bytes(90), r'is Photoshop.*pip install "colorcv\[color\]"',
                     id="psd"),
        pytest.param(b"%!PS-Adobe-3.0", "is PostScript", id="eps"),
        pytest.param(b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", "MP4 or similar", id="mp4"),
        pytest.param(b"v/1\x01" + bytes(90), "is OpenEXR", id="exr"),
        pytest.param(b"%PDF-1.7", "is PDF", id="pdf"),
        pytest.param(b"<!DOCTYPE html>", "not an image file.*DOCTYPE", id="html"),
    ],
)  # fmt: skip
def test_formats_that_never_reach_opencv(
    data: bytes, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(cv2, "imdecode", fail)
    for optional in ("pillow", "heif"):
        monkeypatch.setattr(f"colorcv.image.{optional}.is_installed", lambda: False)
    with pytest.raises(ImageError, match=f"it.bin .*{says}"):
        decode_image(data, "it.bin")


def test_one_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(RGB, "PNG")
    assert decode_image(data, "it", max_pixels=1200).pixels.shape == (30, 40, 3)
    with pytest.raises(TooManyPixelsError) as caught:
        decode_image(data, "it", max_pixels=1199)
    assert (caught.value.width, caught.value.height, caught.value.limit) == (40, 30, 1199)
    monkeypatch.setenv("COLORCV_MAX_PIXELS", "1199")
    with pytest.raises(ImageError, match=r"more than the limit of 1,199.*COLORCV_MAX_PIXELS=1200"):
        decode_image(data, "it")
    monkeypatch.setenv("COLORCV_MAX_PIXELS", "1200")
    decode_image(data, "it")
    for value in ("many", "0", "-5"):
        monkeypatch.setenv("COLORCV_MAX_PIXELS", value)
        with pytest.raises(OptionError, match=f"COLORCV_MAX_PIXELS must be .* got '{value}'"):
            decode_image(data, "it")
    assert MAX_PIXELS == 250_000_000


def test_inspection_is_linear_in_time() -> None:
    """A chunk of no content takes 12 bytes, a GIF block 2."""
    chunk = b"\0\0\0\0tEXt" + struct.pack(">L", zlib.crc32(b"tEXt"))
    whole = png(8, 8, 8, 0, bytes(72))
    many_chunks = whole[:33] + chunk * 90_000 + whole[33:]
    gif = saved(RGB, "GIF")
    many_blocks = gif[:-1] + b"\x21\xfe" + b"\1x" * 500_000 + b"\0;"
    start = time.process_time()
    assert inspect(many_chunks, "it").size_wh == (8, 8)
    assert inspect(many_blocks, "it").size_wh == (40, 30)
    assert time.process_time() - start < 2


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not write AVIF")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_is_turned_upright(orientation: int) -> None:
    if not cv2.haveImageReader("x.avif") and not cv2.haveImageWriter("x.avif"):
        pytest.skip("this OpenCV does not read AVIF")
    y, x = np.mgrid[:48, :64]
    image = Image.fromarray(np.dstack((x * 3, y * 4, 255 - x - y)).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = orientation
    data = saved(image, "AVIF", exif=exif, quality=95)
    from PIL import ImageOps

    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    pixels = decode_image(data, "it").pixels[..., ::-1]
    assert pixels.shape == upright.shape
    assert np.abs(pixels.astype(int) - upright).mean() < 4


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow does not write AVIF")
def test_frames_of_an_avif_are_counted() -> None:
    assert inspect(saved(RGB, "AVIF"), "it").images == 1
    frames = [RGB.rotate(angle) for angle in (90, 180)]
    assert inspect(saved(RGB, "AVIF", save_all=True, append_images=frames), "it").images == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_xmp_orientation_of_a_png(orientation: int) -> None:
    from PIL import ImageOps
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    xmp = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'
    info.add_itxt("XML:com.adobe.xmp", xmp)
    data = saved(RGB, "PNG", pnginfo=info)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    read = decode_image(data, "it")
    assert np.array_equal(read.pixels[..., ::-1], upright)
    assert b'tiff:Orientation="1"' in read.metadata.xmp


def test_avif_is_written_at_quality_95() -> None:
    if not cv2.haveImageWriter("x.avif"):
        pytest.skip("this OpenCV does not write AVIF")
    from colorcv.image.io import encode_image

    pixels = cv2.GaussianBlur(np.asarray(RGB.resize((200, 150))), (0, 0), 1)
    written = decode_image(encode_image(".avif", pixels), "it").pixels
    default = cv2.imdecode(cv2.imencode(".avif", pixels)[1], cv2.IMREAD_UNCHANGED)
    assert default is not None
    error, default_error = (
        np.percentile(np.abs(image.mean(axis=2) - pixels.mean(axis=2)), 99)
        for image in (written, default)
    )
    assert error < default_error / 2


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_grey_of_a_png(depth: int) -> None:
    values = (np.arange(8) % (1 << depth)).astype(np.uint16)
    if depth == 16:
        values = values * 8000
    bits = "".join(f"{value:0{depth}b}" for value in values)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    data = png(8, 1, depth, 0, row)
    pos = data.index(b"IDAT") - 4
    chunk = b"tRNS" + struct.pack(">H", values[1])
    trns = struct.pack(">L", 2) + chunk + struct.pack(">L", zlib.crc32(chunk))
    pixels = decode_image(data[:pos] + trns + data[pos:], "it").pixels
    full = np.iinfo(pixels.dtype).max
    assert pixels.shape == (1, 8, 4)
    assert np.array_equal(pixels[0, :, 3], np.where(values == values[1], 0, full))
    expected = np.rint(values * (full / ((1 << depth) - 1)))
    assert np.array_equal(pixels[0, :, 0], expected)
