# SPDX-License-Identifier: Apache-2.0
"""Optical flow between two pictures: at every pixel, or of points; and a picture of it.

A picture is as in :mod:`pyvision.features`, and so are many: each ``a`` with its ``b``, which gives a list. A
flow (u, v) at (x, y) says that what is there in the first
picture is at (x + u, y + v) in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision.features._arguments import grey_of, integer_in, over_each, real_in

__all__ = ["flow_to_color", "horn_schunck", "lucas_kanade"]

_Floats = npt.NDArray[np.float32]
_Tracks = tuple[Array, Array, Array]
_COARSEST = 12  # pixels: a level's least extent


def horn_schunck(
    a: Array, b: Array, *, alpha: float = 20.0, levels: int = 10, warps: int = 3, iterations: int = 150
) -> Array:
    """Dense flow by Horn and Schunck's method, from coarse to fine.

    Args:
        a: the first picture.
        b: the second, of the same extent.
        alpha: in [0.01, 1e4]: how smooth the flow is, in grey levels per pixel.
        levels: in [1, 32], of the pyramid, each half the extent of the one before; fewer for small pictures.
        warps: in [1, 1000]: how often each level brings ``b`` to ``a`` by the flow so far.
        iterations: in [1, 10000], for each of these.

    Returns:
        (H, W, 2) float32, u and v in pixels; a list of these for many pictures.

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: a shape or option is out of range.

    Sources: Horn and Schunck, "Determining optical flow", 1981; Meinhardt-Llopis, Sánchez and Kondermann,
    "Horn-Schunck optical flow with a multi-scale strategy", IPOL 2013.
    """
    op = "horn_schunck"
    depth = integer_in(levels, op, "levels", 1, 32)
    smoothness = real_in(alpha, op, "alpha", 0.01, 1e4)
    rounds = integer_in(warps, op, "warps", 1, 1000)
    steps = integer_in(iterations, op, "iterations", 1, 10_000)

    def run(a: Array, b: Array) -> Array:
        pyramids = _pyramids(a, b, depth, op)
        u = v = np.zeros_like(pyramids[-1][0])
        for first, second in reversed(pyramids):
            if u.shape != first.shape:
                u, v = (2 * _core.pyr_up(w[:, :, None], *first.shape)[:, :, 0] for w in (u, v))
            for _ in range(rounds):
                u, v = _core.horn_schunck(*_terms(first, second, u, v), u, v, smoothness, steps)
        return result_like(np.stack([u, v], axis=2), a, b)

    return over_each(op, run, a=a, b=b)


@overload
def lucas_kanade(
    a: list[Any] | tuple[Any, ...],
    b: Array,
    points: Array,
    *,
    initial: Array | None = None,
    window: int = 21,
    levels: int = 4,
    max_iterations: int = 30,
    epsilon: float = 0.01,
    min_eigenvalue: float = 1e-4,
) -> list[_Tracks]: ...
@overload
def lucas_kanade(
    a: Array,
    b: Array,
    points: Array,
    *,
    initial: Array | None = None,
    window: int = 21,
    levels: int = 4,
    max_iterations: int = 30,
    epsilon: float = 0.01,
    min_eigenvalue: float = 1e-4,
) -> _Tracks: ...
def lucas_kanade(
    a: Array,
    b: Array,
    points: Array,
    *,
    initial: Array | None = None,
    window: int = 21,
    levels: int = 4,
    max_iterations: int = 30,
    epsilon: float = 0.01,
    min_eigenvalue: float = 1e-4,
) -> _Tracks | list[_Tracks]:
    """Where points went, by Lucas and Kanade's method from coarse to fine, as ``cv2.calcOpticalFlowPyrLK``.

    Args:
        a: the first picture.
        b: the second, of the same extent.
        points: (N, 2) float32: x, y in ``a``; for many pictures a list of these or an array (B, N, 2).
        initial: (N, 2) float32: where to look in ``b`` first; at ``points`` without. Many as ``points``.
        window: side of the square that is followed, odd, in [3, 63].
        levels: in [1, 32], of the pyramid; OpenCV's ``maxLevel`` and one.
        max_iterations: in [1, 1000], at each level.
        epsilon: in [0, 10] pixels: a smaller step is the last.
        min_eigenvalue: of the window's gradients, on OpenCV's scale: points with less are lost.

    Returns:
        (N, 2) float32, x, y in ``b``; bool (N,), which points were found; and float32 (N,), the mean absolute
        difference of the windows, 0 for points that are lost; a list of these three for many pictures.

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: a shape or option is out of range.

    Source: Bouguet, "Pyramidal implementation of the affine Lucas Kanade feature tracker", 2001.
    """
    op = "lucas_kanade"
    side = integer_in(window, op, "window", 3, 63)
    if side % 2 == 0:
        raise ValueError(f"[{op}] expected window to be odd, got {window}")
    depth = integer_in(levels, op, "levels", 1, 32)
    limits = (
        side,
        integer_in(max_iterations, op, "max_iterations", 1, 1000),
        real_in(epsilon, op, "epsilon", 0, 10),
        real_in(min_eigenvalue, op, "min_eigenvalue", 0, 1e6),
    )

    def run(a: Array, b: Array, points: Array, initial: Array | None) -> _Tracks:
        at = _points(points, op, "points")
        start = at if initial is None else _points(initial, op, "initial")
        if start.shape != at.shape:
            raise ValueError(f"[{op}] expected initial of shape {at.shape}, got {start.shape}")
        pyramids = _pyramids(a, b, depth, op, least=side)
        found = np.asarray(np.isfinite(np.hstack([at, start])).all(axis=1))
        errors = np.zeros(len(at), np.float32)
        shifted = start * np.float32(0.5 ** len(pyramids))
        for level, (first, second) in reversed(list(enumerate(pyramids))):
            shifted *= 2
            scaled = at * np.float32(0.5**level)
            _core.lucas_kanade(
                first, second, scaled, shifted, found.view(np.uint8), errors, *limits, level == 0
            )
        return result_like(shifted, points), result_like(found, points), result_like(errors, points)

    return over_each(op, run, a=a, b=b, points=points, initial=initial)


def flow_to_color(flow: Array, *, max_flow: float | None = None) -> Array:
    """A flow as a picture: direction is the hue, length the saturation.

    Args:
        flow: (H, W, 2) float32. Pixels whose flow is not finite become black.
        max_flow: the length that is fully saturated, longer ones being darker; the longest without.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        TypeError: ``flow`` is not an array, or of another type.
        ValueError: it has another shape, or ``max_flow`` is not positive.

    Source: Baker, Scharstein, Lewis, Roth, Black and Szeliski, "A database and evaluation methodology for
    optical flow", IJCV 2011.
    """
    op = "flow_to_color"
    x = as_numpy(flow, op, "flow")
    if x.ndim != 3 or x.shape[2] != 2:
        raise ValueError(f"[{op}] expected flow of shape (H, W, 2), got {x.shape}")
    known = np.isfinite(x).all(axis=2)
    u, v = (np.where(known, x[:, :, k], 0).astype(np.float64) for k in range(2))
    length = np.hypot(u, v)
    if max_flow is None:
        limit = float(length.max(initial=0))
    else:
        limit = real_in(max_flow, op, "max_flow", 1e-30, 1e30)
    radius = length / limit if limit > 0 else length
    wheel = _color_wheel()
    turn = (np.arctan2(-v, -u) / np.pi + 1) / 2 * (len(wheel) - 1)
    first = turn.astype(np.int64)
    share = (turn - first)[:, :, None]
    colour = (1 - share) * wheel[first] + share * wheel[(first + 1) % len(wheel)]
    r = radius[:, :, None]
    colour = np.where(r <= 1, 1 - r * (1 - colour), 0.75 * colour)
    picture = np.where(known[:, :, None], np.floor(255 * colour), 0).astype(np.uint8)
    return result_like(picture, flow)


def _color_wheel() -> npt.NDArray[np.float64]:
    """(55, 3): from red over yellow, green, cyan, blue and magenta; more steps where eyes see more."""
    corners = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1], [1, 0, 1], [1, 0, 0]], float)
    arcs = [
        corners[k] + np.arange(steps)[:, None] / steps * (corners[k + 1] - corners[k])
        for k, steps in enumerate((15, 6, 4, 11, 13, 6))
    ]
    return np.concatenate(arcs)


def _points(points: Array, op: str, name: str) -> _Floats:
    p = as_numpy(points, op, name)
    if p.ndim != 2 or p.shape[1] != 2:
        raise ValueError(f"[{op}] expected {name} of shape (N, 2), got {p.shape}")
    return np.ascontiguousarray(p)


def _pyramids(
    a: Array, b: Array, levels: int, op: str, least: int = _COARSEST
) -> Sequence[tuple[_Floats, _Floats]]:
    """Both pictures as float32, and halved as often as ``levels`` and ``least`` extents of a level allow."""
    first, second = (_grey(image, op, name) for image, name in ((a, "a"), (b, "b")))
    if first.shape != second.shape:
        raise ValueError(f"[{op}] expected b of a's extent {first.shape}, got {second.shape}")
    pairs = [(first, second)]
    while len(pairs) < levels and min(pairs[-1][0].shape) >= 2 * least:
        halves = tuple(_core.pyr_down(image[:, :, None])[:, :, 0] for image in pairs[-1])
        pairs.append((halves[0], halves[1]))
    return pairs


def _grey(image: Array, op: str, name: str) -> _Floats:
    return np.ascontiguousarray(grey_of(image, op, name), np.float32)


def _terms(a: _Floats, b: _Floats, u: _Floats, v: _Floats) -> tuple[_Floats, _Floats, _Floats]:
    """Slopes along x and y, and the difference in time, of ``b`` brought to ``a``; 0 where it ends."""
    rows, columns = (np.arange(n, dtype=np.float32) for n in a.shape)
    x, y = columns + u, rows[:, None] + v
    brought = _core.remap(b[None, :, :, None], x, y, "bicubic", "replicate", [0.0])[0, :, :, 0]
    return _core.horn_schunck_terms(a, brought, u, v)
