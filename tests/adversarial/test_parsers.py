"""Malicious model files: rejected in little time and memory, and none crashes OpenCV.

For longer runs: `python -m tests.fuzz.run TARGET COUNT`.
"""

from __future__ import annotations

import contextlib
import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colorcv import network
from colorcv.errors import ModelFormatError
from colorcv.network.caffe import caffemodel, prototxt
from tests.fuzz.messages import varint
from tests.fuzz.run import run_input, run_inputs
from tests.fuzz.seeds import TINY, tiny_weights
from tests.fuzz.targets import TARGETS
from tests.reference import small

HOSTILE = Path(__file__).parents[1] / "data" / "hostile"


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def layer(blob: bytes) -> bytes:
    return field(100, field(1, b"conv") + field(7, blob))


ONE_SHAPE = field(7, field(1, b"\1" * 64))
MEGA = 1 << 20
BOMBS: dict[str, tuple[Callable[[Path], Any], bytes]] = {
    # Each of these took seconds or hundreds of megabytes, or did not end.
    "runs-of-one": (caffemodel.read, layer((b"\x2d0000" + b"\x350000") * 100_000)),
    "runs-of-none-asked": (caffemodel.read, layer((b"\x35aaaa" + b"\x3daaaa") * 100_000)),
    "many-pieces": (caffemodel.read, layer(field(5, b"0000") * 200_000)),
    "many-shapes": (caffemodel.read, layer(ONE_SHAPE * 100_000)),
    "a-shape-in-many-pieces": (caffemodel.read, layer(field(7, field(1, b"\1" * 64) * 100_000))),
    "many-fields": (caffemodel.read, b"\x08\x01" * MEGA),
    "many-blobs": (caffemodel.read, field(100, field(7, field(5, b"0000")) * 200_000)),
    "many-layers": (
        caffemodel.read,
        b"".join(
            field(100, field(1, b"%d" % i) + field(7, field(5, b"0000"))) for i in range(50_000)
        ),
    ),
    "names-of-a-kilobyte": (
        caffemodel.read,
        b"".join(field(100, field(1, b"%01000d" % i) + field(7, b"")) for i in range(20_000)),
    ),
    "a-long-name-in-a-list": (
        prototxt.read,
        b"a" * 100_000 + b": [" + b"{}," * 50_000 + b"{}]",
    ),
    "messages": (prototxt.read, b"a{}" * (prototxt.MAX_BYTES // 3)),
    "messages-with-names": (prototxt.read, b"a{b:1}" * (prototxt.MAX_BYTES // 6)),
    "other-names": (prototxt.read, b" ".join(b"a%x:1" % i for i in range(28_000))),
    "comments": (prototxt.read, b"#\n" * (prototxt.MAX_BYTES // 2)),
    "spaces": (prototxt.read, b" \n" * (prototxt.MAX_BYTES // 2)),
    "a-long-text": (prototxt.read, b'a: "' + b"x" * (prototxt.MAX_BYTES - 5) + b'"'),
    "an-endless-text": (prototxt.read, b'a: "' + b"x" * (prototxt.MAX_BYTES - 5)),
    "escapes": (prototxt.read, b'a: "' + b"\\n" * (prototxt.MAX_BYTES // 2 - 3) + b'"'),
    "texts": (prototxt.read, b"a: " + b'""' * (prototxt.MAX_BYTES // 2 - 3)),
    "digits": (prototxt.read, b"a: " + b"9" * (prototxt.MAX_BYTES - 3)),
    "a-mebibyte": (prototxt.read, b"a: 1 " * (MEGA // 5)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_take_little_time_and_memory(name: str, tmp_path: Path) -> None:
    read, data = BOMBS[name]
    path = tmp_path / "bomb"
    path.write_bytes(data)
    tracemalloc.start()
    start = time.process_time()
    try:
        with contextlib.suppress(ModelFormatError):
            read(path)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    # One second is promised; the limit allows for tracing and a busy machine.
    assert time.process_time() - start < 5
    assert peak < 64e6 + len(data)


def load(folder: Path, text: str, blobs: small.Weights | None = None) -> network.Network:
    return network.load(*small.write(folder, prototxt=text, blobs=blobs), device="cpu")


def chain(count: int, settings: str) -> tuple[str, small.Weights]:
    """Return the tiny network behind `count` 3x3 layers of one channel."""
    rows = "".join(
        f'layer {{ name: "g{i}" type: "Convolution" bottom: "g{i - 1}" top: "g{i}"\n'
        f"convolution_param {{ num_output: 1 kernel_size: 3 bias_term: false {settings} }} }}\n"
        for i in range(1, count + 1)
    ).replace('"g0"', '"data_l"')
    text = TINY.replace("dim: 8 dim: 12", "dim: 64 dim: 64")
    text = text.replace('bottom: "data_l" top: "conv1"', f'bottom: "g{count}" top: "conv1"')
    kernels = {f"g{i}": [np.full((1, 1, 3, 3), 1 / 9, np.float32)] for i in range(1, count + 1)}
    text = text.replace('layer { name: "conv1"', rows + 'layer { name: "conv1"', 1)
    return text, {**tiny_weights(), **kernels}


@pytest.mark.parametrize(
    ("count", "settings"),
    [(300, "pad: 64 dilation: 64"), (300, "pad: 4 dilation: 4"), (900, "pad: 1")],
)
def test_small_files_give_small_graphs(count: int, settings: str, tmp_path: Path) -> None:
    """48 kB of dilated layers gave 40,000 nodes, which OpenCV took minutes to read."""
    start = time.process_time()
    net = load(tmp_path, *chain(count, settings))
    assert net.predict_ab(np.full((64, 64), 50, np.float32)).shape == (64, 64, 2)
    assert time.process_time() - start < 15  # usually one or two


def test_too_many_operations(tmp_path: Path) -> None:
    text, weights = chain(1, "pad: 1")
    bottoms = 'bottom: "data_l" ' * 8
    sums = "".join(f'layer {{ name: "e{i}" type: "Eltwise" {bottoms} top: "e{i}" }}\n'
                   for i in range(200))  # fmt: skip
    text = text.replace('layer { name: "g1"', sums + 'layer { name: "g1"', 1)
    with pytest.raises(ModelFormatError, match="more than 1000 operations"):
        load(tmp_path, text, weights)


def test_absurdly_large_weights_are_an_error(tmp_path: Path) -> None:
    """OpenCV 5 turns the resulting NaN into the largest float, which is not a colour either."""
    blobs = small.weights()
    signs = np.array([1, -1, 1, -1, 1], np.float32).reshape(1, 5, 1, 1)
    blobs["conv8_313"][0] = np.full((313, 5, 1, 1), 3e38, np.float32) * signs
    net = load(tmp_path, small.PROTOTXT, blobs)
    with pytest.raises(ModelFormatError, match="not a colour"):
        net.predict_ab(np.tile(np.linspace(0, 100, 24, dtype=np.float32), (16, 1)))


@pytest.mark.parametrize("path", sorted(HOSTILE.glob("*-*")), ids=lambda path: path.name)
def test_past_findings(path: Path, tmp_path: Path) -> None:
    name = path.name.partition("-")[0]
    copy = tmp_path / "input"
    copy.write_bytes(path.read_bytes())
    _, problem, _ = run_input(TARGETS[name], copy)
    assert not problem or problem[0].isdigit(), problem  # time and memory are checked by long runs


@pytest.mark.parametrize(
    ("name", "count"),
    [("caffemodel", 1000), ("prototxt", 1000), ("centers", 300), ("network", 250)],
)
def test_short_fuzz_run(
    name: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_inputs(name, 2026, 0, count, tmp_path)
    slow = [line for line in result["findings"] if re.search(r": [\d.]+ s$", line)]
    assert result["findings"] == slow
    assert 0 < result["accepted"] < count
