"""EXIF, ICC and XMP: what colorcv writes Pillow reads, and the reverse."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from colorcv.image.metadata import Metadata, embed, exif_orientation, extract, for_output, tiff_tags

RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/>'
    b"<tiff:Orientation>8</tiff:Orientation><dc:title>a</dc:title></x:xmpmeta>"
)
FORMATS = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}


def exif_block(
    orientation: int | None = None, *, big: bool = True, thumbnail: bool = False
) -> bytes:
    exif = Image.Exif()
    exif.endian = ">" if big else "<"
    exif[270] = "a grandmother"
    if orientation is not None:
        exif[274] = orientation
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    if thumbnail:  # Pillow writes none: a second directory of no entries at the end
        order = "big" if big else "little"
        at = 8 + 2 + 12 * int.from_bytes(block[8:10], order)
        block = block[:at] + len(block).to_bytes(4, order) + block[at + 4 :] + bytes(6)
    return block


def a_file(suffix: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    return bytes(cv2.imencode(suffix, pixels)[1].tobytes())


def as_pillow_sees(data: bytes) -> Metadata:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
        return Metadata(
            image.info.get("exif", b"").removeprefix(b"Exif\0\0"),
            image.info.get("icc_profile") or b"",
            xmp.encode() if isinstance(xmp, str) else xmp,
        )


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(
    "metadata",
    [
        Metadata(exif_block(6), RGB_PROFILE, XMP),
        Metadata(exif=exif_block()),
        Metadata(icc=RGB_PROFILE),
        Metadata(xmp=XMP + b" "),
        Metadata(icc=RGB_PROFILE + bytes(200_000)),
        Metadata(),
    ],
    ids=["all", "exif", "icc", "xmp-of-odd-length", "large-icc", "nothing"],
)
def test_embedded_metadata_is_read_by_pillow_and_colorcv(
    suffix: str, alpha: bool, metadata: Metadata
) -> None:
    if len(metadata.icc) > 65536:  # a profile begins with its length
        icc = len(metadata.icc).to_bytes(4, "big") + metadata.icc[4:]
        metadata = Metadata(metadata.exif, icc, metadata.xmp)
    channels = 4 if alpha and suffix != ".jpg" else 3
    pixels = np.random.default_rng(0).integers(1, 256, (17, 23, channels), dtype=np.uint8)
    plain = bytes(cv2.imencode(suffix, pixels)[1].tobytes())
    data = embed(plain, metadata)
    assert as_pillow_sees(data) == metadata
    assert extract(data) == metadata
    before = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
    after = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(before, after)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("big", [True, False])
def test_metadata_written_by_pillow_is_read(suffix: str, orientation: int, big: bool) -> None:
    exif = b"Exif\0\0" + exif_block(orientation, big=big)
    file = io.BytesIO()
    image = Image.new("RGB", (9, 5))
    image.save(file, FORMATS[suffix], exif=exif, icc_profile=RGB_PROFILE, xmp=XMP)
    found = extract(file.getvalue())
    assert exif_orientation(found.exif) == orientation
    assert found == as_pillow_sees(file.getvalue())
    assert found.icc == RGB_PROFILE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("big", [True, False])
@pytest.mark.parametrize("thumbnail", [True, False])
def test_output_metadata_is_upright_without_thumbnail(
    orientation: int, big: bool, thumbnail: bool
) -> None:
    exif = exif_block(orientation, big=big, thumbnail=thumbnail)
    assert tiff_tags(exif)[1] == thumbnail
    kept = for_output(Metadata(exif, RGB_PROFILE, XMP))
    assert exif_orientation(kept.exif) == 1
    assert tiff_tags(kept.exif)[1] is False
    seen = Image.Exif()
    seen.load(kept.exif)
    assert dict(seen) == {270: "a grandmother", 274: 1}
    assert kept.icc == RGB_PROFILE
    assert b'tiff:Orientation="1"' in kept.xmp
    assert b"<tiff:Orientation>1<" in kept.xmp
    assert len(kept.xmp) == len(XMP)


def test_malformed_exif_is_ignored() -> None:
    for exif in (b"nonsense", b"II*\0", b"MM\0*\0\0\0\x08\xff\xff", b"II*\0\xff\xff\xff\xff"):
        assert exif_orientation(exif) == 1
        assert for_output(Metadata(exif)) == Metadata()
    assert exif_orientation(exif_block(9)) == 1
    zero = Image.Exif()
    zero[274] = 0
    assert exif_orientation(zero.tobytes().removeprefix(b"Exif\0\0")) == 1


def test_metadata_too_large_for_a_jpeg_is_dropped_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = embed(a_file(".jpg"), Metadata(exif=b"x" * 70_000, xmp=XMP))
    assert as_pillow_sees(data) == Metadata(xmp=XMP)
    assert "70000 bytes of metadata do not fit a JPEG" in caplog.text


@pytest.mark.parametrize("suffix", [".bmp", ".tif", ".ppm"])
def test_formats_without_metadata_give_a_warning(
    suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = a_file(suffix)
    assert embed(data, Metadata(xmp=XMP)) == data
    assert "not written" in caplog.text
    assert extract(data) == Metadata()


def test_decompressed_profiles_are_limited() -> None:
    plain = a_file(".png")
    bomb = b"ICC profile\0\0" + zlib.compress(bytes(1 << 26))
    chunk = (
        len(bomb).to_bytes(4, "big")
        + b"iCCP"
        + bomb
        + zlib.crc32(b"iCCP" + bomb).to_bytes(4, "big")
    )
    assert len(extract(plain[:33] + chunk + plain[33:]).icc) <= 1 << 24


@settings(max_examples=300, deadline=None)
@given(suffix=st.sampled_from([*FORMATS]), data=st.data())
def test_damaged_files_raise_nothing(suffix: str, data: st.DataObject) -> None:
    whole = bytearray(embed(a_file(suffix), Metadata(exif_block(6), RGB_PROFILE, XMP)))
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8)
    ):
        whole[at] = value
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    found = extract(cut)
    assert 1 <= exif_orientation(found.exif) <= 8
    assert exif_orientation(for_output(found).exif) == 1


@settings(max_examples=200, deadline=None)
@given(block=st.binary(max_size=64), start=st.sampled_from([b"", b"II*\0", b"MM\0*"]))
def test_random_exif_blocks_raise_nothing(block: bytes, start: bytes) -> None:
    assert exif_orientation(for_output(Metadata(start + block)).exif) == 1
