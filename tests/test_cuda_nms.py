# SPDX-License-Identifier: Apache-2.0
"""nms and its kin on CUDA: the same decisions as the reference, and as the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.reference import boxes as reference
from tests.test_nms import random_boxes


def check(cuda: Cuda, boxes: np.ndarray, scores: np.ndarray, threshold: float) -> None:
    kept = cuda.numpy(ops.nms(cuda.array(boxes), cuda.array(scores), threshold))
    assert kept.dtype == np.int64
    assert kept.tolist() == reference.nms(boxes, scores, threshold)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 130])
def test_random_boxes(cuda: Cuda, n: int, dtype: str) -> None:
    """Around the tiles of 64 boxes; ties in score every other time."""
    rng = np.random.default_rng(n)
    for side in (40, 400):
        scores = (rng.integers(0, 8, n) if side == 40 else rng.standard_normal(n)).astype(dtype)
        for threshold in (0.0, 0.3, 0.5, 1.0):
            check(cuda, random_boxes(rng, n, dtype, side=side), scores, threshold)


def test_awkward_boxes(cuda: Cuda) -> None:
    """Few distinct values: ties, identical, nested, touching, degenerate and not finite boxes."""
    rng = np.random.default_rng(1)
    coordinates = np.array([*range(7), np.nan, np.inf, -np.inf, 0.1, 1e6, -0.0], np.float32)
    chances = np.array([10] * 7 + [1] * 6) / 76
    scores = np.array([0.0, -0.0, 0.25, 0.5, 1.0, -1.0, np.nan, np.inf, -np.inf], np.float32)
    for _ in range(40):
        n = int(rng.integers(1, 40))
        boxes = rng.choice(coordinates, (n, 4), p=chances)
        for dtype in ("float32", "float64"):
            check(
                cuda,
                boxes.astype(dtype),
                rng.choice(scores, n).astype(dtype),
                float(rng.choice([0, 0.3, 0.5])),
            )


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e18, 1e38])
def test_float32_areas_may_overflow(cuda: Cuda, scale: float) -> None:
    boxes = np.array([[0, 0, 2, 2], [0, 0, 2, 1.9], [0, 0, 1, 1], [-1, -1, 0, 0]]) * scale
    scores = np.array([4, 3, 2, 1], np.float32)
    kept = ops.nms(cuda.array(boxes.astype(np.float32)), cuda.array(scores), 0.5)
    assert cuda.numpy(kept).tolist() == [0, 2, 3]


def test_threshold_is_compared_exactly(cuda: Cuda) -> None:
    boxes, scores = np.array([[0, 0, 10, 1], [0, 0, 1, 1]], np.float32), np.array([2, 1], np.float32)
    for threshold in (0.1, float(np.float32(0.1))):  # float32's tenth is greater than 0.1
        check(cuda, boxes, scores, threshold)


def test_chunks(cuda: Cuda) -> None:
    """More boxes than are decided together: survivors of one chunk suppress boxes of the next."""
    rng = np.random.default_rng(2)
    n = 4096 + 300
    boxes, scores = random_boxes(rng, n, spread=4000, side=200), rng.random(n).astype(np.float32)
    on_cuda = cuda.numpy(ops.nms(cuda.array(boxes), cuda.array(scores), 0.4))
    np.testing.assert_array_equal(on_cuda, ops.nms(boxes, scores, 0.4))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_of_groups(cuda: Cuda, dtype: str) -> None:
    """A group that begins in one chunk and ends in the next."""
    rng = np.random.default_rng(2)
    n = 4096 + 64
    boxes, scores = random_boxes(rng, n, spread=400, side=200).astype(dtype), rng.random(n).astype(dtype)
    labels = rng.integers(0, 100, n)
    on_cuda = cuda.numpy(ops.batched_nms(*map(cuda.array, (boxes, scores, labels)), 0.4))
    np.testing.assert_array_equal(on_cuda, ops.batched_nms(boxes, scores, labels, 0.4))


@pytest.mark.parametrize("max_output", [None, 1, 3, 500])
@pytest.mark.parametrize("images", [False, True])
def test_batched(cuda: Cuda, images: bool, max_output: int | None) -> None:
    rng = np.random.default_rng(3)
    for n in (0, 1, 150):
        boxes, scores = random_boxes(rng, n, spread=100), rng.integers(0, 30, n).astype(np.float32)
        idxs = rng.choice([-(2**63), -5, 0, 7, 2**62], n)
        image_idxs = rng.integers(-1, 3, n).astype(np.int32) if images else None
        expected = ops.batched_nms(boxes, scores, idxs, 0.3, image_idxs=image_idxs, max_output=max_output)
        kept = ops.batched_nms(
            cuda.array(boxes), cuda.array(scores), cuda.array(idxs), 0.3,
            image_idxs=None if image_idxs is None else cuda.array(image_idxs), max_output=max_output,
        )  # fmt: skip
        np.testing.assert_array_equal(cuda.numpy(kept), expected)


def test_groups_that_need_double_do_not_widen_others(cuda: Cuda) -> None:
    """One far box makes its class be compared in double, and leaves the others' rounding as it is."""
    rng = np.random.default_rng(4)
    boxes = np.round(random_boxes(rng, 128, spread=6, side=3) * 4) / 4
    boxes[0] = 1e30, 1e30, 2e30, 2e30
    scores, idxs = rng.random(128).astype(np.float32), np.arange(128) % 2
    for threshold in (1 / 3, 0.1, 0.2):
        kept = ops.batched_nms(*map(cuda.array, (boxes, scores, idxs)), threshold)
        np.testing.assert_array_equal(cuda.numpy(kept), ops.batched_nms(boxes, scores, idxs, threshold))


