# SPDX-License-Identifier: Apache-2.0
"""Corners, ORB and matching from their definitions, in plain loops."""

from __future__ import annotations

import math

import numpy as np

# The circles of FAST, (x, y) from the centre, each pixel beside the one before.
CIRCLES = {
    "9-16": [
        *((0, 3), (1, 3), (2, 2), (3, 1), (3, 0), (3, -1), (2, -2), (1, -3)),
        *((0, -3), (-1, -3), (-2, -2), (-3, -1), (-3, 0), (-3, 1), (-2, 2), (-1, 3)),
    ],
    "7-12": [
        *((0, 2), (1, 2), (2, 1), (2, 0), (2, -1), (1, -2)),
        *((0, -2), (-1, -2), (-2, -1), (-2, 0), (-2, 1), (-1, 2)),
    ],
    "5-8": [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)],
}


def fast(
    image: np.ndarray, threshold: int, circle: str, suppress: bool
) -> tuple[list[tuple[int, int]], list[int]]:
    """Corners (x, y) row by row, and their scores."""
    ring = CIRCLES[circle]
    arc = len(ring) // 2 + 1
    height, width = image.shape
    pixels = image.astype(int)
    scores = np.full((height, width), -1)
    for y in range(3, height - 3):
        for x in range(3, width - 3):
            differences = [pixels[y + dy, x + dx] - pixels[y, x] for dx, dy in ring]
            best = max(
                min(sign * differences[(start + i) % len(ring)] for i in range(arc))
                for sign in (1, -1)
                for start in range(len(ring))
            )
            if best > threshold:
                scores[y, x] = best - 1
    corners = [(int(x), int(y)) for y, x in np.argwhere(scores >= 0)]
    if suppress:
        corners = [
            (x, y)
            for x, y in corners
            if all(
                scores[y, x] > max(scores[y + dy, x + dx], 0)
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
                if (dy, dx) != (0, 0)
            )
        ]
    return corners, [int(scores[y, x]) for x, y in corners]


def blur(image: np.ndarray) -> np.ndarray:
    """Seven taps of a Gaussian with sigma 2 in 256ths along both axes, rounded once, half up."""
    taps = np.array([18, 34, 48, 56, 48, 34, 18])
    padded = image.astype(np.int64)
    for axis in (0, 1):
        n = image.shape[axis]
        index = [_mirrored(i, n) for i in range(-3, n + 3)]
        wide = np.take(padded, index, axis)
        padded = sum(tap * np.take(wide, np.arange(i, i + n), axis) for i, tap in enumerate(taps))
    return ((padded + (1 << 15)) >> 16).astype(np.uint8)


def _mirrored(i: int, n: int) -> int:
    if n == 1:
        return 0
    i %= 2 * (n - 1)
    return min(i, 2 * (n - 1) - i)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear, half-pixel centres, weights in 256ths, rounded once, half up."""

    def axis(extent: int, out: int) -> list[tuple[int, int, int]]:
        taps = []
        for i in range(out):
            position = min(max((i + 0.5) * (extent / out) - 0.5, 0), extent - 1)
            first = int(position)
            taps.append((first, min(first + 1, extent - 1), round((position - first) * 256)))
        return taps

    out = np.empty((height, width), np.uint8)
    x = image.astype(int)
    for i, (top, bottom, wy) in enumerate(axis(image.shape[0], height)):
        for j, (left, right, wx) in enumerate(axis(image.shape[1], width)):
            up = x[top, left] * (256 - wx) + x[top, right] * wx
            down = x[bottom, left] * (256 - wx) + x[bottom, right] * wx
            out[i, j] = (up * (256 - wy) + down * wy + (1 << 15)) >> 16
    return out


def harris(image: np.ndarray, x: int, y: int) -> float:
    pixels = image.astype(int)
    xx = yy = xy = 0
    for i in range(y - 3, y + 4):
        for j in range(x - 3, x + 4):
            around = pixels[i - 1 : i + 2, j - 1 : j + 2]
            dx = np.dot((1, 2, 1), around[:, 2] - around[:, 0])
            dy = np.dot((1, 2, 1), around[2] - around[0])
            xx, yy, xy = xx + dx * dx, yy + dy * dy, xy + dx * dy
    return float(xx * yy - xy * xy - 0.04 * (xx + yy) ** 2) / (4 * 7 * 255) ** 4


def orientation(image: np.ndarray, x: int, y: int) -> float:
    """Degrees in [0, 360): the direction of the centroid of a disc of radius 15."""
    half_width = [15, 15, 15, 15, 14, 14, 14, 13, 13, 12, 11, 10, 9, 8, 6, 3]
    m10 = m01 = 0
    for dy in range(-15, 16):
        for dx in range(-half_width[abs(dy)], half_width[abs(dy)] + 1):
            m10 += dx * int(image[y + dy, x + dx])
            m01 += dy * int(image[y + dy, x + dx])
    return math.degrees(math.atan2(m01, m10)) % 360


def brief(blurred: np.ndarray, x: int, y: int, angle: float, pattern: np.ndarray) -> np.ndarray:
    """Bytes of the tests ``pattern`` (4, tests): ax, ay, bx, by."""
    cosine, sine = (np.float32(f(math.radians(angle))) for f in (math.cos, math.sin))

    def pixel(px: np.float32, py: np.float32) -> int:
        column, row = np.rint(px * cosine - py * sine), np.rint(px * sine + py * cosine)
        return int(blurred[y + int(row), x + int(column)])

    bits = [pixel(ax, ay) < pixel(bx, by) for ax, ay, bx, by in pattern.astype(np.float32).T]
    return np.packbits(bits, bitorder="little")


def distances(a: np.ndarray, b: np.ndarray, metric: str) -> np.ndarray:
    """(N_a, N_b), float64."""
    if metric == "hamming":
        return np.unpackbits(a[:, None] ^ b[None], axis=2).sum(axis=2).astype(np.float64)
    difference = a.astype(np.float64)[:, None] - b.astype(np.float64)[None]
    return np.abs(difference).sum(axis=2) if metric == "l1" else np.sqrt((difference**2).sum(axis=2))
