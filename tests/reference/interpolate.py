# SPDX-License-Identifier: Apache-2.0
"""Resizing, one output pixel at a time. NCHW.

Positions are rounded to float32 as the definition (torch's) has it, since which pixel is nearest hangs on
it. Values are float64.
"""

from __future__ import annotations

import numpy as np


def _scale(n: int, out: int, align_corners: bool, stated: float | None) -> np.float32:
    if align_corners:
        return np.float32(n - 1) / np.float32(out - 1) if out > 1 else np.float32(0)
    return np.float32(1.0 / stated) if stated else np.float32(n) / np.float32(out)


def _weights(n: int, out: int, mode: str, align_corners: bool, stated: float | None) -> np.ndarray:
    """(out, n): what every input position contributes."""
    scale = _scale(n, out, align_corners, stated)
    matrix = np.zeros((out, n))
    for o in range(out):
        if mode == "bilinear":
            position = np.float32(o) * scale
            if not align_corners:
                position = (np.float32(o) + np.float32(0.5)) * scale - np.float32(0.5)
            position = min(max(float(position), 0.0), n - 1.0)
            first = int(position)
            matrix[o, first] += 1 - (position - first)
            matrix[o, min(first + 1, n - 1)] += position - first
        else:
            position = (np.float32(o) + np.float32(0.5 if mode == "nearest-exact" else 0)) * scale
            matrix[o, min(int(position), n - 1)] = 1
    return matrix


def interpolate(
    x: np.ndarray,
    size: tuple[int, int],
    mode: str,
    align_corners: bool = False,
    scale: tuple[float | None, float | None] = (None, None),
) -> np.ndarray:
    rows = _weights(x.shape[2], size[0], mode, align_corners, scale[0])
    cols = _weights(x.shape[3], size[1], mode, align_corners, scale[1])
    return np.einsum("oh,nchw,pw->ncop", rows, x.astype(np.float64), cols)
