# SPDX-License-Identifier: Apache-2.0
"""Distribution focal loss decoding in float64, detection by detection."""

from __future__ import annotations

import numpy as np


def decode_dfl(
    scores: np.ndarray, distances: np.ndarray, stride: int, width: int, score_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    boxes, labels = [], []
    anchors, classes = np.nonzero(scores > np.float32(score_threshold))
    for anchor, label in zip(anchors, classes, strict=True):
        logits = distances[anchor].reshape(4, -1).astype(np.float64)
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        left, top, right, bottom = probabilities @ np.arange(logits.shape[1]) * stride
        x, y = (anchor % width + 0.5) * stride, (anchor // width + 0.5) * stride
        boxes.append((x - left, y - top, x + right, y + bottom))
        labels.append(label)
    return np.array(boxes).reshape(-1, 4), scores[anchors, classes], np.array(labels, np.int64)
