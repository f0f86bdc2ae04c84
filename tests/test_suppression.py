# SPDX-License-Identifier: Apache-2.0
"""soft_nms, matrix_nms, mask_nms, weighted_boxes_fusion; nms' bounds on its output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import check_threads_agree
from tests.reference import boxes as reference

DTYPES = ["float32", "float64"]
METHODS = ["linear", "gaussian", "hard"]

Run = Callable[..., Any]
"""run(op's name, *arrays, **options): arrays and results on the host, whatever device has the op."""


def run(op: str, *arrays: np.ndarray | None, **options: Any) -> Any:
    return getattr(ops, op)(*arrays, **options)


def clustered(n: int, dtype: str = "float32", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around five objects, and scores in (0, 1)."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (5, 2))[rng.integers(0, 5, n)] + rng.normal(0, 6, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 40, (n, 2))], axis=1).astype(dtype)
    return boxes, rng.uniform(0.01, 1, n).astype(dtype)


def check_soft_nms(run: Run, n: int, dtype: str, method: str, score_threshold: float) -> None:
    boxes, scores = clustered(n, dtype, n)
    options = {"iou_threshold": 0.3, "sigma": 0.5, "score_threshold": score_threshold, "method": method}
    keep, values = run("soft_nms", boxes, scores, **options)
    expected_keep, expected = reference.soft_nms(boxes, scores, **options)
    assert (keep.dtype, values.dtype) == (np.int64, dtype)
    assert keep.tolist() == expected_keep
    # Each of up to n factors rounds, an exponential within 2 ulp.
    np.testing.assert_allclose(values, expected, rtol=8 * (n + 1) * np.finfo(dtype).eps)
    assert run("soft_nms", boxes, scores, **options, max_output=2)[0].tolist() == expected_keep[:2]


def check_any_scale(run: Run, op: str, scale: float) -> None:
    boxes, scores = clustered(40)
    keep, values = run(op, boxes, scores)
    scaled_keep, scaled = run(op, boxes * np.float32(scale), scores)
    np.testing.assert_array_equal(scaled_keep, keep)
    np.testing.assert_allclose(scaled, values, rtol=1e-4)


def check_matrix_nms(run: Run, dtype: str, method: str, classes: int) -> None:
    boxes, scores = clustered(90, dtype, 2)
    boxes[60] = boxes[61]
    idxs = np.random.default_rng(3).integers(0, classes, 90)
    expected = reference.matrix_nms(reference.box_iou(boxes, boxes), scores, idxs, method, 2.0)
    for given in (idxs, None) if classes == 1 else (idxs,):
        keep, new = run("matrix_nms", boxes, scores, given, method=method)
        assert sorted(keep.tolist()) == list(range(90))
        assert (np.diff(new) <= 0).all()
        np.testing.assert_allclose(new, expected[keep], rtol=2000 * np.finfo(dtype).eps, atol=1e-7)
    few, values = run("matrix_nms", boxes, scores, idxs, method=method, score_threshold=0.2, max_output=7)
    np.testing.assert_array_equal(few, keep[:7])
    np.testing.assert_array_equal(values, new[:7])
    assert (values >= 0.2).all()
    assert len(run("matrix_nms", boxes, scores, idxs, method=method, score_threshold=2.0)[0]) == 0


def check_mask_matrix_nms(run: Run, method: str) -> None:
    masks, scores = masks_and_scores(40, 15, 18)
    idxs = np.arange(40) % 2
    expected = reference.matrix_nms(mask_iou(masks), scores, idxs, method, 2.0)
    keep, new = run("mask_matrix_nms", masks, scores, idxs, method=method)
    assert sorted(keep.tolist()) == list(range(40))
    np.testing.assert_allclose(new, expected[keep], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 33, 120])
def test_soft_nms(isa: str, dtype: str, method: str, n: int) -> None:
    check_soft_nms(run, n, dtype, method, 0.05)


def test_soft_nms_by_the_hard_method_is_nms() -> None:
    boxes, scores = clustered(300)
    keep, values = ops.soft_nms(boxes, scores, 0.4, score_threshold=-1.0, method="hard")
    np.testing.assert_array_equal(keep, ops.nms(boxes, scores, 0.4))
    np.testing.assert_array_equal(values, scores[keep])


@pytest.mark.parametrize("method", METHODS)
def test_soft_nms_of_ties_and_boxes_that_take_no_part(isa: str, method: str) -> None:
    box = [0, 0, 4, 4]
    boxes = np.array([[0, 0, np.inf, 4], box, [9, 9, 12, 12], box, box, [20, 20, 19, 30]], np.float32)
    scores = np.array([1, 0.5, 0.5, np.nan, 0.5, 0.5], np.float32)
    keep, values = ops.soft_nms(boxes, scores, method=method)
    first = [1, 2, 5]
    # The third is box 4 again: linear lowers it to 0, gaussian by e^-2.
    assert keep.tolist() == ([*first, 4] if method == "gaussian" else first)
    np.testing.assert_allclose(values, [0.5] * 3 + [0.5 * np.exp(-2)] * (len(keep) - 3), rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
@pytest.mark.parametrize("op", ["soft_nms", "matrix_nms"])
def test_scores_fall_alike_at_any_scale(isa: str, op: str, scale: float) -> None:
    check_any_scale(run, op, scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["linear", "gaussian"])
@pytest.mark.parametrize("classes", [1, 3])
def test_matrix_nms(isa: str, dtype: str, method: str, classes: int) -> None:
    check_matrix_nms(run, dtype, method, classes)


def masks_and_scores(n: int, height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, height, width), bool)
    for mask in masks[: n - 1]:  # the last stays empty
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[max(0, y - 6) : y + 6, max(0, x - 6) : x + 6] = rng.random() < 0.9
    masks[0, 0, 0] = masks[1, -1, -1] = True
    return masks, rng.random(n).astype(np.float32)


def mask_iou(masks: np.ndarray) -> np.ndarray:
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    both = flat @ flat.T
    union = flat.sum(1)[:, None] + flat.sum(1) - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (13, 5), (20, 31)])
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 1.0])
def test_mask_nms(threads: int, shape: tuple[int, int], threshold: float) -> None:
    masks, scores = masks_and_scores(60, *shape)
    expected = reference.greedy(mask_iou(masks), scores, threshold)
    values = np.where(masks, np.random.default_rng(1).integers(1, 256, masks.shape), 0).astype(np.uint8)
    for same in (masks, values, np.asfortranarray(masks)):
        assert ops.mask_nms(same, scores, threshold).tolist() == expected
    assert ops.mask_nms(masks, scores, threshold, max_output=2).tolist() == expected[:2]
    idxs = np.arange(60) % 4
    apart = np.where(idxs[:, None] == idxs, mask_iou(masks), 0)
    assert ops.mask_nms(masks, scores, threshold, idxs=idxs).tolist() == reference.greedy(
        apart, scores, threshold
    )


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_mask_matrix_nms(method: str) -> None:
    check_mask_matrix_nms(run, method)


