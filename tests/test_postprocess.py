# SPDX-License-Identifier: Apache-2.0
"""The entry points for one image: the same results as pyvision.ops, and errors instead of anything worse."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pyvision import ops, postprocess
from tests.helpers import random, releases_gil


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
    for limit in (1, 5, 2**62):
        np.testing.assert_array_equal(
            postprocess.nms(boxes, scores, 0.5, max_output=limit), ops.nms(boxes, scores, 0.5)[:limit]
        )
        np.testing.assert_array_equal(
            postprocess.batched_nms(boxes, scores, classes, 0.5, max_output=limit),
            ops.batched_nms(boxes, scores, classes, 0.5)[:limit],
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
MASK = np.ones((4, 5), np.uint8)
COUNTS = postprocess.rle_encode(MASK)


TICKED = b"111" + b"0" * 3_000_000  # runs of one pixel


def test_the_gil_is_released() -> None:
    """In every part of a call that grows with its encodings."""
    pixels, more, corners = (len(TICKED), 1), (len(TICKED), 2), np.arange(200_000.0)
    fits, other = ({"size": size, "counts": TICKED} for size in (pixels, more))

    def refused(function: Callable[..., object], *arguments: object) -> Callable[[], None]:
        def call() -> None:  # whose encodings are read before it says that they do not fit
            with pytest.raises(ValueError, match="sum to"):
                function(*arguments)

        return call

    calls: dict[str, Callable[[], object]] = {
        "reading for rle_decode": refused(postprocess.rle_decode, TICKED, *more),
        "rle_decode": lambda: postprocess.rle_decode(TICKED, *pixels),
        "rle_area": lambda: postprocess.rle_area(TICKED, *pixels),
        "rle_iou": lambda: postprocess.rle_iou(TICKED, TICKED, *pixels),
        "reading for rle_iou": refused(postprocess.rle_iou, TICKED, TICKED, *more),
        "ops.rle_area": lambda: ops.rle_area(fits),
        "reading for ops.rle_area": refused(ops.rle_area, other),
        "reading for ops.rle_iou": refused(ops.rle_iou, fits, other, [0]),
        "ops.rle_to_bbox": lambda: ops.rle_to_bbox(fits),
        "ops.rle_from_polygons": lambda: ops.rle_from_polygons([corners], (9, 9)),
    }
    assert not releases_gil(lambda: sum(range(100_000)), attempts=1)
    assert [name for name, call in calls.items() if not releases_gil(call)] == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: postprocess.nms(np.asfortranarray(BOXES), SCORES, 0.5), "boxes to be C-contiguous"),
        (lambda: postprocess.nms(BOXES, np.repeat(SCORES, 2)[::2], 0.5), "scores to be C-contiguous"),
        (lambda: postprocess.rle_encode(MASK[:, ::2]), "mask to be C-contiguous"),
        (lambda: postprocess.rle_decode(b"o", 4, 5), "counts to be compressed counts"),
        (lambda: postprocess.rle_decode(COUNTS, 5, 5), "counts .* sum to 5 x 5 pixels"),
        (lambda: postprocess.rle_area(COUNTS, 5, 5), "counts .* sum to 5 x 5 pixels"),
        (lambda: postprocess.rle_iou(COUNTS, b"", 4, 5), "gt .* sum to 4 x 5 pixels"),
        (lambda: postprocess.rle_iou(b"", COUNTS, 4, 5), "dt .* sum to 4 x 5 pixels"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], object], message: str) -> None:
    """What the matrix of bad inputs does not hold."""
    with pytest.raises(ValueError, match=rf"^\[\w+\] expected {message}"):
        call()
