"""The models: which there are, and where their files live.

Importing this imports neither cv2 nor requests: they come with the first download.
"""

from __future__ import annotations

import sys
from types import ModuleType

from .cache import download, models, resolve, verify
from .info import FileInfo, ModelFiles, ModelInfo

__all__ = ["FileInfo", "ModelFiles", "ModelInfo", "download", "models", "resolve", "verify"]


class _CallableModule(ModuleType):
    # Importing this package binds its name in colorcv, over the function colorcv.models().
    def __call__(self) -> tuple[ModelInfo, ...]:
        return models()


sys.modules[__name__].__class__ = _CallableModule
