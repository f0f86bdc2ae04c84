# SPDX-License-Identifier: Apache-2.0
"""nms_rotated, mask_nms, soft_nms and matrix_nms on CUDA: the references' decisions and scores."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.reference import boxes as reference
from tests.test_suppression import (
    DTYPES,
    METHODS,
    check_any_scale,
    check_mask_matrix_nms,
    check_matrix_nms,
    check_soft_nms,
    clustered,
    mask_iou,
    masks_and_scores,
)


def run(cuda: Cuda, op: str, *arrays: np.ndarray | None, **options: Any) -> Any:
    """The op on the device, its results on the host."""
    found = getattr(ops, op)(*(None if a is None else cuda.array(a) for a in arrays), **options)
    return tuple(map(cuda.numpy, found)) if isinstance(found, tuple) else cuda.numpy(found)


def rotated_boxes(n: int, dtype: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = rng.uniform(0, 60, (6, 2))[rng.integers(0, 6, n)] + rng.normal(0, 5, (n, 2))
    boxes = np.concatenate([centre, rng.uniform(4, 30, (n, 2)), rng.uniform(-400, 400, (n, 1))], axis=1)
    boxes[::7, 4] = 90 * rng.integers(-5, 5, len(boxes[::7]))
    return boxes.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 63, 65, 150])
def test_nms_rotated(cuda: Cuda, dtype: str, n: int) -> None:
    boxes, rng = rotated_boxes(n, dtype, n), np.random.default_rng(1)
    scores, idxs = rng.random(n).astype(dtype), rng.integers(0, 3, n)
    for threshold in (0.0, 0.3, 0.7):
        options = {"iou_threshold": threshold}
        expected = ops.nms_rotated(boxes, scores, threshold).tolist()
        assert run(cuda, "nms_rotated", boxes, scores, **options).tolist() == expected
        assert run(cuda, "nms_rotated", boxes, scores, **options, max_output=3).tolist() == expected[:3]
        classes = ops.batched_nms_rotated(boxes, scores, idxs, threshold).tolist()
        assert run(cuda, "batched_nms_rotated", boxes, scores, idxs, **options).tolist() == classes


@pytest.mark.parametrize("dtype", DTYPES)
def test_chunks_of_groups(cuda: Cuda, dtype: str) -> None:
    """More boxes, and masks, than are decided together; a group begins in one chunk and ends in the next."""
    n, rng = 4096 + 64, np.random.default_rng(1)
    scores, idxs = rng.random(n).astype(dtype), rng.integers(0, 200, n)
    boxes = rotated_boxes(n, dtype, 2)
    kept = run(cuda, "batched_nms_rotated", boxes, scores, idxs, iou_threshold=0.3)
    np.testing.assert_array_equal(kept, ops.batched_nms_rotated(boxes, scores, idxs, 0.3))
    masks = rng.random((n, 3, 5)) < 0.4
    kept = ops.mask_nms(*map(cuda.array, (masks, scores)), 0.4, idxs=cuda.array(idxs))
    np.testing.assert_array_equal(cuda.numpy(kept), ops.mask_nms(masks, scores, 0.4, idxs=idxs))


@pytest.mark.parametrize("dtype", DTYPES)
def test_rotated_overlaps_are_exact_where_they_can_be(cuda: Cuda, dtype: str) -> None:
    """Equal boxes overlap by 1, quarter turns are exact, boxes of any size alike, wild ones take no part."""
    base = np.array([[5, 5, 4, 2, 0], [5, 5, 2, 4, 90], [5, 5, 4, 2, 180], [5, 5, 4, 2, 30], [9, 5, 4, 2, 0]])
    scores = np.arange(len(base), 0, -1).astype(dtype)
    for scale in (1.0, 1e-25, 1e15) if dtype == "float32" else (1.0, 1e-100, 1e60):
        boxes = (base * np.array([scale] * 4 + [1])).astype(dtype)
        assert run(cuda, "nms_rotated", boxes, scores, iou_threshold=0.999).tolist() == [0, 3, 4]
        assert run(cuda, "nms_rotated", boxes, scores, iou_threshold=1.0).tolist() == [0, 1, 2, 3, 4]
    wild = np.repeat(base[:1], 12, axis=0).astype(dtype)
    for i, value in enumerate([np.nan, np.inf]):
        wild[5 * i + np.arange(5), np.arange(5)] = value
    wild[10, 2], wild[11, 3] = -4, 0
    kept = run(cuda, "nms_rotated", wild, np.arange(12, 0, -1).astype(dtype), iou_threshold=0.5)
    assert kept.tolist() == ops.nms_rotated(wild, np.arange(12, 0, -1).astype(dtype), 0.5).tolist()


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (8, 8), (20, 31)])
def test_mask_nms(cuda: Cuda, shape: tuple[int, int]) -> None:
    masks, scores = masks_and_scores(70, *shape)
    idxs = np.arange(70) % 4
    for threshold in (0.0, 0.2, 1.0):
        expected = reference.greedy(mask_iou(masks), scores, threshold)
        options = {"iou_threshold": threshold}
        values = np.where(masks, np.random.default_rng(1).integers(1, 256, masks.shape), 0).astype(np.uint8)
        for same in (masks, values):
            for dtype in DTYPES:
                assert run(cuda, "mask_nms", same, scores.astype(dtype), **options).tolist() == expected
        assert run(cuda, "mask_nms", masks, scores, **options, max_output=2).tolist() == expected[:2]
        apart = reference.greedy(np.where(idxs[:, None] == idxs, mask_iou(masks), 0), scores, threshold)
        kept = ops.mask_nms(cuda.array(masks), cuda.array(scores), threshold, idxs=cuda.array(idxs))
        assert cuda.numpy(kept).tolist() == apart


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2, 33, 600])
def test_soft_nms(cuda: Cuda, dtype: str, method: str, n: int) -> None:
    check_soft_nms(partial(run, cuda), n, dtype, method, 0.3)


@pytest.mark.parametrize("method", METHODS)
def test_soft_nms_of_ties_and_boxes_that_take_no_part(cuda: Cuda, method: str) -> None:
    box = [0, 0, 4, 4]
    boxes = np.array([[0, 0, np.inf, 4], box, [9, 9, 12, 12], box, box, [20, 20, 19, 30]], np.float32)
    scores = np.array([1, 0.5, 0.5, np.nan, 0.5, 0.5], np.float32)
    keep, values = run(cuda, "soft_nms", boxes, scores, method=method)
    known = ops.soft_nms(boxes, scores, method=method)
    np.testing.assert_array_equal(keep, known[0])
    np.testing.assert_allclose(values, known[1], rtol=1e-6)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
@pytest.mark.parametrize("op", ["soft_nms", "matrix_nms"])
def test_scores_fall_alike_at_any_scale(cuda: Cuda, op: str, scale: float) -> None:
    check_any_scale(partial(run, cuda), op, scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", ["linear", "gaussian"])
@pytest.mark.parametrize("classes", [1, 3])
def test_matrix_nms(cuda: Cuda, dtype: str, method: str, classes: int) -> None:
    check_matrix_nms(partial(run, cuda), dtype, method, classes)


def test_matrix_nms_of_boxes_that_take_no_part(cuda: Cuda) -> None:
    boxes, scores = clustered(30)
    boxes[3, 1], boxes[5, 2], scores[7] = np.nan, np.inf, np.nan
    keep, new = run(cuda, "matrix_nms", boxes, scores)
    known = ops.matrix_nms(boxes, scores)
    np.testing.assert_array_equal(keep, known[0])
    np.testing.assert_allclose(new, known[1], rtol=1e-5)


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_mask_matrix_nms(cuda: Cuda, method: str) -> None:
    check_mask_matrix_nms(partial(run, cuda), method)


def test_nothing(cuda: Cuda) -> None:
    none, no_masks = (np.empty(shape, np.float32) for shape in ((0, 4), (0, 5, 5)))
    scores = np.empty(0, np.float32)
    for op, items in (
        ("soft_nms", none), ("matrix_nms", none), ("mask_matrix_nms", no_masks.astype(bool)),
    ):  # fmt: skip
        keep, values = run(cuda, op, items, scores)
        assert keep.shape == values.shape == (0,)
    assert run(cuda, "mask_nms", no_masks.astype(bool), scores, iou_threshold=0.5).shape == (0,)
    flat = np.empty((3, 0, 4), bool)
    assert run(cuda, "mask_nms", flat, np.arange(3.0), iou_threshold=0.5).tolist() == [2, 1, 0]
    assert run(cuda, "mask_matrix_nms", flat, np.arange(3.0))[0].tolist() == [2, 1, 0]


def test_schedule_does_not_matter(cuda: Cuda) -> None:
    boxes, scores = clustered(80)
    rotated = rotated_boxes(80, "float32", 0)
    masks, mask_scores = masks_and_scores(66, 9, 9)
    results = []
    for falling in (False, True):
        cuda.falling_order(falling)
        results.append(
            [
                *run(cuda, "soft_nms", boxes, scores),
                *run(cuda, "matrix_nms", boxes, scores),
                run(cuda, "nms_rotated", rotated, scores, iou_threshold=0.3),
                run(cuda, "mask_nms", masks, mask_scores, iou_threshold=0.3),
            ]
        )
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


BOXES, SCORES = clustered(4)
MASKS = np.ones((4, 3, 3), bool)


@pytest.mark.parametrize(
    ("op", "items", "changed", "error", "message"),
    [
        ("soft_nms", BOXES[:, :3], {}, ValueError, "expected boxes of shape"),
        ("soft_nms", BOXES, {"method": "no"}, ValueError, "expected method"),
        ("soft_nms", BOXES, {"sigma": 0.0}, ValueError, "expected sigma"),
        ("soft_nms", BOXES, {"iou_threshold": 1.5}, ValueError, "expected iou_threshold"),
        ("soft_nms", BOXES, {"max_output": 0}, ValueError, "expected max_output"),
        ("soft_nms", BOXES.astype(np.float64), {}, TypeError, "expected scores of dtype float64"),
        ("matrix_nms", BOXES, {"method": "hard"}, ValueError, "expected method"),
        ("matrix_nms", BOXES, {"sigma": float("nan")}, ValueError, "expected sigma"),
        ("mask_matrix_nms", MASKS[0], {}, ValueError, "expected masks of shape"),
        ("mask_nms", MASKS.astype(np.float32), {"iou_threshold": 0.5}, TypeError, "expected masks of dtype"),
        ("mask_nms", MASKS[:3], {"iou_threshold": 0.5}, ValueError, "expected scores of shape"),
        ("mask_nms", MASKS, {"iou_threshold": -0.5}, ValueError, "expected iou_threshold"),
        ("nms_rotated", BOXES, {"iou_threshold": 0.5}, ValueError, "expected boxes of shape"),
    ],
)
def test_bad_arguments(
    cuda: Cuda, op: str, items: np.ndarray, changed: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=rf"^\[{op}\] {message}"):
        getattr(ops, op)(cuda.array(items), cuda.array(SCORES), **changed)
