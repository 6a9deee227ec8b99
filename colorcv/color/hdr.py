"""Transfer functions of HDR video: PQ and HLG (ITU-R BT.2100), relative to reference white.

Light is relative to the reference white of BT.2408, 203 cd/m2, which corresponds to the white of an
SDR version of the same video: 1 here is L* 100.
"""

from __future__ import annotations

import numpy as np

from .._typing import Float32Array

__all__ = ["BGR_2020_FROM_709", "HLG", "PQ", "light_from_signal", "signal_from_light"]

PQ, HLG = 16, 18  # transfer_characteristics of ITU-T H.273
REFERENCE_WHITE = 203.0  # cd/m2, ITU-R BT.2408
_PQ_PEAK, _HLG_PEAK = 10_000.0, 1_000.0  # cd/m2; HLG on its nominal display
_HLG_GAMMA = 1.2  # of the nominal display
# SMPTE ST 2084
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
# ARIB STD-B67
_A = 0.17883277
_B, _C = 1 - 4 * _A, 0.5 - _A * np.log(4 * _A)
# Linear BT.709 to linear BT.2020 (ITU-R BT.2087), in the order blue, green, red.
BGR_2020_FROM_709 = np.array(
    [[0.8956, 0.0880, 0.0164], [0.0114, 0.9195, 0.0691], [0.0433, 0.3293, 0.6274]], np.float32
)
_LUMINANCE_2020 = np.array([0.0593, 0.6780, 0.2627])  # of linear blue, green, red


def light_from_signal(signal: Float32Array, transfer: int) -> Float32Array:
    """Return the light that a display emits for grey.

    Parameters
    ----------
    signal : (N,) float32, 0..1
        Encoded value, equal in red, green and blue.
    transfer : int
        `PQ` or `HLG`.

    Returns
    -------
    (N,) float32, 0..1
        Relative to reference white; brighter values are clipped to 1.
    """
    values = signal.astype(np.float64)
    if transfer == PQ:
        power = values ** (1 / _M2)
        light = _PQ_PEAK * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)
    else:
        scene = np.where(values <= 0.5, values**2 / 3, (np.exp((values - _C) / _A) + _B) / 12)
        light = _HLG_PEAK * scene**_HLG_GAMMA
    return np.clip(light / REFERENCE_WHITE, 0, 1).astype(np.float32)


def signal_from_light(light: Float32Array, transfer: int) -> Float32Array:
    """Return the encoded signal of coloured light.

    Parameters
    ----------
    light : (..., 3) float32, 0 or more
        Linear BT.2020 in the order blue, green, red, relative to reference white.
    transfer : int
        `PQ` or `HLG`.

    Returns
    -------
    (..., 3) float32, 0..1
    """
    nits = np.maximum(light, 0) * np.float32(REFERENCE_WHITE)
    if transfer == PQ:
        power = (nits / np.float32(_PQ_PEAK)) ** np.float32(_M1)
        signal = ((_C1 + _C2 * power) / (1 + _C3 * power)) ** np.float32(_M2)
    else:
        display = nits / np.float32(_HLG_PEAK)
        luminance = np.maximum(display @ _LUMINANCE_2020, 1e-6)[..., np.newaxis]
        scene = display * luminance ** ((1 - _HLG_GAMMA) / _HLG_GAMMA)
        high = _A * np.log(np.maximum(12 * scene - _B, 1e-6)) + _C
        signal = np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    return np.asarray(np.clip(signal, 0, 1), np.float32)
