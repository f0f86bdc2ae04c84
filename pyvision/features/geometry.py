# SPDX-License-Identifier: Apache-2.0
"""The plane transform that takes the points of one picture to those of another."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision._device import Device, Operand, device_of
from pyvision.features._on_device import read_back
from pyvision.ops._args import integer, real

_DTYPES = ("float32", "float64")
_FOUND, _BAD_SRC, _BAD_DST = 1, 2, 3  # what becomes of a call on CUDA


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
        max_iterations: of ransac, in [1, 2^31): how many samples to draw at most.
        confidence: of ransac, in [0, 1): how certain it shall be that a sample without wrong pairs was drawn.
        seed: of ransac: the same seed gives the same result.

    Returns:
        H, float64 (3, 3) with ``H[2, 2] == 1``, or None where there is none: fewer than four pairs, or
        pairs on a line. And which pairs are inliers, bool (N,). Of points on CUDA both stay there; whether
        there is a transform is read back, which waits for the stream.

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
    device = device_of(op, src=src, dst=dst)
    points = [_points(device, p, op, name) for name, p in (("src", src), ("dst", dst))]
    if method not in ("ransac", "least_squares"):
        raise ValueError(f"[{op}] expected method to be 'ransac' or 'least_squares', got {method!r}")
    number = integer(seed, op, "seed")
    if number < 0:
        raise ValueError(f"[{op}] expected seed of at least 0, got {seed}")
    options = (
        op == "find_affine",
        method == "ransac",
        real(threshold, op, "threshold"),
        integer(max_iterations, op, "max_iterations"),
        real(confidence, op, "confidence"),
        number,
    )
    if device is not None:
        return _find_on(device, op, points, options)
    matrix, inliers = _core.find_transform(points[0], points[1], *options)
    return (None if matrix is None else result_like(matrix, src, dst)), result_like(inliers, src, dst)


def _points(device: Device | None, points: Array, op: str, name: str) -> Any:
    """Points as the kernels take them: float64 on the CPU, an operand on a device.

    Raises:
        TypeError: they are not an array, or of another dtype than float32 and float64.
        ValueError: they have another shape than (N, 2).
    """
    p: np.ndarray | Operand = (
        as_numpy(points, op, name, _DTYPES) if device is None else device.take(points, op, name, _DTYPES)
    )
    if len(p.shape) != 2 or p.shape[1] != 2:
        raise ValueError(f"[{op}] expected {name} of shape (N, 2), got {p.shape}")
    return np.ascontiguousarray(p, np.float64) if isinstance(p, np.ndarray) else p


def _find_on(
    device: Device, op: str, points: list[Operand], options: tuple[Any, ...]
) -> tuple[Array | None, Array]:
    """The same on a device: whether there is a transform is read back, which waits for the stream."""
    src, dst = points
    search = device.kernels.TransformSearch(device.stream, src.view, dst.view, *options)
    matrix, inliers = device.empty((3, 3), "float64"), device.empty((src.shape[0],), "bool")
    status, workspace = device.empty((1,), "int32"), device.workspace(search.workspace_bytes)
    search.run(workspace.view, matrix.view, inliers.view, status.view)
    outcome = read_back(device, status)
    if outcome in (_BAD_SRC, _BAD_DST):
        name = "src" if outcome == _BAD_SRC else "dst"
        raise ValueError(f"[{op}] expected {name} to be finite and at most 1e15")
    return (device.give(matrix) if outcome == _FOUND else None), device.give(inliers)