def test_weighted_boxes_fusion_by_hand() -> None:
    first = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float64)
    second = np.array([[2, 0, 12, 10], [0, 0, 10, 10]], np.float64)
    scores = [np.array([0.8, 0.3]), np.array([0.4, 0.9])]
    labels = [np.array([1, 1]), np.array([1, 2])]

    def fuse(**options: Any) -> tuple[list[Any], list[float], list[int]]:
        boxes, values, kinds = ops.weighted_boxes_fusion([first, second], scores, labels, **options)
        return boxes.tolist(), values.round(12).tolist(), kinds.tolist()

    third = 2 * 0.4 / 1.2
    boxes, values, kinds = fuse()
    np.testing.assert_allclose(boxes, [[third, 0, 10 + third, 10], [0, 0, 10, 10], [50, 50, 60, 60]])
    assert (values, kinds) == ([0.6, 0.45, 0.15], [1, 2, 1])
    assert fuse(conf_type="max")[1] == [0.9, 0.8, 0.3]
    assert fuse(skip_box_thr=0.35)[2] == [1, 2]
    assert fuse(iou_thr=0.9)[1] == [0.45, 0.4, 0.2, 0.15]
    # A model of weight 3 pulls its box three times as hard.
    pulled = fuse(weights=[1, 3])
    np.testing.assert_allclose(pulled[0][1], [2 * 1.2 / 2, 0, 10 + 2 * 1.2 / 2, 10])
    np.testing.assert_allclose(pulled[1], [0.9 * 3 / 4, 2.0 / 4, 0.3 / 4])
    assert fuse(weights=np.array([1, 3])) == pulled
    assert fuse(max_output=2) == tuple(part[:2] for part in fuse())
    # sum(c) / members' weight, times the models' share; or over the absent models' weight too
    np.testing.assert_allclose(fuse(conf_type="box_and_model_avg", weights=[1, 3])[1], [0.675, 0.5, 0.075])
    np.testing.assert_allclose(
        fuse(conf_type="absent_model_aware_avg", weights=[1, 3])[1], [0.675, 0.5, 0.075]
    )


