"""Model files: the registry, the cache folder and downloading.

Importing this package loads neither cv2 nor requests; a download does.
"""

from __future__ import annotations

import sys
from types import ModuleType

from .cache import download, models, resolve, verify
from .info import FileInfo, ModelFiles, ModelInfo, OnnxModel

__all__ = [
    "FileInfo",
    "ModelFiles",
    "ModelInfo",
    "OnnxModel",
    "download",
    "models",
    "resolve",
    "verify",
]


class _CallableModule(ModuleType):
    # Importing this package sets the attribute `models` of colorcv to this module, which hides the
    # function of the same name. So the module itself can be called: colorcv.models().
    def __call__(self) -> tuple[ModelInfo, ...]:
        return models()


sys.modules[__name__].__class__ = _CallableModule
