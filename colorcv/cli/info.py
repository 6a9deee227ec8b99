"""Versions, devices and models, for ``colorcv info``."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

from .. import __version__
from .console import as_flags

if TYPE_CHECKING:
    from ..models import OnnxModel

__all__ = ["collect_info", "collect_onnx_info", "format_info", "format_onnx_info"]

ZHANG2016_WEIGHTS = 128_941_568  # bytes


def collect_info(*, verify: bool = False) -> dict[str, Any]:
    """Return versions, devices and models as values that JSON can hold.

    Parameters
    ----------
    verify : bool
        Hash the model files again instead of trusting the stored result.
    """
    import cv2
    import numpy as np

    from .._opencv import opencv_version
    from ..colorizer import Colorizer
    from ..models import models
    from ..models import verify as verify_model
    from ..network.device import devices
    from ..network.memory import available_memory
    from ..network.profiles import choose_form

    auto = Colorizer("lite", device="auto", memory="balanced")
    form, reason = choose_form(ZHANG2016_WEIGHTS, available_memory())
    info: dict[str, Any] = {
        "colorcv": __version__,
        "python": platform.python_version(),
        "opencv": {
            "version": cv2.__version__,
            "line": opencv_version()[0],
            "engine": _engine(),
            "threads": cv2.getNumThreads(),
            "cpus": cv2.getNumberOfCPUs(),
        },
        "numpy": np.__version__,
        "auto": {"device": auto.device, "reason": auto.device_reason},
        "memory": {"form": form, "reason": reason},
        "pyav": _installed("av"),
        "pillow": _installed("pillow"),
        "pillow_heif": _installed("pillow-heif"),
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
            "licence": model.licence,
        }
        if verify:
            verified = verify_model(model.name)
            entry["files"] = {file.name: file.problem or file.state for file in verified}
            if any(file.state == "wrong" for file in verified):
                entry["state"] = "wrong"
        info["models"].append(entry)
    return info


def collect_onnx_info(model: OnnxModel) -> dict[str, Any]:
    """Return what an ONNX file is and how it is used, as values that JSON can hold."""
    from ..models import resolve
    from ..predictor import resolve_onnx

    resolve(model)
    signature, resolved = resolve_onnx(model)

    def ports(infos: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [
            {"name": name, "shape": info.shape and list(info.shape), "type": info.element_type}
            for name, info in infos.items()
        ]

    conventions = resolved.conventions
    return {
        "path": str(model.path),
        "producer": signature.producer,
        "opset": signature.opset,
        "inputs": ports(signature.inputs),
        "outputs": ports(signature.outputs),
        "use": resolved.reason,
        "size": list(resolved.input_hw[::-1]),
        "takes_hints": conventions.hints is not None,
        "input": {"kind": conventions.input, "scale": conventions.input_scale},
        "output": {"kind": conventions.output, "scale": conventions.output_scale},
    }


def format_onnx_info(info: dict[str, Any]) -> str:
    """Return the result of `collect_onnx_info` as text for a terminal."""

    def port(found: dict[str, Any]) -> str:
        sides = ["?" if side is None else str(side) for side in found["shape"] or []]
        return f"{found['name']} ({', '.join(sides)}) {found['type']}"

    width, height = info["size"]
    hints = "takes hints" if info["takes_hints"] else "takes no hints"
    lines = [
        f"{info['path']}: opset {info['opset']}, written by {info['producer'] or 'unknown'}",
        *(f"  input   {port(found)}" for found in info["inputs"]),
        *(f"  output  {port(found)}" for found in info["outputs"]),
        f"  used as {info['use']}, at {width}x{height}; {hints}",
        f"  it is given {info['input']['kind']} (scale {info['input']['scale']:g}) and returns "
        f"{info['output']['kind']} (scale {info['output']['scale']:g})",
    ]
    return as_flags("\n".join(lines))


def _engine() -> str:
    """Return which inference engine OpenCV uses; OpenCV 5 has a second, new one."""
    import cv2

    from ..network.device import classic_engine_forced

    has_new = hasattr(cv2.dnn, "ENGINE_NEW")
    return "new engine" if has_new and not classic_engine_forced() else "classic engine"


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _state_hint(model: dict[str, Any]) -> str:
    if model["state"] == "absent":
        return f" (colorcv download {model['name']}, or its first use, downloads it)"
    return ""


def format_info(info: dict[str, Any]) -> str:
    """Return the result of `collect_info` as text for a terminal."""
    opencv = info["opencv"]
    lines = [
        f"colorcv {info['colorcv']}, Python {info['python']}, NumPy {info['numpy']}",
        f"OpenCV  {opencv['version']}, {opencv['engine']}, {opencv['threads']} threads"
        f" on {opencv['cpus']} processors",
        f"PyAV    {info['pyav'] or 'not installed (pip install av); videos use OpenCV alone'}",
        f"Pillow  {info['pillow'] or 'not installed (pip install pillow); see docs/files.rst'}",
        f"HEIC    {info['pillow_heif'] or 'not read (pip install pillow-heif)'}",
        "",
        f"--device auto is {info['auto']['device']}: {info['auto']['reason']}",
    ]
    shown_reasons = info["auto"]["reason"]
    for device in info["devices"]:
        mark = "yes" if device["available"] else "no "
        reason = device["reason"]
        lines.append(
            f"  {mark} {device['name']:<12} {'as above' if reason in shown_reasons else reason}"
        )
        shown_reasons += reason
    memory = info["memory"]
    lines += ["", f"--memory auto is {memory['form']} for zhang2016: {memory['reason']}"]
    for model in info["models"]:
        lines += [
            "",
            f"--model {model['name']}: {model['state']}{_state_hint(model)}",
            f"  {model['description']}",
        ]
        lines += [f"  {model['licence']}", f"  {model['folder']}"]
        lines += [f"  {name}: {verdict}" for name, verdict in model.get("files", {}).items()]
    return as_flags("\n".join(lines))
