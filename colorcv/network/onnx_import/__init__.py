"""Import of ONNX files: read safely, made static and simple, for both lines of OpenCV."""

from __future__ import annotations

from .importer import ImportedNetwork, import_onnx
from .model import OnnxSignature, TensorInfo, read_signature

__all__ = ["ImportedNetwork", "OnnxSignature", "TensorInfo", "import_onnx", "read_signature"]