def test_weighted_boxes_fusion_of_one_model_counts_members() -> None:
    box = np.tile(np.array([0, 0, 4, 4], np.float32), (3, 1))
    lists = [box], [np.full(3, 0.5, np.float32)], [np.zeros(3, np.int32)]
    boxes, scores, labels = ops.weighted_boxes_fusion(*lists)
    assert (boxes.tolist(), scores.tolist(), labels.tolist()) == ([[0, 0, 4, 4]], [0.5], [0])
    assert ops.weighted_boxes_fusion(*lists, allows_overflow=True)[1].tolist() == [1.5]
    empty = ops.weighted_boxes_fusion([box[:0]], [np.empty(0, np.float32)], [np.empty(0, np.int64)])
    assert [part.shape for part in empty] == [(0, 4), (0,), (0,)]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"boxes_list": np.zeros((1, 2, 4))}, TypeError, "boxes_list to be a list"),
        ({"boxes_list": []}, ValueError, "boxes_list to hold one array per model"),
        ({"scores_list": []}, ValueError, "scores_list to hold one array per model, got 0 for 1"),
        ({"labels_list": None}, TypeError, "labels_list to be a list"),
        ({"boxes_list": [np.zeros((2, 5))]}, ValueError, r"boxes_list\[0\] of shape \(N, 4\)"),
        ({"scores_list": [np.zeros(2, np.float32)]}, TypeError, r"scores_list\[0\] of dtype float64"),
        ({"scores_list": [np.zeros(3)]}, ValueError, r"scores_list\[0\] of shape \(2,\)"),
        ({"labels_list": [np.zeros(2)]}, TypeError, r"labels_list\[0\] of dtype int64 or int32"),
        ({"weights": [1, 1]}, ValueError, "weights to be a list of 1 numbers"),
        ({"weights": [0]}, ValueError, "weights to be finite and positive"),
        ({"weights": ["1"]}, TypeError, "weights to be a number"),
        ({"iou_thr": 1.5}, ValueError, "iou_thr in"),
        ({"iou_thr": np.nan}, ValueError, "iou_thr in"),
        ({"skip_box_thr": np.nan}, ValueError, "skip_box_thr to be finite"),
        ({"conf_type": "mean"}, ValueError, "conf_type to be avg, .*, got 'mean'"),
        ({"conf_type": None}, TypeError, "conf_type to be a string"),
        ({"allows_overflow": 1}, TypeError, "allows_overflow to be a bool"),
    ],
)
def test_weighted_boxes_fusion_refuses(changes: dict[str, Any], error: type, message: str) -> None:
    arguments: dict[str, Any] = {
        "boxes_list": [np.zeros((2, 4))],
        "scores_list": [np.zeros(2)],
        "labels_list": [np.zeros(2, np.int64)],
        **changes,
    }
    with pytest.raises(error, match=rf"^\[weighted_boxes_fusion\] expected {message}"):
        ops.weighted_boxes_fusion(**arguments)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nms_max_output_is_the_beginning(isa: str, dtype: str) -> None:
    boxes, scores = clustered(200, dtype)
    boxes[:5, 2:] = boxes[:5, :2]  # degenerate ones count too
    idxs = np.arange(200) % 7
    kept, batched = ops.nms(boxes, scores, 0.6), ops.batched_nms(boxes, scores, idxs, 0.6)
    for count in (1, 2, 10, 1000):
        np.testing.assert_array_equal(ops.nms(boxes, scores, 0.6, max_output=count), kept[:count])
        np.testing.assert_array_equal(
            ops.batched_nms(boxes, scores, idxs, 0.6, max_output=count), batched[:count]
        )


@pytest.mark.parametrize("max_output", [None, 4])
def test_batched_nms_of_several_images_is_one_call_for_each(threads: int, max_output: int | None) -> None:
    boxes, scores = clustered(300)
    rng = np.random.default_rng(1)
    idxs, images = rng.integers(-2, 3, 300), rng.integers(0, 4, 300)
    expected = []
    for image in range(4):
        (members,) = np.nonzero(images == image)
        kept = ops.batched_nms(boxes[members], scores[members], idxs[members], 0.4, max_output=max_output)
        expected += members[kept].tolist()
    together = ops.batched_nms(boxes, scores, idxs, 0.4, image_idxs=images, max_output=max_output)
    assert together.tolist() == expected


def test_any_number_of_threads_gives_the_same() -> None:
    boxes, scores = clustered(4000)
    idxs = np.arange(4000) % 9
    check_threads_agree(lambda: ops.matrix_nms(boxes, scores, idxs)[1])
    masks, mask_scores = masks_and_scores(50, 40, 40)
    check_threads_agree(lambda: ops.mask_nms(masks, mask_scores, 0.3, idxs=np.arange(50) % 3))
