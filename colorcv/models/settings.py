"""Environment variables COLORCV_HOME, COLORCV_MIRROR and COLORCV_OFFLINE; the cache folder."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

from ..errors import OptionError
from .registry import Model, ModelFile

__all__ = ["is_offline", "model_folder", "urls_for"]

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


def model_folder(model: Model) -> Path:
    """Return the folder where a model's files are, or will be downloaded to."""
    if model.bundled:
        return Path(__file__).parent / model.name
    home = os.environ.get("COLORCV_HOME")
    if home:
        return Path(os.path.abspath(os.path.expanduser(home))) / model.name  # noqa: PTH100, PTH111
    import platformdirs  # imported late to keep `import colorcv.models` cheap

    return Path(platformdirs.user_cache_dir("colorcv", appauthor=False)) / model.name


def is_offline() -> bool:
    """Return True if COLORCV_OFFLINE disables downloads.

    Raises
    ------
    OptionError
        COLORCV_OFFLINE has a value that means neither true nor false.
    """
    value = os.environ.get("COLORCV_OFFLINE", "").strip()
    if value.lower() not in _TRUE | _FALSE:
        raise OptionError(
            "the environment variable COLORCV_OFFLINE must be 1, true, yes, on or 0, false, no, "
            f"off; got {value!r}"
        )
    return value.lower() in _TRUE


def urls_for(file: ModelFile) -> tuple[str, ...]:
    """Return the URLs of a file, with COLORCV_MIRROR first.

    Raises
    ------
    OptionError
        COLORCV_MIRROR is not an http or https URL without query and fragment.
    """
    base = os.environ.get("COLORCV_MIRROR", "").strip()
    if not base:
        return file.urls
    try:
        parts = urlsplit(base)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise OptionError(
            "the environment variable COLORCV_MIRROR must be a base URL such as "
            f"https://example.org/models, to which file names are appended; got {base!r}"
        )
    return (f"{base.rstrip('/')}/{quote(file.name)}", *file.urls)
