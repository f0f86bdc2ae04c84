# SPDX-License-Identifier: Apache-2.0
"""Homographies made exact: by what pictures show rather than by their keypoints.

Baker and Matthews, "Lucas-Kanade 20 years on: a unifying framework", IJCV 2004: the inverse compositional
way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pyvision import _core

_Pixels = npt.NDArray[np.uint8]
_Matrix = npt.NDArray[np.float64]

_SAMPLES = 20_000
_LEAST = 200
_ITERATIONS = 20
_MARGIN = 4  # pixels beside the edges, which the blur has mixed with what it made up
_FARTHEST = 6.0  # pixels that a good homography may move by


def refine_homography(a: _Pixels, b: _Pixels, matrix: _Matrix) -> tuple[_Matrix, _Matrix] | None:
    """The homography near ``matrix`` that makes ``b`` most like ``a``, up to brightness and contrast.

    Least squares over pixels of ``a`` where it has slopes; those that fit badly, as what moved does, are left
    out.

    Args:
        a: grey (H, W).
        b: grey, of any extent.
        matrix: (3, 3), from ``a`` to ``b``, good to a few pixels.

    Returns:
        The homography and pixels of ``a`` it is known at, (N, 2) x, y; or None where the pictures have too
        little in common.
    """
    blurred = _core.blur_grey(a).astype(np.float32)
    other = _core.blur_grey(b).astype(np.float32)[None, :, :, None]
    if min(a.shape) <= 2 * _MARGIN:
        return None
    slope_y, slope_x = (np.asarray(np.gradient(blurred, axis=axis)) for axis in (0, 1))
    points = _sloped(slope_x, slope_y, matrix, b.shape)
    if len(points) < _LEAST:
        return None
    x, y = points.T
    level, gx, gy = (image[y, x].astype(np.float64) for image in (blurred, slope_x, slope_y))

    # In coordinates about the points' centre, of unit spread.
    centre, spread = points.mean(axis=0), max(float(points.std()), 1.0)
    unit = np.array([[1 / spread, 0, -centre[0] / spread], [0, 1 / spread, -centre[1] / spread], [0, 0, 1]])
    p, q = ((points - centre) / spread).T
    gx, gy = gx * spread, gy * spread
    along = gx * p + gy * q
    design = np.stack(
        [gx * p, gx * q, gx, gy * p, gy * q, gy, -along * p, -along * q, level, np.ones_like(level)], axis=1
    )
    current = matrix @ np.linalg.inv(unit)
    start = _projected(current, p, q)
    weight = np.ones(len(level), bool)
    for _ in range(_ITERATIONS):
        u, v = _projected(current, p, q)
        there = _core.remap(
            other, u[None].astype(np.float32), v[None].astype(np.float32), "bicubic", "replicate", [0.0]
        )
        rest = there[0, 0, :, 0] - level
        kept = design[weight]
        normal = kept.T @ kept
        # A trace of damping: what the points do not decide stays as it is.
        step = np.linalg.solve(normal + 1e-9 * np.diag(normal.diagonal() + 1), kept.T @ rest[weight])
        off = np.abs(rest - design @ step)
        weight = off <= 3 * 1.4826 * np.median(off) + 1e-3  # standard deviations, if most are as they should
        change = np.append(step[:8], 0).reshape(3, 3) + np.eye(3)
        current = current @ np.linalg.inv(change)
        moved = np.abs(_projected(current, p, q) - np.stack([u, v])).max()
        if not np.isfinite(moved) or np.abs(_projected(current, p, q) - start).max() > _FARTHEST:
            return None
        if moved < 1e-3:
            break
    return current @ unit, points[weight].astype(np.float64)


def _sloped(
    slope_x: npt.NDArray[np.float32],
    slope_y: npt.NDArray[np.float32],
    matrix: _Matrix,
    shape: tuple[int, ...],
) -> npt.NDArray[np.int64]:
    """(N, 2) x, y: pixels that the other picture has too, evenly chosen from those that say something."""
    y, x = np.mgrid[
        _MARGIN : max(slope_x.shape[0] - _MARGIN, 0), _MARGIN : max(slope_x.shape[1] - _MARGIN, 0)
    ]
    u, v = _projected(matrix, x.ravel(), y.ravel())
    inside = (u >= _MARGIN) & (v >= _MARGIN) & (u <= shape[1] - 1 - _MARGIN) & (v <= shape[0] - 1 - _MARGIN)
    x, y = x.ravel()[inside], y.ravel()[inside]
    strength = slope_x[y, x] ** 2 + slope_y[y, x] ** 2
    least = max(float(strength.mean()), 1e-6) if len(x) else 0.0  # nothing is to be learnt where all is flat
    chosen = np.flatnonzero(strength >= least)
    chosen = chosen[:: max(1, len(chosen) // _SAMPLES)]
    return np.stack([x[chosen], y[chosen]], axis=1)


def _projected(matrix: _Matrix, x: np.ndarray, y: np.ndarray) -> _Matrix:
    """(2, N); not finite where they lie behind."""
    u, v, w = (matrix[k, 0] * x + matrix[k, 1] * y + matrix[k, 2] for k in range(3))
    w = np.where(w * matrix[2, 2] > 0, w, np.nan)
    return np.stack([u / w, v / w])
