# SPDX-License-Identifier: Apache-2.0
"""Pictures, masks and options as the kernels take them."""

from __future__ import annotations

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy
from pyvision.features.keypoints import Keypoints
from pyvision.ops._args import integer, real

_GREY = (0.299, 0.587, 0.114)  # BT.601


def grey_of(image: Array, op: str) -> np.ndarray:
    """``image`` as grey uint8 (H, W) with contiguous rows; not copied where it is so already.

    Raises:
        TypeError: ``image`` is not a uint8 or float32 array.
        ValueError: it has another shape, no pixels, or pixels that are not finite.
    """
    x = _picture(image, op)
    if x.dtype == np.float32:
        x = np.rint(x).clip(0, 255).astype(np.uint8)
    if x.ndim == 3:
        x = _core.to_grey(_with_contiguous_last(x)) if x.shape[2] > 1 else x[:, :, 0]
    return _with_contiguous_last(x)


def any_grey_of(image: Array, op: str) -> np.ndarray:
    """The same, but that float32 stays what it is, between -1e4 and 1e4."""
    x = _picture(image, op)
    if x.dtype == np.uint8:
        return grey_of(x, op)
    if np.abs(x).max() > 1e4:
        raise ValueError(f"[{op}] expected image to have pixels on the scale 0 to 255, got {np.abs(x).max()}")
    if x.ndim == 3:
        x = x[:, :, :3] @ np.array(_GREY, np.float32) if x.shape[2] > 1 else x[:, :, 0]
    return _with_contiguous_last(x)


def _picture(image: Array, op: str) -> np.ndarray:
    x = as_numpy(image, op, "image", ("uint8", "float32"))
    if x.ndim not in (2, 3) or 0 in x.shape or (x.ndim == 3 and x.shape[2] not in (1, 3, 4)):
        raise ValueError(f"[{op}] expected image of shape (H, W) or (H, W, 1, 3 or 4), got {x.shape}")
    if x.dtype == np.float32 and not np.isfinite(x).all():
        raise ValueError(f"[{op}] expected image to have finite pixels, got NaN or infinity")
    return x


def mask_of(mask: Array | None, shape: tuple[int, ...], op: str) -> np.ndarray | None:
    """``mask`` as uint8 of ``shape`` with contiguous rows.

    Raises:
        TypeError: ``mask`` is not a bool or uint8 array.
        ValueError: it has another shape.
    """
    if mask is None:
        return None
    m = as_numpy(mask, op, "mask", ("bool", "uint8"))
    if m.shape != shape:
        raise ValueError(f"[{op}] expected mask of shape {shape}, got {m.shape}")
    return _with_contiguous_last(m.view(np.uint8))


def keypoints_of(keypoints: Keypoints, op: str) -> Keypoints:
    """``keypoints`` if they are; raises TypeError otherwise."""
    if not isinstance(keypoints, Keypoints):
        raise TypeError(f"[{op}] expected keypoints to be Keypoints, got {type(keypoints).__name__}")
    return keypoints


def integer_in(value: int, op: str, name: str, least: int, most: int) -> int:
    """``value`` if it is an integer in [least, most]; raises TypeError or ValueError otherwise."""
    number = integer(value, op, name)
    if not least <= number <= most:
        raise ValueError(f"[{op}] expected {name} in [{least}, {most}], got {value}")
    return number


def real_in(value: float, op: str, name: str, least: float, most: float) -> float:
    """``value`` if it is a number in [least, most]; raises TypeError or ValueError otherwise."""
    number = real(value, op, name)
    if not least <= number <= most:
        raise ValueError(f"[{op}] expected {name} in [{least}, {most}], got {value}")
    return number


def count_of(max_features: int | None, op: str) -> int:
    """``max_features`` in [1, 2^30], or 0 for None: all."""
    return 0 if max_features is None else integer_in(max_features, op, "max_features", 1, 2**30)


def _with_contiguous_last(x: np.ndarray) -> np.ndarray:
    return x if x.strides[-1] == x.itemsize else np.ascontiguousarray(x)
