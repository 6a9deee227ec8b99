"""File suffixes of images and videos, and the reasons why other files are skipped."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SKIP_REASONS",
    "VIDEO_SUFFIXES",
    "image_skip_reasons",
    "image_suffixes",
]

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".pxm", ".ras", ".sr", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)

_HEIC_SUFFIXES = (".heic", ".heif", ".hif")
_HEIC = (
    'OpenCV cannot read HEIC; pip install "colorcv[heif]", or convert it to JPEG or PNG first '
    "(magick photo.heic photo.png)"
)
_PILLOW_SUFFIXES = (".pcx", ".psd", ".qoi", ".sgi")
_PILLOW = 'OpenCV cannot read this format; pip install "colorcv[color]", or convert it to PNG first'
_RAW = "OpenCV cannot read camera raw files; export it as TIFF or PNG first"
_RAW_SUFFIXES = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
_IMAGE_SKIP_REASONS = {
    **dict.fromkeys(VIDEO_SUFFIXES, "this is a video; use colorcv video"),
    **dict.fromkeys(_HEIC_SUFFIXES, _HEIC),
    **dict.fromkeys(_PILLOW_SUFFIXES, _PILLOW),
    **dict.fromkeys(_RAW_SUFFIXES, _RAW),
    ".jxl": "OpenCV cannot read JPEG XL; convert it to PNG first",
    ".pdf": "PDF is not an image format; extract its images first (pdfimages -png)",
    ".svg": "SVG is not a photo format; render it as PNG first",
}
# Not .gif, which may be an animation.
VIDEO_SKIP_REASONS = dict.fromkeys(IMAGE_SUFFIXES - {".gif"}, "this is an image; use colorcv image")


def image_suffixes() -> frozenset[str]:
    """Return the suffixes of images that can be read with the packages that are installed."""
    heic = _HEIC_SUFFIXES if find_spec("pillow_heif") else ()
    return IMAGE_SUFFIXES.union(heic, _PILLOW_SUFFIXES if find_spec("PIL") else ())


def image_skip_reasons() -> dict[str, str]:
    """Return, for each suffix that is not read, the reason."""
    readable = image_suffixes()
    return {key: reason for key, reason in _IMAGE_SKIP_REASONS.items() if key not in readable}
