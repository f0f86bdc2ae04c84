# SPDX-License-Identifier: Apache-2.0
"""Boxes by the definitions, one at a time."""

from __future__ import annotations

import numpy as np


def area(box: np.ndarray) -> np.floating:
    x1, y1, x2, y2 = box
    return box.dtype.type(0) if x2 <= x1 or y2 <= y1 else (x2 - x1) * (y2 - y1)


def iou(a: np.ndarray, b: np.ndarray) -> np.floating:
    """In the boxes' own type, every operation in the order of the definition."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return a.dtype.type(np.nan)
    zero = a.dtype.type(0)
    w = max(zero, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(zero, min(a[3], b[3]) - max(a[1], b[1]))
    intersection = w * h
    if intersection == 0:
        return zero
    return intersection / (area(a) + area(b) - intersection)


def box_iou(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    wide1, wide2 = boxes1.astype(np.float64), boxes2.astype(np.float64)
    return np.array([[iou(a, b) for b in wide2] for a in wide1]).reshape(len(boxes1), len(boxes2))


def nms(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float) -> list[int]:
    return batched_nms(boxes, scores, np.zeros(len(boxes), np.int64), iou_threshold)


def batched_nms(boxes: np.ndarray, scores: np.ndarray, idxs: np.ndarray, iou_threshold: float) -> list[int]:
    valid = [i for i in range(len(boxes)) if np.isfinite(boxes[i]).all() and not np.isnan(scores[i])]
    kept: list[int] = []
    for i in sorted(valid, key=lambda i: (-scores[i], i)):
        rivals = [k for k in kept if idxs[k] == idxs[i]]
        if not any(float(iou(boxes[k], boxes[i])) > iou_threshold for k in rivals):
            kept.append(i)
    return kept


def box_convert(boxes: np.ndarray, in_fmt: str, out_fmt: str) -> np.ndarray:
    a, b, c, d = np.moveaxis(boxes.astype(np.float64), -1, 0)
    x1, y1, x2, y2 = {
        "xyxy": (a, b, c, d),
        "xywh": (a, b, a + c, b + d),
        "cxcywh": (a - c / 2, b - d / 2, a + c / 2, b + d / 2),
    }[in_fmt]
    w, h = x2 - x1, y2 - y1
    rows = {"xyxy": (x1, y1, x2, y2), "xywh": (x1, y1, w, h), "cxcywh": (x1 + w / 2, y1 + h / 2, w, h)}[
        out_fmt
    ]
    return np.stack(rows, axis=-1)


def _smallest_around(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    return max(0.0, max(a[2], b[2]) - min(a[0], b[0])), max(0.0, max(a[3], b[3]) - min(a[1], b[1]))


def overlap(kind: str, a: np.ndarray, b: np.ndarray, eps: float) -> float:
    """One value of box_iou, box_iof, generalized_, distance_ or complete_box_iou."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    w, h = max(0.0, min(a[2], b[2]) - max(a[0], b[0])), max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    intersection = w * h
    union = float(area(a)) + float(area(b)) - intersection
    value = intersection / union if intersection > 0 else 0.0
    around_w, around_h = _smallest_around(a, b)
    if kind == "box_iof":
        return intersection / float(area(a)) if intersection > 0 else 0.0
    if kind == "generalized_box_iou":
        around = around_w * around_h
        return value - (around - union) / around if around > 0 else value
    if kind in ("distance_box_iou", "complete_box_iou"):
        distance = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
        diou = value - distance / (around_w**2 + around_h**2 + eps)
        if kind == "distance_box_iou":
            return diou
        turn = np.arctan((a[2] - a[0]) / (a[3] - a[1])) - np.arctan((b[2] - b[0]) / (b[3] - b[1]))
        v = 4 / np.pi**2 * turn**2
        return diou - v * v / (1 - value + v + eps)
    return value


def rotated_corners(box: np.ndarray) -> np.ndarray:
    """The corners of (cx, cy, w, h, degrees), (4, 2)."""
    cx, cy, w, h, degrees = box.astype(np.float64)
    angle = np.radians(degrees)
    u = np.array([np.cos(angle), -np.sin(angle)]) * w / 2
    v = np.array([np.sin(angle), np.cos(angle)]) * h / 2
    return np.array([cx, cy]) + np.array([-u - v, u - v, u + v, v - u])


def rotated_iou(a: np.ndarray, b: np.ndarray) -> float:
    """By clipping one polygon at the sides of the other (Sutherland and Hodgman)."""
    if min(a[2], a[3], b[2], b[3]) <= 0:
        return 0.0
    a, b = a.astype(np.float64), b.astype(np.float64)
    a[:2], b[:2] = 0, b[:2] - a[:2]  # far from the origin corners would round
    clip, polygon = rotated_corners(a), list(rotated_corners(b))
    for i in range(4):
        p, q = clip[i], clip[(i + 1) % 4]
        sides = [(q[0] - p[0]) * (c[1] - p[1]) - (q[1] - p[1]) * (c[0] - p[0]) for c in polygon]
        clipped = []
        for j, (c, side) in enumerate(zip(polygon, sides, strict=True)):
            following, its_side = polygon[(j + 1) % len(polygon)], sides[(j + 1) % len(polygon)]
            if side >= 0:
                clipped.append(c)
            if (side > 0 > its_side) or (side < 0 < its_side):
                clipped.append(c + (following - c) * (side / (side - its_side)))
        polygon = clipped
        if not polygon:
            return 0.0
    x, y = np.array(polygon).T
    intersection = abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) / 2
    areas = float(a[2]) * float(a[3]) + float(b[2]) * float(b[3])
    return float(intersection / (areas - intersection))


def greedy(iou_matrix: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    """Greedy suppression by given overlaps."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if not any(iou_matrix[k, i] > threshold for k in kept):
            kept.append(i)
    return kept


def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    method: str,
) -> tuple[list[int], list[float]]:
    wide = boxes.astype(np.float64)
    left = {i: float(s) for i, s in enumerate(scores) if np.isfinite(wide[i]).all() and s >= score_threshold}
    keep, values = [], []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        keep.append(best)
        values.append(left.pop(best))
        for i in list(left):
            overlap_of = float(iou(wide[best], wide[i]))
            if method == "gaussian":
                left[i] *= np.exp(-(overlap_of**2) / sigma)
            elif overlap_of > iou_threshold:
                left[i] = left[i] * (1 - overlap_of) if method == "linear" else -np.inf
            if left[i] < score_threshold:
                del left[i]
    return keep, values


def matrix_nms(
    iou_matrix: np.ndarray, scores: np.ndarray, idxs: np.ndarray, method: str, sigma: float
) -> np.ndarray:
    """The new score of every candidate, from the formula."""

    def weight(x: float) -> float:
        return float(np.exp(-sigma * x * x)) if method == "gaussian" else 1 - x

    new = scores.astype(np.float64)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    for place, j in enumerate(order):
        better = [i for i in order[:place] if idxs[i] == idxs[j]]
        factors = [1.0]
        for i in better:
            worst = max((iou_matrix[k, i] for k in better[: better.index(i)]), default=0.0)
            if weight(worst) > 0:
                factors.append(weight(iou_matrix[i, j]) / weight(worst))
        new[j] *= min(factors)
    return new
