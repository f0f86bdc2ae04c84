# SPDX-License-Identifier: Apache-2.0
"""The entry points for one image: the same results as pyvision.ops, and errors instead of anything worse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pyvision import ops, postprocess
from tests.helpers import random


def boxes_and_scores(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    corner = rng.uniform(0, 50, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (n, 2))], axis=1)
    return boxes.astype(np.float32), rng.random(n).astype(np.float32)


@pytest.mark.parametrize("n", [0, 1, 2, 33, 300])
def test_detections(isa: str, n: int) -> None:
    boxes, scores = boxes_and_scores(n)
    np.testing.assert_array_equal(postprocess.nms(boxes, scores, 0.5), ops.nms(boxes, scores, 0.5))
    classes = np.arange(n) % 3
    np.testing.assert_array_equal(
        postprocess.batched_nms(boxes, scores, classes, 0.5), ops.batched_nms(boxes, scores, classes, 0.5)
    )
    np.testing.assert_array_equal(postprocess.box_iou(boxes, boxes[:7]), ops.box_iou(boxes, boxes[:7]))
    codes, weights = random((n, 12)), (10.0, 10.0, 5.0, 5.0)
    np.testing.assert_array_equal(
        postprocess.decode_boxes(codes, boxes, weights), ops.decode_boxes(codes, boxes, weights)
    )
    np.testing.assert_array_equal(postprocess.decode_boxes(codes, boxes), ops.decode_boxes(codes, boxes))


@pytest.mark.parametrize("shape", [(1, 1), (37, 70), (64, 128), (0, 5), (5, 0)])
def test_masks(isa: str, shape: tuple[int, int]) -> None:
    mask, other = (np.random.default_rng(0).random((2, *shape)) < 0.3).astype(np.uint8)
    counts, other_counts = postprocess.rle_encode(mask), postprocess.rle_encode(other)
    rles = ops.rle_encode(np.stack([mask, other]))
    assert [counts, other_counts] == [rle["counts"] for rle in rles]
    np.testing.assert_array_equal(postprocess.rle_decode(counts, *shape), mask)
    assert postprocess.rle_encode(mask.astype(bool)) == counts
    assert postprocess.rle_area(counts, *shape) == mask.sum()
    for crowd in (False, True):
        overlap = postprocess.rle_iou(counts, other_counts, *shape, crowd)
        assert overlap == ops.rle_iou(rles[:1], rles[1:], [crowd])[0, 0]


@pytest.mark.parametrize("n", [0, 1, 5])
def test_pasted_masks(isa: str, n: int) -> None:
    masks, boxes = np.abs(random((n, 28, 28))), boxes_and_scores(n)[0]
    for padding in (0, 1):
        expected = ops.paste_masks(masks, boxes, (60, 70), padding)
        np.testing.assert_array_equal(
            postprocess.paste_masks(masks, boxes, 60, 70, padding=padding), expected
        )
        above = postprocess.paste_masks(masks, boxes, 60, 70, padding=padding, threshold=0.5)
        assert above.dtype == np.uint8
        np.testing.assert_array_equal(above, expected > 0.5)
    assert postprocess.paste_masks(masks, boxes, 0, 70).shape == (n, 0, 70)


BOXES, SCORES = boxes_and_scores(3)
MASKS = np.ones((3, 5, 5), np.float32)
INDICES = np.zeros(3, np.int64)
MASK = np.ones((4, 5), np.uint8)
COUNTS = postprocess.rle_encode(MASK)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: postprocess.nms(BOXES, SCORES[:2], 0.5), r"\[nms\] expected boxes \(N, 4\)"),
        (lambda: postprocess.nms(BOXES[:, :3].copy(), SCORES, 0.5), r"\[nms\] expected boxes \(N, 4\)"),
        (lambda: postprocess.nms(BOXES, SCORES, float("nan")), r"\[nms\] expected iou_threshold in"),
        (lambda: postprocess.batched_nms(BOXES, SCORES, INDICES[:2], 0.5), r"\[batched_nms\] expected boxes"),
        (lambda: postprocess.batched_nms(BOXES, SCORES, INDICES, -1), r"\[batched_nms\] expected iou_thr"),
        (lambda: postprocess.box_iou(BOXES, BOXES[:, :3].copy()), r"\[box_iou\] expected boxes1"),
        (lambda: postprocess.decode_boxes(random((3, 7)), BOXES), r"\[decode_boxes\] expected rel_codes"),
        (lambda: postprocess.decode_boxes(random((2, 8)), BOXES), r"\[decode_boxes\] expected rel_codes"),
        (lambda: postprocess.decode_boxes(BOXES, BOXES, (1, 1, 1)), r"\[decode_boxes\] expected weights"),
        (lambda: postprocess.decode_boxes(BOXES, BOXES, (1, 1, 1, 0)), r"\[decode_boxes\] expected weights"),
        (lambda: postprocess.paste_masks(MASKS, BOXES[:2], 4, 5), r"\[paste_masks\] expected masks"),
        (
            lambda: postprocess.paste_masks(MASKS[:, :4].copy(), BOXES, 4, 5),
            r"\[paste_masks\] expected masks",
        ),
        (
            lambda: postprocess.paste_masks(MASKS, BOXES * np.float32(np.inf), 4, 5),
            r"\[paste_masks\] .* boxes",
        ),
        (lambda: postprocess.paste_masks(MASKS, BOXES, -4, 5), r"\[paste_masks\] expected height"),
        (lambda: postprocess.paste_masks(MASKS, BOXES, 4, 5, padding=-1), r"\[paste_masks\] .* padding"),
        (lambda: postprocess.paste_masks(MASKS, BOXES, 4, 5, threshold=2.0), r"\[paste_masks\] .* threshold"),
        (lambda: postprocess.rle_decode(b"o", 4, 5), r"\[rle_decompress\] expected compressed counts"),
        (lambda: postprocess.rle_decode(COUNTS, 5, 5), r"\[rle_decompress\] .* sum to the pixels"),
        (lambda: postprocess.rle_area(COUNTS, -4, -5), r"\[rle\] expected height and width"),
        (lambda: postprocess.rle_area(COUNTS, 2**40, 2**40), r"\[rle\] expected height and width"),
        (lambda: postprocess.rle_iou(COUNTS, b"", 4, 5), r"\[rle_decompress\] .* sum to the pixels"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: postprocess.nms(None, SCORES, 0.5),
        lambda: postprocess.nms([[0, 0, 1, 1]], SCORES, 0.5),
        lambda: postprocess.nms(BOXES.astype(np.float64), SCORES, 0.5),
        lambda: postprocess.nms(np.asfortranarray(BOXES), SCORES, 0.5),
        lambda: postprocess.nms(BOXES[0], SCORES, 0.5),
        lambda: postprocess.box_iou(BOXES, None),
        lambda: postprocess.decode_boxes(BOXES, None),
        lambda: postprocess.paste_masks(MASKS, None, 4, 5),
        lambda: postprocess.rle_encode(None),
        lambda: postprocess.rle_encode(MASK.astype(np.int64)),
        lambda: postprocess.rle_encode(MASK[:, ::2]),
        lambda: postprocess.rle_decode(None, 4, 5),
        lambda: postprocess.rle_decode("d0", 4, 5),
    ],
)
def test_other_buffers_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises((TypeError, ValueError)):
        call()
