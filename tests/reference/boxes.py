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
