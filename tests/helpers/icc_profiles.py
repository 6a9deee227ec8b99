"""Small ICC profiles of every kind that photos carry, made here."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import product

import numpy as np

__all__ = [
    "ADOBE_RGB",
    "DISPLAY_P3",
    "DOT_GAIN",
    "GREY_GAMMA",
    "PROPHOTO",
    "cmyk",
    "gamma_curve",
    "grey",
    "rgb",
    "rgb_table",
    "table_curve",
]


def _fixed(numbers: Sequence[float]) -> bytes:
    return struct.pack(f">{len(numbers)}l", *(round(number * 65536) for number in numbers))


def _profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    directory, body = struct.pack(">L", len(tags)), b""
    for name, content in tags.items():
        start = 132 + 12 * len(tags) + len(body)
        directory += struct.pack(">4sLL", name, start, len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(
        ">L4sL4s4s4s12s4s28x", 128 + len(directory + body), b"", 0x02400000, kind, space, pcs,
        b"", b"acsp",
    )  # fmt: skip
    return header + _fixed((0.9642, 1, 0.82491)) + bytes(48) + directory + body


def _common() -> dict[bytes, bytes]:
    text = b"made for a test\0"
    description = b"desc" + bytes(4) + struct.pack(">L", len(text)) + text + bytes(78)
    return {
        b"desc": description,
        b"cprt": b"text" + bytes(4) + text,
        b"wtpt": b"XYZ " + bytes(4) + _fixed((0.9642, 1, 0.82491)),
    }


def gamma_curve(exponent: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">LH", 1, round(exponent * 256))


def table_curve(values: Sequence[float]) -> bytes:
    numbers = [round(65535 * value) for value in values]
    return b"curv" + bytes(4) + struct.pack(f">L{len(numbers)}H", len(numbers), *numbers)


def parametric_curve(kind: int, *numbers: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + _fixed(numbers)


def rgb(columns: Sequence[Sequence[float]], curve: bytes, **further: bytes) -> bytes:
    tags = _common()
    for name, column in zip("rgb", columns, strict=True):
        tags[f"{name}XYZ".encode()] = b"XYZ " + bytes(4) + _fixed(column)
        tags[f"{name}TRC".encode()] = curve
    tags |= {name.encode(): content for name, content in further.items()}
    return _profile(b"RGB ", b"XYZ ", tags)


def grey(curve: bytes, pcs: bytes = b"XYZ ") -> bytes:
    return _profile(b"GRAY", pcs, {**_common(), b"kTRC": curve})


def _table(channels: int, colors: Sequence[Sequence[int]]) -> bytes:
    """Return a tag mft1 of two points along each channel; the colours are Lab, 0..255."""
    steps = bytes(range(256))
    matrix = _fixed((1, 0, 0, 0, 1, 0, 0, 0, 1))
    grid = b"".join(bytes(color) for color in colors)
    return (
        b"mft1" + bytes(4) + bytes((channels, 3, 2, 0)) + matrix + steps * channels + grid
        + steps * 3
    )  # fmt: skip


def cmyk() -> bytes:
    """Return a profile of CMYK whose paper is L* = 95 and whose black is L* = 12."""
    colors = []
    for cyan, magenta, yellow, black in product((0, 1), repeat=4):
        light = (95 - 33 * cyan - 40 * magenta - 6 * yellow) * (1 - 0.85 * black)
        a = (-35 * cyan + 70 * magenta - 5 * yellow) * (1 - black)
        b = (-45 * cyan - 5 * magenta + 85 * yellow) * (1 - black)
        colors.append([round(max(12, light) * 2.55), round(a * 0.6) + 128, round(b * 0.6) + 128])
    return _profile(b"CMYK", b"Lab ", {**_common(), b"A2B0": _table(4, colors)}, b"prtr")


def rgb_table() -> bytes:
    """Return a profile of RGB that is a table; its lightness is nearly linear in the values."""
    colors = [
        [round(2.55 * (25 * red + 65 * green + 10 * blue)),
         128 + 50 * red - 60 * green + 10 * blue, 128 + 30 * red + 40 * green - 70 * blue]
        for red, green, blue in product((0, 1), repeat=3)
    ]  # fmt: skip
    return _profile(b"RGB ", b"Lab ", {**_common(), b"A2B0": _table(3, colors)}, b"scnr")


ADOBE_RGB = rgb(
    ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)),
    gamma_curve(563 / 256),
)
DISPLAY_P3 = rgb(
    ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)),
    parametric_curve(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
)
PROPHOTO = rgb(
    ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491)),
    gamma_curve(1.8),
)
GREY_GAMMA = grey(gamma_curve(1.8))
# A press on which a tint of 50 % prints as 70 %.
DOT_GAIN = grey(table_curve((1 - np.sin(np.linspace(np.pi / 2, 0, 64)) ** 0.75) ** 1.6))  # type: ignore[arg-type]
