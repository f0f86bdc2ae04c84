# SPDX-License-Identifier: Apache-2.0
"""Bilinear resize and normalisation in float64, as two weight matrices."""

from __future__ import annotations

import numpy as np


def weights(out: int, extent: int) -> np.ndarray:
    """(out, extent): row i holds the two weights of output i."""
    matrix = np.zeros((out, extent))
    for i in range(out):
        position = min(max((i + 0.5) * extent / out - 0.5, 0.0), extent - 1.0)
        first = int(np.floor(position))
        second = min(first + 1, extent - 1)
        matrix[i, first] += 1 - (position - first)
        matrix[i, second] += position - first
    return matrix


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """(H, W, 3) to (height, width, 3)."""
    rows, columns = weights(height, image.shape[0]), weights(width, image.shape[1])
    return np.einsum("ih,hwc,jw->ijc", rows, image.astype(np.float64), columns, optimize=True)
