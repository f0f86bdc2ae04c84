# SPDX-License-Identifier: Apache-2.0
"""The plane transform that takes the points of one picture to those of another."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision.ops._args import integer, real


def find_homography(
    src: Array,
    dst: Array,
    *,
    method: Literal["ransac", "least_squares"] = "ransac",
    threshold: float = 3.0,
    max_iterations: int = 2000,
    confidence: float = 0.995,
    seed: int = 0,
) -> tuple[Array | None, Array]:
    """The homography H with ``(u, v) ~ H (x, y, 1)`` for pairs of points, some of which are wrong.

    Args:
        src: (N, 2), float32 or float64: where points are.
        dst: (N, 2): where they are in the other picture.
        method: ``"ransac"`` looks for the transform most pairs agree with, and fits it to those;
            ``"least_squares"`` fits it to all.
        threshold: of ransac, in units of ``dst``: how far from where it should be an inlier may lie.
        max_iterations: of ransac: how many samples to draw at most.
        confidence: of ransac, in [0, 1): how certain it shall be that a sample without wrong pairs was drawn.
        seed: of ransac: the same seed gives the same result.

    Returns:
        H, float64 (3, 3) with ``H[2, 2] == 1``, or None where there is none: fewer than four pairs, or
        pairs on a line. And which pairs are inliers, bool (N,).

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: the shapes contradict each other, points are not finite, or an option is out of range.

    Sources: Fischler and Bolles, "Random sample consensus", CACM 1981; Chum, Matas and Kittler, "Locally
    optimized RANSAC", DAGM 2003.
    """
    return _find("find_homography", src, dst, method, threshold, max_iterations, confidence, seed)


def find_affine(
    src: Array,
    dst: Array,
    *,
    method: Literal["ransac", "least_squares"] = "ransac",
    threshold: float = 3.0,
    max_iterations: int = 2000,
    confidence: float = 0.995,
    seed: int = 0,
) -> tuple[Array | None, Array]:
    """:func:`find_homography` among affine transforms, which three pairs decide.

    The matrix A is (2, 3): ``(u, v) = A (x, y, 1)``.
    """
    matrix, inliers = _find("find_affine", src, dst, method, threshold, max_iterations, confidence, seed)
    return (None if matrix is None else matrix[:2]), inliers


def _find(
    op: str,
    src: Array,
    dst: Array,
    method: str,
    threshold: float,
    max_iterations: int,
    confidence: float,
    seed: int,
) -> tuple[Array | None, Array]:
    points = []
    for name, array in (("src", src), ("dst", dst)):
        p = as_numpy(array, op, name, ("float32", "float64"))
        if p.ndim != 2 or p.shape[1] != 2:
            raise ValueError(f"[{op}] expected {name} of shape (N, 2), got {p.shape}")
        points.append(np.ascontiguousarray(p, np.float64))
    if method not in ("ransac", "least_squares"):
        raise ValueError(f"[{op}] expected method to be 'ransac' or 'least_squares', got {method!r}")
    number = integer(seed, op, "seed")
    if number < 0:
        raise ValueError(f"[{op}] expected seed of at least 0, got {seed}")
    matrix, inliers = _core.find_transform(
        points[0],
        points[1],
        op == "find_affine",
        method == "ransac",
        real(threshold, op, "threshold"),
        integer(max_iterations, op, "max_iterations"),
        real(confidence, op, "confidence"),
        number,
    )
    return (None if matrix is None else result_like(matrix, src, dst)), result_like(inliers, src, dst)
