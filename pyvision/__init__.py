# SPDX-License-Identifier: Apache-2.0
"""Hand-written SIMD kernels for computer vision, assembled into detection and segmentation models."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyvision._backend import CudaError
from pyvision._config import get_num_threads, set_num_threads, show_config
from pyvision._core import __version__

if TYPE_CHECKING:
    from pyvision import features, flow, models, nn, ops, postprocess, profile
    from pyvision.image_io import ImageError
    from pyvision.predictor import Predictor, load
    from pyvision.results import Detection, Detections, Segmentation

__all__ = [
    "CudaError",
    "Detection",
    "Detections",
    "ImageError",
    "Predictor",
    "Segmentation",
    "__version__",
    "features",
    "flow",
    "get_num_threads",
    "load",
    "models",
    "nn",
    "ops",
    "postprocess",
    "profile",
    "set_num_threads",
    "show_config",
]

_SUBMODULES = frozenset(["features", "flow", "models", "nn", "ops", "postprocess", "profile"])
_HOMES = {
    "Detection": "results",
    "Detections": "results",
    "ImageError": "image_io",
    "Predictor": "predictor",
    "Segmentation": "results",
    "load": "predictor",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is asked for: `import pyvision` itself needs NumPy alone."""
    if name in _SUBMODULES:
        return import_module(f"pyvision.{name}")
    if name in _HOMES:
        value = getattr(import_module(f"pyvision.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'pyvision' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
