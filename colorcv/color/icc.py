"""ICC profiles of grey curves or of three curves and a matrix; the profile of sRGB.

References are to ICC.1:2022. Nearly all photos with a profile (Adobe RGB, Display P3, ProPhoto,
grey gamma and dot gain) have one of these two kinds, which `parse` reads exactly at any bit depth.
Profiles with tables, as of CMYK, need a colour management system.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

__all__ = [
    "LINEAR_SRGB_FROM_XYZ",
    "Profile",
    "ProfileError",
    "TableProfileError",
    "color_space",
    "parse",
    "srgb_profile",
]

FloatArray = npt.NDArray[np.float64]

# Linear sRGB, adapted to the D50 of profiles, to XYZ: the columns of the profiles of sRGB.
_XYZ_FROM_SRGB = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
LINEAR_SRGB_FROM_XYZ = np.linalg.inv(_XYZ_FROM_SRGB)
_D50 = (0.96420, 1.0, 0.82491)
_SRGB_PARAMETERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
# Formulas of a parametric curve by the number of its type: which parameters follow the first.
_PARAMETERS = {0: "g", 1: "gab", 2: "gabc", 3: "gabcd", 4: "gabcdef"}
_MAX_TAGS, _MAX_CURVE = 100, 1 << 16  # 10.6: the count of a curve is at most 16 bits in practice


class ProfileError(ValueError):
    """A profile is malformed, or not for pixels."""


class TableProfileError(ProfileError):
    """A profile is made of tables, which are not read here."""


@dataclass(frozen=True)
class Profile:
    """The colours of a grey or RGB image.

    Attributes
    ----------
    curves : one or three callables
        From values in 0..1, float64 of any shape, to linear light.
    matrix : (3, 3) float64, or None for grey
        From linear red, green and blue to XYZ under D50.
    """

    curves: tuple[Callable[[FloatArray], FloatArray], ...]
    matrix: FloatArray | None = None

    @property
    def is_srgb(self) -> bool:
        """True if no colour differs from sRGB by more than half a level of 8 bits."""
        values = np.linspace(0, 1, 256)
        encoded = _srgb_curve(values)
        slope = np.maximum(np.gradient(encoded, values), 1 / 12.92)
        if any((np.abs(c(values) - encoded) > 0.5 / 255 * slope).any() for c in self.curves):
            return False
        return self.matrix is None or bool(np.abs(self.matrix - _XYZ_FROM_SRGB).max() < 1e-3)


def color_space(profile: bytes) -> str:
    """Return the colour space of a profile, such as "RGB", "GRAY" or "CMYK"; "" if it has none."""
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return ""
    return profile[16:20].decode("latin-1").strip()


def parse(profile: bytes) -> Profile:
    """Read a profile.

    Parameters
    ----------
    profile : bytes
        ICC profile, version 2 or 4.

    Raises
    ------
    TableProfileError
        The profile is made of tables (tag A2B0), or is for another space than grey and RGB.
    ProfileError
        The profile is malformed, or is not of a device or a colour space.
    """
    try:
        return _parse(profile)
    except (struct.error, IndexError) as err:
        raise ProfileError("it ends too early") from err


def _parse(profile: bytes) -> Profile:
    space = color_space(profile)
    if not space:
        raise ProfileError("it has no header")
    if profile[12:16] not in (b"mntr", b"scnr", b"prtr", b"spac"):
        raise ProfileError(f"its class is {profile[12:16]!r}")
    (count,) = struct.unpack_from(">L", profile, 128)
    if count > _MAX_TAGS:
        raise ProfileError(f"it has {count} tags")
    tags = {}
    for pos in range(132, 132 + 12 * count, 12):
        name, start, size = struct.unpack_from(">4sLL", profile, pos)
        if start + size > len(profile):
            raise ProfileError(f"its tag {name!r} ends at byte {start + size} of {len(profile)}")
        tags[name] = profile[start : start + size]
    if space not in ("GRAY", "RGB") or b"A2B0" in tags:
        raise TableProfileError(f"it is a table for {space}")
    names = [b"kTRC"] if space == "GRAY" else [b"rTRC", b"gTRC", b"bTRC"]
    names += [] if space == "GRAY" else [b"rXYZ", b"gXYZ", b"bXYZ"]
    missing = [name.decode() for name in names if name not in tags]
    if missing:
        raise ProfileError(f"it has no {', '.join(missing)}")
    if space == "GRAY":
        curve = _curve(tags[b"kTRC"])
        if profile[20:24] == b"Lab ":
            return Profile((lambda values: _luminance(curve(values)),))
        return Profile((curve,))
    curves = tuple(_curve(tags[name]) for name in names[:3])
    matrix = np.transpose([_xyz(tags[name]) for name in names[3:]])
    white = LINEAR_SRGB_FROM_XYZ @ matrix.sum(axis=1)
    if abs(np.linalg.det(matrix)) < 0.01 or np.abs(white - 1).max() > 0.25:
        raise ProfileError("its primaries do not make white")
    return Profile(curves, matrix)


def _xyz(tag: bytes) -> list[float]:
    return [number / 65536 for number in struct.unpack_from(">lll", tag, 8)]


def _curve(tag: bytes) -> Callable[[FloatArray], FloatArray]:
    """Return the function of a tag of type curv or para (10.6, 10.18)."""
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        if kind not in _PARAMETERS:
            raise ProfileError(f"a curve is of type {kind}")
        names = _PARAMETERS[kind]
        numbers = [n / 65536 for n in struct.unpack_from(f">{len(names)}l", tag, 12)]
        return _parametric(kind, **dict(zip(names, numbers, strict=True)))
    if tag[:4] != b"curv":
        raise ProfileError(f"a curve is {tag[:4]!r}")
    (count,) = struct.unpack_from(">L", tag, 8)
    if count == 0:
        return _power(1.0)
    if count == 1:
        return _power(struct.unpack_from(">H", tag, 12)[0] / 256)
    if count > _MAX_CURVE:
        raise ProfileError(f"a curve has {count} points")
    table = np.array(struct.unpack_from(f">{count}H", tag, 12)) / 65535
    points = np.linspace(0, 1, count)
    return lambda values: np.interp(values, points, table)


def _power(exponent: float) -> Callable[[FloatArray], FloatArray]:
    if not 0 < exponent <= 20:
        raise ProfileError(f"a curve has the exponent {exponent:g}")
    return lambda values: np.asarray(np.maximum(values, 0) ** exponent)


def _parametric(
    kind: int,
    *,
    g: float,
    a: float = 1,
    b: float = 0,
    c: float = 0,
    d: float = 0,
    e: float = 0,
    f: float = 0,
) -> Callable[[FloatArray], FloatArray]:
    power = _power(g)
    if kind in (1, 2):  # (a x + b)^g + c above -b / a, and c below
        if a == 0:
            raise ProfileError("a curve has no slope")
        d, e, f, c = -b / a, c, c, 0.0

    def evaluate(values: FloatArray) -> FloatArray:
        return np.clip(np.where(values >= d, power(a * values + b) + e, c * values + f), 0, 1)

    return evaluate


def _luminance(lightness: FloatArray) -> FloatArray:
    """Convert L* in 0..1 to luminance."""
    fy = (lightness * 100 + 16) / 116
    return np.where(lightness > 0.08, fy**3, lightness * 100 * 27 / 24389)


def _srgb_curve(values: FloatArray) -> FloatArray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return the ICC profile, version 4, of sRGB (IEC 61966-2-1)."""
    text = "sRGB".encode("utf-16-be")
    # 10.15: one record of 12 bytes, English of the USA, at byte 28
    name = struct.pack(">4sLLLHHLL", b"mluc", 0, 1, 12, 0x656E, 0x5553, len(text), 28) + text
    curve = struct.pack(">4sLHH5l", b"para", 0, 3, 0, *_fixed(_SRGB_PARAMETERS))
    # The adaptation from D65 to D50 by Bradford's matrix (Annex E).
    adaptation = (
        1.04788,
        0.02292,
        -0.05022,
        0.02959,
        0.99048,
        -0.01707,
        -0.00925,
        0.01508,
        0.75168,
    )
    content = [
        ((b"desc", b"cprt"), name),
        ((b"wtpt",), struct.pack(">4sL3l", b"XYZ ", 0, *_fixed(_D50))),
        ((b"chad",), struct.pack(">4sL9l", b"sf32", 0, *_fixed(adaptation))),
        ((b"rTRC", b"gTRC", b"bTRC"), curve),
    ]
    for channel, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), _XYZ_FROM_SRGB.T, strict=True):
        content.append(((channel,), struct.pack(">4sL3l", b"XYZ ", 0, *_fixed(column))))
    directory, body = b"", b""
    start = 132 + 12 * sum(len(names) for names, _ in content)
    for names, tag in content:
        for tag_name in names:
            directory += struct.pack(">4sLL", tag_name, start + len(body), len(tag))
        body += tag + b"\0" * (-len(tag) % 4)
    header = struct.pack(
        ">L4sL4s4s4s6H4s28x3l48x",
        start + len(body), b"", 0x04300000, b"mntr", b"RGB ", b"XYZ ",
        2026, 1, 1, 0, 0, 0, b"acsp", *_fixed(_D50),
    )  # fmt: skip
    count = struct.pack(">L", sum(len(names) for names, _ in content))
    return header + count + directory + body


def _fixed(numbers: npt.ArrayLike) -> list[int]:
    return [round(number * 65536) for number in np.asarray(numbers, float).tolist()]
