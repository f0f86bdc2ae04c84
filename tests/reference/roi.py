# SPDX-License-Identifier: Apache-2.0
"""Pooling of regions of interest in float64, one sample or pixel at a time, from the papers' definitions.

Maps are (N, H, W, C), results (K, bins, bins, C). Positions are computed in the dtype of ``boxes``. Averages
come with the same average of absolute values, which their float32 rounding error scales with.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np

from tests.reference.deform import bilinear

Pair = tuple[int, int]
Result = tuple[np.ndarray, np.ndarray]


def sample(image: np.ndarray, y: float, x: float) -> np.ndarray:
    """RoI Align's: 0 outside [-1, H] x [-1, W], on the border between there and the map."""
    h, w = image.shape[:2]
    if not (-1 <= y <= h and -1 <= x <= w):
        return np.zeros(image.shape[2:])
    return bilinear(image, min(max(y, 0.0), h - 1.0), min(max(x, 0.0), w - 1.0))


def positions(start: np.floating, size: np.floating, bins: int, ratio: int) -> list[list[np.floating]]:
    """Of the samples of each bin along one axis."""
    real = start.dtype.type
    bin_size = size / real(bins)
    count = ratio if ratio > 0 else max(0, math.ceil(bin_size))
    return [
        [start + real(b) * bin_size + (real(i) + real(0.5)) * bin_size / real(count) for i in range(count)]
        for b in range(bins)
    ]


def _sampled_box(
    box: np.ndarray, size: Pair, scale: float, ratio: int, aligned: bool
) -> tuple[list[list[np.floating]], list[list[np.floating]]]:
    real = box.dtype.type
    x1, y1, x2, y2 = box[1:5] * real(scale) - real(0.5 if aligned else 0)
    width, height = (x2 - x1, y2 - y1) if aligned else (max(x2 - x1, real(1)), max(y2 - y1, real(1)))
    return positions(y1, height, size[0], ratio), positions(x1, width, size[1], ratio)


def _mean(image: np.ndarray, points: list[tuple[float, float]]) -> Result:
    total, bound = np.zeros(image.shape[2]), np.zeros(image.shape[2])
    for y, x in points:
        total, bound = total + sample(image, y, x), bound + sample(abs(image), y, x)
    count = max(len(points), 1)
    return total / count, bound / count


def _bins(size: Pair) -> Iterator[Pair]:
    return np.ndindex(*size)  # type: ignore[return-value]


def roi_align(
    x: np.ndarray,
    boxes: np.ndarray,
    size: Pair,
    scale: float = 1.0,
    ratio: int = -1,
    aligned: bool = False,
    mode: str = "average",
) -> Result:
    y = np.zeros((len(boxes), *size, x.shape[3]))
    bound = np.zeros_like(y)
    for k, box in enumerate(boxes):
        image = x[int(box[0])].astype(np.float64)
        rows, columns = _sampled_box(box, size, scale, ratio, aligned)
        for ph, pw in _bins(size):
            points = [(float(v), float(u)) for v in rows[ph] for u in columns[pw]]
            y[k, ph, pw], bound[k, ph, pw] = _mean(image, points)
            if mode == "max":
                y[k, ph, pw] = max_of([sample(image, *p) for p in points], x.shape[3])
                bound[k, ph, pw] = max_of([sample(abs(image), *p) for p in points], x.shape[3])
    return y, bound


def max_of(values: list[np.ndarray], channels: int) -> np.ndarray:
    return np.max(values, axis=0) if values else np.zeros(channels)


def roi_align_rotated(
    x: np.ndarray, boxes: np.ndarray, size: Pair, scale: float = 1.0, ratio: int = -1, aligned: bool = True
) -> Result:
    real = boxes.dtype.type
    y = np.zeros((len(boxes), *size, x.shape[3]))
    bound = np.zeros_like(y)
    for k, box in enumerate(boxes):
        shift = real(0.5 if aligned else 0)
        cx, cy = box[1:3] * real(scale) - shift
        w, h = box[3:5] * real(scale) if aligned else np.maximum(box[3:5] * real(scale), real(1))
        turn = np.float64(box[5]) * np.pi / 180
        cos, sin = real(np.cos(turn)), real(np.sin(turn))
        rows, columns = positions(-h / 2, h, size[0], ratio), positions(-w / 2, w, size[1], ratio)
        for ph, pw in _bins(size):
            points = [
                (float(v * cos - u * sin + cy), float(v * sin + u * cos + cx))
                for v in rows[ph]
                for u in columns[pw]
            ]
            y[k, ph, pw], bound[k, ph, pw] = _mean(x[int(box[0])].astype(np.float64), points)
    return y, bound


def deform_roi_pool(
    x: np.ndarray,
    boxes: np.ndarray,
    offset: np.ndarray | None,
    size: Pair,
    scale: float = 1.0,
    ratio: int = -1,
    gamma: float = 0.1,
    mask: np.ndarray | None = None,
) -> Result:
    real = boxes.dtype.type
    y = np.zeros((len(boxes), *size, x.shape[3]))
    bound = np.zeros_like(y)
    for k, box in enumerate(boxes):
        rows, columns = _sampled_box(box, size, scale, ratio, True)
        width, height = (box[3:5] - box[1:3]) * real(scale)
        for ph, pw in _bins(size):
            dx, dy = (real(0), real(0)) if offset is None else offset[k, :, ph, pw]
            points = [
                (float(v + real(gamma) * height * dy), float(u + real(gamma) * width * dx))
                for v in rows[ph]
                for u in columns[pw]
            ]
            mean, magnitude = _mean(x[int(box[0])].astype(np.float64), points)
            factor = 1.0 if mask is None else float(mask[k, 0, ph, pw])
            y[k, ph, pw], bound[k, ph, pw] = factor * mean, abs(factor) * magnitude
    return y, bound


