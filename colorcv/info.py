"""What ``colorcv info`` tells: versions, devices and models, each with its reason."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from . import __version__

__all__ = ["as_text", "describe"]


def describe(*, verify: bool = False) -> dict[str, Any]:
    """Gather the facts, as values that JSON can hold.

    Parameters
    ----------
    verify : bool
        Hash the model files again instead of trusting the remembered check.
    """
    import cv2
    import numpy as np

    from .models import models
    from .models import verify as verify_model
    from .network.device import default_device, devices, engine

    device, reason = default_device()
    facts: dict[str, Any] = {
        "colorcv": __version__,
        "python": platform.python_version(),
        "opencv": {
            "version": cv2.__version__,
            "line": int(cv2.__version__.split(".")[0]),
            "engine": engine(),
            "threads": cv2.getNumThreads(),
            "cpus": cv2.getNumberOfCPUs(),
        },
        "numpy": np.__version__,
        "pyav": _installed("av"),
        "auto": {"device": device, "reason": reason},
        "devices": [
            {"name": found.name, "available": found.available, "reason": found.reason}
            for found in devices()
        ],
        "models": [],
    }
    for model in models():
        entry: dict[str, Any] = {
            "name": model.name,
            "state": model.state,
            "folder": str(model.folder),
            "description": model.description,
            "license": model.license,
        }
        if verify:
            entry["files"] = {check.name: check.verdict for check in verify_model(model.name)}
        facts["models"].append(entry)
    return facts


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def as_text(facts: dict[str, Any]) -> str:
    """Lay the facts out for a reader."""
    opencv = facts["opencv"]
    lines = [
        f"colorcv {facts['colorcv']}, Python {facts['python']}, NumPy {facts['numpy']}",
        f"OpenCV  {opencv['version']}, {opencv['engine']}, {opencv['threads']} threads"
        f" on {opencv['cpus']} processors",
        f"PyAV    {facts['pyav'] or 'not installed: films go through OpenCV alone'}",
        "",
        f'device="auto" takes {facts["auto"]["device"]}: {facts["auto"]["reason"]}',
    ]
    for device in facts["devices"]:
        mark = "yes" if device["available"] else "no "
        lines.append(f"  {mark} {device['name']:<12} {device['reason']}")
    for model in facts["models"]:
        lines += ["", f'model "{model["name"]}": {model["state"]}', f"  {model['description']}"]
        lines += [f"  {model['license']}", f"  {model['folder']}"]
        lines += [f"  {name}: {verdict}" for name, verdict in model.get("files", {}).items()]
    return "\n".join(lines)
