"""Tests of the caffemodel reader: every encoding, and every kind of wrong file."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colorcv.errors import ModelFormatError
from colorcv.network.caffe import caffemodel
from tests.reference import caffe_writer, small


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "x.caffemodel"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("encoding", caffe_writer.ENCODINGS)
def test_all_encodings_give_the_same_blobs(tmp_path: Path, encoding: str) -> None:
    weights = small.weights()
    layers = caffemodel.read(write(tmp_path, caffe_writer.encode(weights, encoding)))
    assert layers.keys() == weights.keys()
    for name, blobs in weights.items():
        for found, blob in zip(layers[name], blobs, strict=True):
            np.testing.assert_array_equal(found.values, blob.reshape(-1))
            assert tuple(d for d in found.shape if d != 1) == tuple(d for d in blob.shape if d != 1)


@pytest.mark.parametrize("encoding", caffe_writer.ENCODINGS)
def test_blobs_are_views_into_the_mapped_file(tmp_path: Path, encoding: str) -> None:
    layers = caffemodel.read(write(tmp_path, caffe_writer.encode(small.weights(), encoding)))
    assert not any(blob.values.flags.owndata for blobs in layers.values() for blob in blobs)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_file_is_unmapped_with_the_blobs(tmp_path: Path) -> None:
    path = write(tmp_path, caffe_writer.encode(small.weights()))
    layers = caffemodel.read(path)
    assert str(path) in Path("/proc/self/maps").read_text()
    del layers
    gc.collect()
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_reads_the_bundled_model() -> None:
    folder = Path(caffemodel.__file__).parents[2] / "models" / "lite"
    layers = caffemodel.read(folder / "colorcv_lite_v3.caffemodel")
    assert layers["stem"][0].shape == (32, 1, 3, 3)
    assert layers["stem"][0].values.dtype == np.float16


def _layer(*fields: bytes) -> bytes:
    body = caffe_writer._bytes(1, b"conv") + b"".join(fields)
    return caffe_writer._bytes(100, body)


def _blob(*fields: bytes) -> bytes:
    return _layer(caffe_writer._bytes(7, b"".join(fields)))


FLOATS = caffe_writer._bytes(5, np.ones(4, "<f4").tobytes())
HALVES = caffe_writer._bytes(12, np.ones(4, "<f2").tobytes())


def _shape(*dims: int) -> bytes:
    return caffe_writer._bytes(7, caffe_writer._bytes(1, b"".join(map(caffe_writer._varint, dims))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"\n <!DOCTYPE html>\n", "an HTML page", id="html"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1", "Git LFS pointer", id="lfs"),
        pytest.param(b"PK\x03\x04", "got an archive", id="zip"),
        pytest.param(b"any old text", "not protobuf|truncated", id="text"),
        pytest.param(bytes(1000), "not protobuf: field 0", id="zeros"),
        pytest.param(b"\x0a\x03net", "no layer has blobs", id="no-layers"),
        pytest.param(
            caffe_writer._bytes(2, b"\x22\x01x"), r"V1 layers .* are not supported", id="v1"
        ),
        pytest.param(_layer(), "no layer has blobs", id="no-blobs"),
        pytest.param(_blob(FLOATS) * 2, "layer 'conv' occurs twice", id="twice"),
        pytest.param(_blob(_shape(4)), "layer 'conv', blob 0: it has no values", id="no-data"),
        pytest.param(_blob(caffe_writer._bytes(5, b"")), "shape", id="empty-data"),
        pytest.param(
            _blob(_shape(5), FLOATS), r"shape \(5,\) does not match 4 values", id="wrong-size"
        ),
        pytest.param(_blob(_shape(0, 4), FLOATS), "shape", id="zero-dim"),
        pytest.param(_blob(_shape(2**64 - 4), FLOATS), "shape", id="negative-dim"),
        pytest.param(_blob(_shape(2**32, 2**32), FLOATS), "shape", id="product-overflows"),
        pytest.param(_blob(_shape(*[1] * 65), FLOATS), "64 dimensions", id="many-dims"),
        pytest.param(
            _blob(FLOATS, caffe_writer._bytes(8, np.ones(4).tobytes())), "two formats", id="both"
        ),
        pytest.param(_blob(HALVES), "raw_data_type must be 2 .*, got None", id="raw-without-type"),
        pytest.param(
            _blob(caffe_writer._varint(80) + b"\x01", HALVES),
            "raw_data_type must be 2 .*, got 1",
            id="raw-type",
        ),
        pytest.param(
            _blob(caffe_writer._bytes(5, b"abc")), "not a whole number of float32", id="odd"
        ),
        pytest.param(_blob(caffe_writer._varint(5 << 3) + b"\x01"), "wire type 0", id="wire-type"),
        pytest.param(_blob(_shape(4), FLOATS)[:-3], "truncated", id="truncated"),
    ],
)
def test_wrong_files_are_rejected(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ModelFormatError, match=message) as caught:
        caffemodel.read(path)
    assert str(path) in str(caught.value)


def test_packed_chunks_are_joined(tmp_path: Path) -> None:
    layers = caffemodel.read(write(tmp_path, _blob(FLOATS, _shape(8), FLOATS)))
    np.testing.assert_array_equal(layers["conv"][0].values, np.ones(8))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_damaged_files_are_read_or_rejected(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(caffe_writer.encode({"a": [np.ones((2, 3), "f4")] * 2, "b": [np.ones(4)]}))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    stop = data.draw(st.integers(1, len(content)))
    try:
        layers = caffemodel.read(write(tmp_path, bytes(content[:stop])))
    except ModelFormatError:
        return
    assert all(b.values.nbytes <= stop for blobs in layers.values() for b in blobs)