def own_channels(pooled: Callable[[np.ndarray], Result], x: np.ndarray, size: Pair) -> Result:
    """Position-sensitive: of the result of pooling all channels, each bin keeps those of its own."""
    bins = size[0] * size[1]
    results = []
    for y in pooled(x):
        own = np.zeros((*y.shape[:3], x.shape[3] // bins))
        for ph, pw in _bins(size):
            own[:, ph, pw] = y[:, ph, pw, ph * size[1] + pw :: bins]
        results.append(own)
    return results[0], results[1]


def _round(v: np.floating) -> np.floating:
    """Half away from zero, as C's."""
    return np.copysign(np.floor(abs(v) + v.dtype.type(0.5)), v)


def _ranges(start: np.floating, size: np.floating, bins: int, limit: int) -> list[range]:
    real = start.dtype.type
    step = size / real(bins)
    ends = [(np.floor(real(b) * step) + start, np.ceil(real(b + 1) * step) + start) for b in range(bins)]
    return [range(int(min(max(a, 0), limit)), int(min(max(b, 0), limit))) for a, b in ends]


def roi_pool(
    x: np.ndarray, boxes: np.ndarray, size: Pair, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The maxima and their places."""
    h, w, channels = x.shape[1:]
    y = np.zeros((len(boxes), *size, channels))
    argmax = np.full(y.shape, -1)
    for k, box in enumerate(boxes):
        x1, y1, x2, y2 = (_round(v) for v in box[1:5] * boxes.dtype.type(scale))
        one = boxes.dtype.type(1)
        rows = _ranges(y1, max(y2 - y1 + one, one), size[0], h)
        columns = _ranges(x1, max(x2 - x1 + one, one), size[1], w)
        for ph, pw in _bins(size):
            for c in range(channels):
                places = [(i, j) for i in rows[ph] for j in columns[pw]]
                if places:
                    i, j = max(places, key=lambda p: x[int(box[0]), p[0], p[1], c])
                    y[k, ph, pw, c], argmax[k, ph, pw, c] = x[int(box[0]), i, j, c], i * w + j
    return y, argmax


def mean_pool(x: np.ndarray, boxes: np.ndarray, size: Pair, scale: float = 1.0) -> Result:
    """What :func:`own_channels` makes position-sensitive RoI Pool of."""
    h, w, channels = x.shape[1:]
    y = np.zeros((len(boxes), *size, channels))
    bound = np.zeros_like(y)
    for k, box in enumerate(boxes):
        x1, y1, x2, y2 = (_round(v) for v in box[1:5] * boxes.dtype.type(scale))
        one = boxes.dtype.type(1)
        rows = _ranges(y1, max(y2 - y1, one), size[0], h - 1)
        columns = _ranges(x1, max(x2 - x1, one), size[1], w - 1)
        for ph, pw in _bins(size):
            pixels = x[int(box[0])][np.ix_(rows[ph], columns[pw])].astype(np.float64)
            if pixels.size:
                y[k, ph, pw], bound[k, ph, pw] = pixels.mean((0, 1)), abs(pixels).mean((0, 1))
    return y, bound


def prroi_pool(x: np.ndarray, boxes: np.ndarray, size: Pair, scale: float = 1.0) -> Result:
    """The integral of a bilinear cell is its value at the middle: each bin is cut at all pixel centres."""
    h, w, channels = x.shape[1:]
    y = np.zeros((len(boxes), *size, channels))
    bound = np.zeros_like(y)
    for k, box in enumerate(boxes.astype(np.float64)):
        image = x[int(box[0])].astype(np.float64)
        x1, y1, x2, y2 = box[1:5] * scale
        for ph, pw in _bins(size):
            pieces = [
                _pieces(a + (b - a) * i / n, a + (b - a) * (i + 1) / n, extent)
                for a, b, i, n, extent in ((y1, y2, ph, size[0], h), (x1, x2, pw, size[1], w))
            ]
            area = max(y2 - y1, 0) * max(x2 - x1, 0) / (size[0] * size[1])
            if area == 0:
                continue
            for (v, dv), (u, du) in ((a, b) for a in pieces[0] for b in pieces[1]):
                y[k, ph, pw] += bilinear(image, v, u) * dv * du / area
                bound[k, ph, pw] += bilinear(abs(image), v, u) * dv * du / area
    return y, bound


def _pieces(a: float, b: float, extent: int) -> list[tuple[float, float]]:
    """Middle and length of the parts of [a, b] between whole numbers, where the surface is not 0."""
    cuts = [a, *range(max(math.floor(a) + 1, -1), min(math.ceil(b), extent + 1)), b]
    return [((s + t) / 2, t - s) for s, t in itertools.pairwise(cuts) if t > s]
