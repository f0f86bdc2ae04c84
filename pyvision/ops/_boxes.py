# SPDX-License-Identifier: Apache-2.0
"""Array arguments that many ops on boxes share."""

from __future__ import annotations

import numpy as np

from pyvision._array import Array, as_numpy, dtype_name, widened
from pyvision._device import Device, Operand

FLOATS = ("float32", "float64")
HALVES = ("float16", "bfloat16")  # where they are taken, they are computed in float32
INTEGERS = ("int64", "int32")
MASKS = ("bool", "uint8")


def boxes_of(
    x: Array, op: str, name: str, dtypes: tuple[str, ...] = FLOATS, *, columns: int = 4
) -> np.ndarray:
    """``x`` as a C-contiguous (N, columns) array; float16 and bfloat16 are widened."""
    array, _ = widened(x, op, name, dtypes)
    if array.ndim != 2 or array.shape[1] != columns:
        raise ValueError(f"[{op}] expected {name} of shape (N, {columns}), got {array.shape}")
    return np.ascontiguousarray(array)


def boxes_and_scores(
    boxes: Array, scores: Array, op: str, *, columns: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Both C-contiguous and of one type, as many scores as boxes."""
    b = boxes_of(boxes, op, "boxes", columns=columns)
    return b, vector_of(scores, b.shape[0], op, "scores", (dtype_name(b.dtype),))


def boxes_and_scores_on(
    device: Device, boxes: Array, scores: Array, op: str, *, columns: int = 4
) -> tuple[Operand, Operand]:
    """The same on the device."""
    b = device.take(boxes, op, "boxes", FLOATS)
    if len(b.shape) != 2 or b.shape[1] != columns:
        raise ValueError(f"[{op}] expected boxes of shape (N, {columns}), got {b.shape}")
    s = device.take(scores, op, "scores", (b.dtype,))
    check_shape(s, b.shape[:1], op, "scores")
    return b, s


def vector_of(x: Array, count: int, op: str, name: str, dtypes: tuple[str, ...]) -> np.ndarray:
    """``x`` as a C-contiguous (count,) array."""
    array = as_numpy(x, op, name, dtypes)
    check_shape(array, (count,), op, name)
    return np.ascontiguousarray(array)


def indices_of(x: Array, count: int, op: str, name: str) -> np.ndarray:
    """``x`` as an int64 (count,) array."""
    return vector_of(x, count, op, name, INTEGERS).astype(np.int64, copy=False)


def masks_of(x: Array, op: str, ranks: tuple[int, ...] = (3,), dtypes: tuple[str, ...] = MASKS) -> np.ndarray:
    """``x`` as C-contiguous masks, (N, H, W) or of another of ``ranks``: bytes, of which any but 0 is set."""
    array, dtype = widened(x, op, "masks", dtypes)
    if array.ndim not in ranks:
        raise ValueError(f"[{op}] expected masks of shape (N, H, W), got {array.shape}")
    return np.ascontiguousarray(array if dtype in MASKS else array != 0).view(np.uint8)


def indices_on(device: Device, x: Array | None, count: int, op: str, name: str) -> Operand | None:
    """``x`` as an int64 (count,) array on the device, where there is one."""
    if x is None:
        return None
    indices = device.take(x, op, name, INTEGERS)
    check_shape(indices, (count,), op, name)
    return device.astype(indices, "int64")


def check_shape(x: np.ndarray | Operand, shape: tuple[int, ...], op: str, name: str) -> None:
    """Raise ValueError unless ``x`` has this shape."""
    if x.shape != shape:
        raise ValueError(f"[{op}] expected {name} of shape {shape}, got {x.shape}")
