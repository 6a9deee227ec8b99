"""What the environment says about model files: COLORCV_HOME, COLORCV_MIRROR, COLORCV_OFFLINE."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from ..errors import OptionError
from .registry import Model, ModelFile

__all__ = ["addresses_of", "folder_of", "is_offline"]

_YES = {"1", "true", "yes", "on"}
_NO = {"", "0", "false", "no", "off"}


def folder_of(model: Model) -> Path:
    """Where a model's files are, or go."""
    if model.bundled:
        return Path(__file__).parent / model.name
    home = os.environ.get("COLORCV_HOME")
    if home:
        return Path(os.path.abspath(os.path.expanduser(home))) / model.name  # noqa: PTH100, PTH111
    import platformdirs  # here, so that importing this package stays cheap

    return Path(platformdirs.user_cache_dir("colorcv", appauthor=False)) / model.name


def is_offline() -> bool:
    """Whether COLORCV_OFFLINE forbids the network."""
    value = os.environ.get("COLORCV_OFFLINE", "").strip()
    if value.lower() not in _YES | _NO:
        raise OptionError(
            f"the environment variable COLORCV_OFFLINE is {value!r}; "
            "it takes 1, true, yes, on or 0, false, no, off"
        )
    return value.lower() in _YES


def addresses_of(file: ModelFile) -> tuple[str, ...]:
    """The file's addresses, COLORCV_MIRROR's before them all."""
    base = os.environ.get("COLORCV_MIRROR", "").strip()
    if not base:
        return file.addresses
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise OptionError(
            f"the environment variable COLORCV_MIRROR is {base!r}; it takes a base address such "
            "as https://example.org/models, where the files lie under their own names"
        )
    return (f"{base.rstrip('/')}/{quote(file.name)}", *file.addresses)
