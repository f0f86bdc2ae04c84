# SPDX-License-Identifier: Apache-2.0
"""Masks, pixel by pixel."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np


def paste_mask(mask: np.ndarray, box: np.ndarray, height: int, width: int, padding: int) -> np.ndarray:
    """(M, M) within (4,) as float64 (height, width). Corners are found in float32: they are truncated."""
    size = len(mask) + 2 * padding
    bordered = np.zeros((size, size))
    bordered[padding : size - padding, padding : size - padding] = mask
    half, scale = np.float32(0.5), np.float32(size / len(mask))
    corner = []
    for axis in (0, 1):
        reach = (box[axis + 2] - box[axis]) * half * scale
        centre = (box[axis + 2] + box[axis]) * half
        corner.append((int(centre - reach), int(centre + reach)))
    (x1, x2), (y1, y2) = corner
    image = np.zeros((height, width))
    for y in range(max(0, y1), min(height, y2 + 1)):
        for x in range(max(0, x1), min(width, x2 + 1)):
            row = _position(y - y1, size, max(1, y2 - y1 + 1))
            column = _position(x - x1, size, max(1, x2 - x1 + 1))
            for r, weight_r in row:
                for c, weight_c in column:
                    image[y, x] += weight_r * weight_c * bordered[r, c]
    return image


def _position(index: int, size: int, length: int) -> list[tuple[int, float]]:
    """The two elements that one output element lies between, and their weights."""
    position = max(0.0, (index + 0.5) * size / length - 0.5)
    low = min(size - 1, int(position))
    return [(low, 1 - (position - low)), (min(size - 1, low + 1), position - low)]


def mask_to_box(mask: np.ndarray) -> list[int]:
    points = [(x, y) for y, row in enumerate(mask.tolist()) for x, value in enumerate(row) if value]
    if not points:
        return [0, 0, 0, 0]
    xs, ys = zip(*points, strict=True)
    return [min(xs), min(ys), max(xs), max(ys)]


def run_lengths(mask: np.ndarray) -> list[int]:
    """Down the columns, unset pixels first."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if bool(pixel) != value:
            runs.append(0)
            value = not value
        runs[-1] += 1
    return runs


def compress(runs: list[int]) -> bytes:
    """COCO's text: five bits a character, differences from the fourth length on."""
    text = bytearray()
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        while True:
            digit = value % 32
            value //= 32
            if value == (-1 if digit >= 16 else 0):
                text.append(48 + digit)
                break
            text.append(48 + 32 + digit)
    return bytes(text)


def iou(a: np.ndarray, b: np.ndarray, crowd: bool) -> float:
    a, b = a.astype(bool), b.astype(bool)
    both = int((a & b).sum())
    divisor = int(a.sum()) if crowd else int((a | b).sum())
    return both / divisor if both else 0.0


def polygon_mask(corners: np.ndarray, height: int, width: int) -> np.ndarray:
    """(K, 2) on a grid five times finer: where edges cross the middle of a column, its pixels begin or end.

    Of a crossing between two neighbouring points the upper one counts, and a pixel belongs to the part below
    it whose middle lies at it or beyond.
    """
    points: list[tuple[int, int]] = []
    fine = [(int(5 * x + 0.5), int(5 * y + 0.5)) for x, y in corners.tolist()]
    for start, end in zip(fine, fine[1:] + fine[:1], strict=True):
        points += _edge(start, end)
    begins = np.zeros((height, width), int)
    for (u, v), (next_u, next_v) in pairwise(points):
        if u == next_u:
            continue
        column, top = (min(u, next_u) - 2) / 5, math.ceil((min(v, next_v) - 2) / 5)
        if column != int(column) or not 0 <= column < width or top >= height:
            continue
        begins[max(0, top), int(column)] += 1
    return np.cumsum(begins, axis=0) % 2 == 1


def _edge(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """Its points at every step of the longer axis, computed from the end with the lower coordinate."""
    along = 0 if abs(end[0] - start[0]) >= abs(end[1] - start[1]) else 1
    low, high = sorted((start, end), key=lambda point: point[along])
    steps = high[along] - low[along]
    points = []
    for t in range(steps + 1):
        across = low[1 - along] + ((high[1 - along] - low[1 - along]) / steps if steps else 0.0) * t
        point = (low[along] + t, int(across + 0.5))
        points.append(point if along == 0 else point[::-1])
    return points if low == start else points[::-1]
