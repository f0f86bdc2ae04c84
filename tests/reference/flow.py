# SPDX-License-Identifier: Apache-2.0
"""Optical flow and pyramids in float64, by their definitions."""

from __future__ import annotations

import numpy as np

from tests.reference.warp import sample


def _convolved(x: np.ndarray, kernel: np.ndarray, mode: str) -> np.ndarray:
    """(H, W) with a kernel of odd sides, the picture padded by ``mode``."""
    ry, rx = kernel.shape[0] // 2, kernel.shape[1] // 2
    wide = np.pad(x, ((ry, ry), (rx, rx)), mode=mode)
    return sum(
        kernel[i, j] * wide[i : i + x.shape[0], j : j + x.shape[1]]
        for i in range(kernel.shape[0])
        for j in range(kernel.shape[1])
    )


_NEIGHBOURS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]]) / 12


def horn_schunck(
    ix: np.ndarray, iy: np.ndarray, it: np.ndarray, u0: np.ndarray, v0: np.ndarray, alpha: float, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    u, v = u0.astype(np.float64), v0.astype(np.float64)
    ix, iy, it = (a.astype(np.float64) for a in (ix, iy, it))
    for _ in range(steps):
        mean_u, mean_v = (_convolved(w, _NEIGHBOURS, "edge") for w in (u, v))
        rest = (ix * (mean_u - u0) + iy * (mean_v - v0) + it) / (alpha**2 + ix**2 + iy**2)
        u, v = mean_u - ix * rest, mean_v - iy * rest
    return u, v


def horn_schunck_terms(
    a: np.ndarray, b: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    h, w = a.shape
    y, x = np.mgrid[:h, :w].astype(np.float64)
    inside = (x + u >= 0) & (y + v >= 0) & (x + u <= w - 1) & (y + v <= h - 1)
    slope = np.array([[1, -8, 0, 8, -1]]) / 12
    ix, iy = (_convolved((a + b) / 2, kernel, "edge") for kernel in (slope, slope.T))
    return np.where(inside, ix, 0), np.where(inside, iy, 0), np.where(inside, b - a, 0)


_SCHARR = np.outer([3, 10, 3], [-1, 0, 1]) / 32


def lucas_kanade(
    a: np.ndarray, b: np.ndarray, point: np.ndarray, start: np.ndarray, window: int, steps: int
) -> np.ndarray:
    """Where one point of ``a`` went, at one level, after so many steps."""
    offsets = np.arange(window) - window // 2
    x, y = np.meshgrid(offsets, offsets)

    def at(image: np.ndarray, centre: np.ndarray) -> np.ndarray:
        picture = sample(image[:, :, None], x + centre[0], y + centre[1], "bilinear", "reflect_101")
        return picture[:, :, 0]

    gx, gy = (_convolved(a.astype(np.float64), k, "reflect") for k in (_SCHARR, _SCHARR.T))
    u, v = x + point[0], y + point[1]
    inside = (u >= 0) & (v >= 0) & (u <= a.shape[1] - 1) & (v <= a.shape[0] - 1)
    pixels, slopes = at(a, point), np.stack([(at(g, point) * inside).ravel() for g in (gx, gy)])
    d = start.astype(np.float64)
    for _ in range(steps):
        difference = (pixels - at(b, d)).ravel()
        d = d + np.linalg.solve(slopes @ slopes.T, slopes @ difference)
    return d


def pyr_down(x: np.ndarray) -> np.ndarray:
    taps = np.array([1, 4, 6, 4, 1]) / 16
    channels = [
        _convolved(x[:, :, c].astype(np.float64), np.outer(taps, taps), "reflect") for c in range(x.shape[2])
    ]
    return np.stack(channels, axis=2)[::2, ::2]
