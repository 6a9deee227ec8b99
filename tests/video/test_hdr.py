"""PQ and HLG videos are as colourful as the SDR version of the same video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av")

from colorcv.video.api import colorize_video, preview  # noqa: E402
from tests.helpers.clips import contents, make_clip  # noqa: E402
from tests.helpers.films import FakeColorizer  # noqa: E402

WHITE = 203.0  # cd/m2 of SDR white (ITU-R BT.2408)
BT709, BT2020 = (0.2126, 0.0722), (0.2627, 0.0593)
# Linear RGB to XYZ, D65, from the chromaticities of BT.709 and BT.2020.
XYZ_FROM_RGB = {
    BT709: [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041]],
    BT2020: [[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017],
             [0.0, 0.0280727, 1.0609851]],
}  # fmt: skip


def srgb_light(signal: Any) -> Any:
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


def pq_light(signal: Any) -> Any:
    power = np.maximum(signal, 0) ** (1 / 78.84375)
    light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (
        1 / 0.1593017578125
    )
    return 10_000 * light / WHITE


def hlg_light(signal: Any) -> Any:
    """Return the light of an HLG signal on a display of 1000 cd/m2; RGB is the last axis."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = scene @ (0.2627, 0.6780, 0.0593)
    return 1000 * scene * luminance[..., None] ** 0.2 / WHITE


def lab_of(path: Path, bits: int, coefficients: tuple[float, float], light: Any) -> Any:
    """Return L*, a*, b* of the first frame at its chroma's size, by the standards' formulas."""
    y, u, v = (plane.astype(float) for plane in contents(path).planes[0])
    scale = 1 << (bits - 8)
    y = y.reshape(y.shape[0] // 2, 2, -1, 2).mean(axis=(1, 3))
    luma = (y / scale - 16) / 219
    cb, cr = (u / scale - 128) / 224, (v / scale - 128) / 224
    kr, kb = coefficients
    red, blue = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    rgb = light(np.clip(np.dstack([red, green, blue]), 0, 1))
    xyz = rgb @ np.array(XYZ_FROM_RGB[coefficients]).T / (0.95047, 1, 1.08883)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    fx, fy, fz = (f[..., i] for i in range(3))
    return np.dstack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


@pytest.mark.parametrize(
    ("transfer", "light"), [(16, pq_light), (18, hlg_light)], ids=["PQ", "HLG"]
)
def test_the_colours_of_the_sdr_version(tmp_path: Path, transfer: int, light: Any) -> None:
    signal = np.linspace(0.2, 0.9, 96)[None].repeat(64, axis=0)
    sdr = np.rint(64 + 876 * signal).astype("<u2")
    # Find the code with the same light as the SDR code, by searching the standard's own function.
    grey = np.linspace(0, 1, 1 << 16)
    lights = light(grey[:, None].repeat(3, axis=1))[:, 0]
    hdr = np.rint(64 + 876 * np.interp(srgb_light((sdr - 64) / 876), lights, grey)).astype("<u2")
    options: dict[str, Any] = {"codec": "ffv1", "pix_fmt": "yuv420p10le", "options": {}}
    make_clip(tmp_path / "sdr.mkv", luma=[sdr] * 2, matrix=1, color_range=1, **options)
    make_clip(
        tmp_path / "hdr.mkv", luma=[hdr] * 2, matrix=9, color_range=1, transfer=transfer,
        primaries=9, **options,
    )  # fmt: skip
    networks = FakeColorizer(), FakeColorizer()
    results = [
        colorize_video(
            tmp_path / f"{name}.mkv", tmp_path / f"{name}.out.mkv", colorizer=network, codec="ffv1"
        )
        for name, network in zip(("sdr", "hdr"), networks, strict=True)
    ]
    assert np.abs(networks[0].seen[0] - networks[1].seen[0]).max() < 0.5  # the same L*
    expected = lab_of(results[0].path, 10, BT709, srgb_light)
    found = lab_of(results[1].path, 10, BT2020, light)
    assert np.hypot(expected[..., 1], expected[..., 2]).mean() > 8
    assert np.abs(found[..., 1:] - expected[..., 1:]).mean() < 1.5
    with av.open(str(results[1].path)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_trc, context.color_primaries, context.colorspace) == (transfer, 9, 9)
    (_, shown, _), (_, shown_hdr, _) = (
        next(iter(preview(tmp_path / f"{name}.mkv", 1, colorizer=FakeColorizer())))
        for name in ("sdr", "hdr")
    )
    assert np.abs(shown.astype(int) - shown_hdr).max() <= 3  # dithered


def test_light_brighter_than_white_is_white(tmp_path: Path) -> None:
    luma = np.full((64, 96), 900, "<u2")  # 5,600 cd/m2
    make_clip(
        tmp_path / "a.mkv", luma=[luma] * 2, codec="ffv1", pix_fmt="yuv420p10le", options={},
        matrix=9, color_range=1, transfer=16, primaries=9,
    )  # fmt: skip
    network = FakeColorizer()
    result = colorize_video(
        tmp_path / "a.mkv", tmp_path / "out.mkv", colorizer=network, codec="ffv1"
    )
    assert network.seen[0].min() == pytest.approx(100, abs=0.01)
    assert np.array_equal(contents(result.path).luma[0], luma)
