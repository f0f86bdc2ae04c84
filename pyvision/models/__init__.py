# SPDX-License-Identifier: Apache-2.0
"""Detection and segmentation networks with pretrained weights."""

from __future__ import annotations

import os
from collections.abc import Callable

from pyvision.models._spec import COCO_CATEGORIES, Preprocessing
from pyvision.models.nanodet_g import NanoDet, nanodet_g
from pyvision.models.selfie_segmentation import SelfieSegmentation, selfie_segmentation

Network = NanoDet | SelfieSegmentation
"""Any of them."""

_BUILDERS: dict[str, Callable[..., Network]] = {
    "nanodet_g": nanodet_g,
    "selfie_segmentation": selfie_segmentation,
}


def list_models() -> list[str]:
    """Names that :func:`get_model` takes."""
    return sorted(_BUILDERS)


def get_model(name: str, weights: str | os.PathLike[str] | None = "default") -> Network:
    """Make a model by name, with its "default" weights, those of a safetensors file, or None for random ones.

    Raises:
        ValueError: there is no such model, or the weights do not fit it.
    """
    if name not in _BUILDERS:
        raise ValueError(f"[get_model] expected one of {', '.join(list_models())}, got {name!r}")
    return _BUILDERS[name](weights)


__all__ = [
    "COCO_CATEGORIES",
    "NanoDet",
    "Preprocessing",
    "SelfieSegmentation",
    "get_model",
    "list_models",
    "nanodet_g",
    "selfie_segmentation",
]
