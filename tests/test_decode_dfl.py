# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from pyvision.postprocess import decode_dfl
from tests.helpers import EPS, random
from tests.reference import decode_dfl as reference


def maps(height: int, width: int, classes: int, bins: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    scores = np.random.default_rng(seed).random((height * width, classes)).astype(np.float32)
    return scores, random((height * width, 4 * bins), 3, seed)


def check(scores: np.ndarray, distances: np.ndarray, **options: Any) -> None:
    boxes, kept_scores, labels = decode_dfl(scores, distances, **options)
    expected_boxes, expected_scores, expected_labels = reference.decode_dfl(scores, distances, **options)
    assert (boxes.dtype, kept_scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_array_equal(kept_scores, expected_scores)
    # Softmax and expectation sum `bins` terms each; a box adds one rounding at its coordinates' size.
    bins = distances.shape[1] // 4
    largest = max(np.abs(expected_boxes).max(initial=0), bins * options["stride"])
    np.testing.assert_allclose(boxes, expected_boxes, rtol=0, atol=(2 * bins + 8) * EPS * largest)


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.3, 0.9, 1.0, np.inf])
@pytest.mark.parametrize(
    ("height", "width", "classes", "bins"), [(1, 1, 1, 1), (3, 5, 1, 2), (7, 4, 17, 8), (13, 13, 80, 11)]
)
def test_equals_the_reference(height: int, width: int, classes: int, bins: int, threshold: float) -> None:
    scores, distances = maps(height, width, classes, bins)
    check(scores, distances, stride=16, width=width, score_threshold=threshold)


def test_threshold_is_strict_and_nan_scores_are_no_detections() -> None:
    scores = np.array([[0.5, np.nan], [np.nextafter(np.float32(0.5), np.float32(1)), 0.4]], np.float32)
    _, kept, labels = decode_dfl(scores, random((2, 8)), stride=8, width=2, score_threshold=0.5)
    assert (kept.tolist(), labels.tolist()) == ([scores[1, 0]], [0])


def test_large_logits_do_not_overflow() -> None:
    distances = np.full((1, 16), -3e38, np.float32)
    distances[0, [0, 5, 10, 15]] = 3e38  # all the weight on bins 0, 1, 2, 3
    boxes, _, _ = decode_dfl(np.ones((1, 1), np.float32), distances, stride=8, width=1, score_threshold=0.5)
    assert boxes.tolist() == [[4.0, 4.0 - 8, 4.0 + 16, 4.0 + 24]]


def test_nanodet_reference_finds_the_astronaut(shared: Path) -> None:
    outputs = np.load(shared / "models" / "nanodet_g_coco" / "reference_astronaut.npz")
    parts = []
    for stride in (8, 16, 32):
        scores, distances = outputs[f"cls_stride{stride}"][0], outputs[f"reg_stride{stride}"][0]
        options = {"stride": stride, "width": 416 // stride, "score_threshold": 0.4}
        check(scores, distances, **options)
        parts.append(decode_dfl(scores, distances, **options))
    boxes, scores, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    best = ops.batched_nms(boxes, scores, labels, 0.6)[0]
    assert labels[best] == 0
    np.testing.assert_allclose(scores[best], 0.734, atol=5e-4)
    np.testing.assert_allclose(boxes[best], [11.6, 11.7, 295.9, 412.7], atol=0.06)


def test_empty_maps() -> None:
    for scores, distances in (maps(0, 4, 3, 2), maps(2, 4, 0, 2)):
        boxes, kept, labels = decode_dfl(scores, distances, stride=8, width=4, score_threshold=0.0)
        assert (boxes.shape, kept.shape, labels.shape) == ((0, 4), (0,), (0,))


def test_any_strides() -> None:
    scores, distances = maps(3, 4, 5, 6)
    options = {"stride": 8, "width": 4, "score_threshold": 0.5}
    expected = decode_dfl(scores, distances, **options)
    frozen = scores.copy()
    frozen.flags.writeable = False
    for other in (np.asfortranarray(scores), scores[::-1][::-1], scores.astype(">f4"), frozen):
        for result, same in zip(
            decode_dfl(other, np.asfortranarray(distances), **options), expected, strict=True
        ):
            np.testing.assert_array_equal(result, same)


SCORES, DISTANCES = maps(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"scores": [[0.5]]}, TypeError, "scores to be an array"),
        ({"scores": SCORES.astype(np.float64)}, TypeError, "scores of dtype float32"),
        ({"distances": DISTANCES.astype(np.int32)}, TypeError, "distances of dtype float32"),
        ({"scores": SCORES[0]}, ValueError, r"scores of shape \(A, classes\)"),
        ({"distances": DISTANCES[:5]}, ValueError, r"distances of shape \(6, 4 \* bins\)"),
        ({"distances": DISTANCES[:, :19]}, ValueError, "distances of shape"),
        ({"distances": DISTANCES[:, :0]}, ValueError, "distances of shape"),
        ({"distances": DISTANCES.ravel()}, ValueError, "distances of shape"),
        ({"stride": 0}, ValueError, "stride to be positive, got 0"),
        ({"stride": 8.0}, TypeError, "stride to be an integer"),
        ({"width": 0}, ValueError, "width to divide the 6 anchors, got 0"),
        ({"width": 4}, ValueError, "width to divide the 6 anchors, got 4"),
        ({"width": -3}, ValueError, "width to divide"),
        ({"score_threshold": np.nan}, ValueError, "score_threshold to be a number"),
        ({"score_threshold": None}, TypeError, "score_threshold to be a number"),
    ],
)
def test_bad_arguments(changes: dict[str, Any], error: type, message: str) -> None:
    arguments: dict[str, Any] = {
        "scores": SCORES, "distances": DISTANCES, "stride": 8, "width": 3, "score_threshold": 0.5, **changes
    }  # fmt: skip
    with pytest.raises(error, match=rf"^\[decode_dfl\] expected {message}"):
        decode_dfl(arguments.pop("scores"), arguments.pop("distances"), **arguments)
