# SPDX-License-Identifier: Apache-2.0
"""Resizing, one output pixel at a time. NCHW.

Scales are rounded to float32, and so are the positions of nearest pixels, as the definition (torch's) has it,
since which pixel is nearest hangs on it. Values are float64.
"""

from __future__ import annotations

import math

import numpy as np


def _scale(n: int, out: int, mode: str, align_corners: bool, stated: float | None, antialias: bool) -> float:
    if align_corners:
        return float(np.float32(n - 1) / np.float32(out - 1)) if out > 1 else 0.0
    if out == n and (mode in ("nearest", "bilinear") or antialias):
        return 1.0
    if out == 2 * n and mode == "nearest":
        return 0.5
    return float(np.float32(1.0 / stated) if stated else np.float32(n) / np.float32(out))


def _cubic(x: float, a: float) -> float:
    """Keys' kernel, whose slope at 1 is ``a``."""
    x = abs(x)
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _covered(n: int, o: int, scale: float, mode: str) -> np.ndarray:
    """(n,): a kernel as wide as the output's pixel, around its centre."""
    width, center = max(scale, 1.0), scale * (o + 0.5)
    kernel = (lambda x: _cubic(x, -0.5)) if mode == "bicubic" else (lambda x: max(1 - abs(x), 0.0))
    row = np.array([kernel((i + 0.5 - center) / width) for i in range(n)])
    return row / row.sum()


def _weights(
    n: int, out: int, mode: str, align_corners: bool, stated: float | None, antialias: bool
) -> np.ndarray:
    """(out, n): what every input position contributes."""
    scale = _scale(n, out, mode, align_corners, stated, antialias)
    matrix = np.zeros((out, n))
    for o in range(out):
        position = o * scale if align_corners else (o + 0.5) * scale - 0.5
        if antialias:
            matrix[o] = _covered(n, o, scale, mode)
        elif mode == "area":
            begin, end = o * n // out, -(-(o + 1) * n // out)
            matrix[o, begin:end] = 1 / (end - begin)
        elif mode == "bicubic":
            for tap in range(math.floor(position) - 1, math.floor(position) + 3):
                matrix[o, min(max(tap, 0), n - 1)] += _cubic(position - tap, -0.75)
        elif mode == "bilinear":
            position = min(max(position, 0.0), n - 1.0)
            first = int(position)
            matrix[o, first] += 1 - (position - first)
            matrix[o, min(first + 1, n - 1)] += position - first
        else:
            rounded = (np.float32(o) + np.float32(0.5 if mode == "nearest-exact" else 0)) * np.float32(scale)
            matrix[o, min(int(rounded), n - 1)] = 1
    return matrix


def _axes(
    extents: tuple[int, int],
    size: tuple[int, int],
    mode: str,
    align_corners: bool,
    scale: tuple[float | None, float | None],
    antialias: bool,
) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = (
        _weights(n, out, mode, align_corners, stated, antialias)
        for n, out, stated in zip(extents, size, scale, strict=True)
    )
    return rows, columns


def interpolate(
    x: np.ndarray,
    size: tuple[int, int],
    mode: str,
    align_corners: bool = False,
    scale: tuple[float | None, float | None] = (None, None),
    antialias: bool = False,
) -> np.ndarray:
    height, width = x.shape[2:]
    rows, columns = _axes((height, width), size, mode, align_corners, scale, antialias)
    return np.einsum("oh,nchw,pw->ncop", rows, x.astype(np.float64), columns)


def interpolate_backward(
    grad: np.ndarray, extents: tuple[int, int], mode: str, align_corners: bool, antialias: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The gradient by x, and the sum of its terms' absolute values."""
    height, width = grad.shape[2:]
    rows, columns = _axes(extents, (height, width), mode, align_corners, (None, None), antialias)
    value, bound = (
        np.einsum("oh,ncop,pw->nchw", r, g, c)
        for r, g, c in (
            (rows, grad.astype(np.float64), columns),
            (abs(rows), abs(grad.astype(np.float64)), abs(columns)),
        )
    )
    return value, bound
