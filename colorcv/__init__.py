"""Colour black-and-white images and videos with OpenCV's ``cv2.dnn`` alone.

>>> import colorcv
>>> colored = colorcv.colorize("grandmother.jpg", model="lite")  # doctest: +SKIP
"""

from __future__ import annotations

from .errors import (
    ChecksumError,
    ColorcvError,
    DeviceError,
    DownloadError,
    ImageError,
    ModelFormatError,
    OptionError,
    VideoError,
)

TYPE_CHECKING = False  # as typing's, whose import takes time in which Ctrl-C shows a traceback
if TYPE_CHECKING:
    from .api import colorize
    from .colorizer import Colorizer
    from .models import FileInfo, ModelFiles, ModelInfo, OnnxModel, download, models
    from .network.device import DeviceInfo, devices
    from .steering.editing import Reference
    from .steering.hints import Hint
    from .steering.session import EditSession
    from .steering.suggestions import Suggestion
    from .video.api import VideoResult, colorize_video

__version__ = "0.1.0"
# Imported on first use: importing colorcv imports its errors only.
_LAZY_EXPORTS = {
    "Colorizer": ".colorizer", "colorize": ".api",
    "EditSession": ".steering.session", "Reference": ".steering.editing",
    "Hint": ".steering.hints", "Suggestion": ".steering.suggestions",
    "FileInfo": ".models", "ModelFiles": ".models", "ModelInfo": ".models",
    "OnnxModel": ".models",
    "download": ".models", "models": ".models",
    "DeviceInfo": ".network.device", "devices": ".network.device",
    "VideoResult": ".video", "colorize_video": ".video",
}  # fmt: skip
__all__ = [  # noqa: RUF022
    "Colorizer", "DeviceInfo", "EditSession", "FileInfo", "Hint", "ModelFiles", "ModelInfo",
    "OnnxModel", "Reference", "Suggestion", "VideoResult",
    "colorize", "colorize_video", "devices", "download", "models",
    "ColorcvError", "ChecksumError", "DeviceError", "DownloadError", "ImageError",
    "ModelFormatError", "OptionError", "VideoError",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name in _LAZY_EXPORTS:
        from importlib import import_module

        value = getattr(import_module(_LAZY_EXPORTS[name], __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_EXPORTS})
