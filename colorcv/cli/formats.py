"""File suffixes of images and videos, and the reasons why other files are skipped."""

from __future__ import annotations

__all__ = [
    "IMAGE_SKIP_REASONS",
    "IMAGE_SUFFIXES",
    "VIDEO_SKIP_REASONS",
    "VIDEO_SUFFIXES",
]

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".pxm", ".ras", ".sr", ".tif", ".tiff", ".webp"}
)
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)

_HEIC = "OpenCV cannot read HEIC; convert it to JPEG or PNG first (magick photo.heic photo.png)"
_RAW = "OpenCV cannot read camera raw files; export it as TIFF or PNG first"
_RAW_SUFFIXES = (".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2")
IMAGE_SKIP_REASONS = {
    **dict.fromkeys(VIDEO_SUFFIXES, "this is a video; use colorcv video"),
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIC),
    **dict.fromkeys(_RAW_SUFFIXES, _RAW),
    ".jxl": "OpenCV cannot read JPEG XL; convert it to PNG first",
    ".pdf": "PDF is not an image format; extract its images first (pdfimages -png)",
    ".svg": "SVG is not a photo format; render it as PNG first",
}
# Not .gif, which may be an animation.
VIDEO_SKIP_REASONS = dict.fromkeys(IMAGE_SUFFIXES - {".gif"}, "this is an image; use colorcv image")