@pytest.mark.parametrize("max_output", [1, 5, 400])
@pytest.mark.parametrize("batched", [False, True])
def test_padded(cuda: Cuda, batched: bool, max_output: int) -> None:
    rng = np.random.default_rng(5)
    boxes, scores = random_boxes(rng, 200), rng.random(200).astype(np.float32)
    idxs = rng.integers(0, 4, 200) if batched else None
    whole = ops.batched_nms(boxes, scores, idxs, 0.4) if batched else ops.nms(boxes, scores, 0.4)
    expected = np.full(max_output, -1)
    expected[: len(whole)] = whole[:max_output]
    keep, count = ops.nms_padded(boxes, scores, 0.4, max_output, idxs=idxs)
    np.testing.assert_array_equal(keep, expected)
    assert count.tolist() == [min(len(whole), max_output)]
    on_device = ops.nms_padded(
        cuda.array(boxes),
        cuda.array(scores),
        0.4,
        max_output,
        idxs=None if idxs is None else cuda.array(idxs),
    )
    np.testing.assert_array_equal(cuda.numpy(on_device[0]), keep)
    np.testing.assert_array_equal(cuda.numpy(on_device[1]), count)


def test_schedule_does_not_matter(cuda: Cuda) -> None:
    rng = np.random.default_rng(6)
    boxes, scores, idxs = random_boxes(rng, 150), rng.random(150).astype(np.float32), rng.integers(0, 3, 150)
    arguments = [cuda.array(a) for a in (boxes, scores, idxs)]
    rising = cuda.numpy(ops.batched_nms(*arguments, 0.3))
    cuda.falling_order(True)
    np.testing.assert_array_equal(cuda.numpy(ops.batched_nms(*arguments, 0.3)), rising)


BOXES, SCORES = np.zeros((3, 4), np.float32), np.zeros(3, np.float32)


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"boxes": np.zeros((3, 5), np.float32)}, ValueError, "expected boxes of shape"),
        ({"boxes": np.zeros((3, 4), np.float16)}, TypeError, "expected boxes of dtype"),
        ({"scores": np.zeros(3)}, TypeError, "expected scores of dtype float32"),
        ({"scores": np.zeros(2, np.float32)}, ValueError, "expected scores of shape"),
        ({"idxs": np.zeros(3, np.float32)}, TypeError, "expected idxs of dtype"),
        ({"idxs": np.zeros((3, 1), np.int64)}, ValueError, "expected idxs of shape"),
        ({"iou_threshold": 1.5}, ValueError, "expected iou_threshold in"),
        ({"iou_threshold": float("nan")}, ValueError, "expected iou_threshold in"),
        ({"max_output": 0}, ValueError, "expected max_output to be positive"),
    ],
)
def test_bad_arguments(cuda: Cuda, changed: dict[str, object], error: type, message: str) -> None:
    arguments = {"boxes": BOXES, "scores": SCORES, "idxs": np.zeros(3, np.int64), "iou_threshold": 0.5}
    arguments |= {"max_output": 5} | changed
    held = {k: cuda.array(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    for op in ("batched_nms", "nms_padded"):
        with pytest.raises(error, match=rf"^\[{op}\] {message}"):
            getattr(ops, op)(**held)
