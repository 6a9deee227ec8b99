"""Video codecs that PyAV can write, and their settings."""

from __future__ import annotations

import os
from typing import NamedTuple

import av

from ...errors import OptionError, VideoError
from ..options import LOSSLESS

__all__ = ["CODECS", "Codec", "EncoderSettings", "encoder_settings"]


class Codec(NamedTuple):
    """An encoder and its settings.

    Attributes
    ----------
    encoder : str
        FFmpeg's name.
    default_crf : int or None
        None for a codec that is always lossless.
    max_crf : int
    options : dict of str to str
        Passed to the encoder.
    lossless : dict of str to str or None
        Passed in place of a CRF for quality "lossless"; None if the encoder has no such mode.
    """

    encoder: str
    default_crf: int | None
    max_crf: int
    options: dict[str, str]
    lossless: dict[str, str] | None = None


_X265 = "log-level=error"
# Without the small partitions of P frames and with a smaller search, x264 takes 14 to 28 % less
# processor time; on four clips luma had 0.03 to 0.2 dB less and files were 1 % smaller to 10 %
# larger (film grain). benchmarks/RESULTS-video.md has the figures.
_X264 = "partitions=i8x8,i4x4:me=dia"
# PSNR of luma at the default CRFs: on clips of films and cameras, H.264 at 17 has a median of about
# 48 dB (37 dB on the noisiest); on the clips of the tests, every codec has 44 dB or more
# (tests/video).
CODECS = {
    "h264": Codec(
        "libx264", 17, 51,
        {"preset": "veryfast", "x264-params": _X264},
        {"qp": "0", "x264-params": ""},
    ),
    "hevc": Codec(
        "libx265", 17, 51,
        {"preset": "veryfast", "x265-params": _X265},
        {"x265-params": f"{_X265}:lossless=1"},
    ),
    "vp9": Codec(
        "libvpx-vp9", 16, 63,
        {"deadline": "good", "cpu-used": "5", "row-mt": "1", "b": "0"},
        {"lossless": "1"},
    ),
    "av1": Codec("libsvtav1", 18, 63, {"preset": "9"}),
    "ffv1": Codec("ffv1", None, 0, {}, {}),
}  # fmt: skip


class EncoderSettings(NamedTuple):
    """An encoder, ready to be opened.

    Attributes
    ----------
    codec, encoder : str
        A key of `CODECS`, and FFmpeg's name of the encoder.
    pixel_format : str
        That of the frames it takes.
    options : dict of str to str
    """

    codec: str
    encoder: str
    pixel_format: str
    options: dict[str, str]


def encoder_settings(
    codec: str, quality: int | str | None, suffix: str, bits: int
) -> EncoderSettings:
    """Return the encoder for a codec and a container.

    Parameters
    ----------
    codec : str
        "auto" or a key of `CODECS`.
    quality : int, "lossless" or None
        CRF; None for the codec's default.
    suffix : str
        Of the output file.
    bits : int
        Of the source's luma.

    Raises
    ------
    OptionError
        Unknown codec, or a quality out of the codec's range.
    VideoError
        PyAV was built without the encoder.
    """
    if codec == "auto":
        codec = "vp9" if suffix.lower() == ".webm" else "h264"
    if codec not in CODECS:
        raise OptionError(f"codec must be one of auto, {', '.join(CODECS)}, got {codec!r}")
    entry = CODECS[codec]
    options = dict(entry.options)
    if quality == LOSSLESS:
        if entry.lossless is None:
            lossless = ", ".join(name for name, c in CODECS.items() if c.lossless is not None)
            raise OptionError(f"{codec} cannot be lossless here; choose one of {lossless}")
        options.update(entry.lossless)
    elif entry.default_crf is None:
        if quality is not None:
            raise OptionError(f"{codec} is lossless and takes no quality, got {quality}")
    else:
        crf = entry.default_crf if quality is None else quality
        if isinstance(crf, str) or not 0 <= crf <= entry.max_crf:
            raise OptionError(
                f"quality of {codec} must be between 0 (best) and {entry.max_crf}, or "
                f"{LOSSLESS!r}, got {quality!r}"
            )
        options["crf"] = str(crf)
    if entry.encoder == "libsvtav1":
        os.environ.setdefault("SVT_LOG", "1")  # errors only; by default 20 lines on stderr
    if entry.encoder not in av.codecs_available:
        raise VideoError(
            f"this PyAV was built without {entry.encoder}; choose another codec, or install "
            "PyAV from a wheel"
        )
    formats = {f.name for f in av.codec.Codec(entry.encoder, "w").video_formats or ()}
    is_deep = bits > 8 and "yuv420p10le" in formats
    pixel_format = "yuv420p10le" if is_deep else "yuv420p"
    return EncoderSettings(codec, entry.encoder, pixel_format, options)
