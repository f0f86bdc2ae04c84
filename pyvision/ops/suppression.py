# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression: which of many overlapping detections stay.

Boxes are rows of four numbers in pixels, or in any other unit as long as it is one: ``(x1, y1, x2, y2)``,
opposite corners, unless said otherwise. A box with ``x2 <= x1`` or ``y2 <= y1`` has area 0 and overlaps
nothing. Where an op is greedy, boxes are visited by falling score, equal scores by rising index, and a box is
suppressed when its overlap with a box kept before it is strictly greater than the threshold.
"""

from __future__ import annotations

from pyvision import _core
from pyvision._array import Array, result_like
from pyvision.ops._args import integer, real
from pyvision.ops._boxes import boxes_and_scores, indices_of


def nms(boxes: Array, scores: Array, iou_threshold: float, *, max_output: int | None = None) -> Array:
    """Greedy non-maximum suppression.

    Boxes with a NaN score or a coordinate that is not finite are dropped: they suppress nothing and are not
    kept.

    Args:
        boxes: (N, 4) corners, float32 or float64. IoU is computed and compared in that type.
        scores: (N,), of the same type.
        iou_threshold: in [0, 1].
        max_output: keep this many at most, the first ones.

    Returns:
        int64 (K,): the indices of the kept boxes, by falling score.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, or a number is out of range.

    Source: Neubeck and Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006.
    """
    op = "nms"
    b, s = boxes_and_scores(boxes, scores, op)
    kept = _core.nms(b, s, real(iou_threshold, op, "iou_threshold"), _count(max_output, op))
    return result_like(kept, boxes, scores)


def batched_nms(
    boxes: Array,
    scores: Array,
    idxs: Array,
    iou_threshold: float,
    *,
    image_idxs: Array | None = None,
    max_output: int | None = None,
) -> Array:
    """:func:`nms` within each class, and within each image where there are several.

    Groups are kept apart by sorting, not by moving their boxes: coordinates may have any sign and size.

    Args:
        boxes: (N, 4) corners, float32 or float64.
        scores: (N,), of the same type.
        idxs: (N,) classes, int64 or int32, any values.
        iou_threshold: in [0, 1].
        image_idxs: (N,) images, like ``idxs``; one image without.
        max_output: keep this many per image at most, over all its classes.

    Returns:
        int64 (K,): the indices of the kept boxes, by image, then by falling score over all classes.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, or a number is out of range.
    """
    op = "batched_nms"
    b, s = boxes_and_scores(boxes, scores, op)
    classes = indices_of(idxs, b.shape[0], op, "idxs")
    images = None if image_idxs is None else indices_of(image_idxs, b.shape[0], op, "image_idxs")
    threshold = real(iou_threshold, op, "iou_threshold")
    kept = _core.batched_nms(b, s, classes, threshold, images, _count(max_output, op))
    return result_like(kept, boxes, scores, idxs)


def nms_rotated(boxes: Array, scores: Array, iou_threshold: float, *, max_output: int | None = None) -> Array:
    """:func:`nms` of rotated boxes, by the overlap of :func:`box_iou_rotated`.

    Args:
        boxes: (N, 5) as ``(cx, cy, w, h, angle)``, angle in degrees, counter-clockwise on screen; float32 or
            float64.
        scores: (N,), of the same type.
        iou_threshold: in [0, 1].
        max_output: keep this many at most, the first ones.

    Returns:
        int64 (K,): the indices of the kept boxes, by falling score.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, or a number is out of range.
    """
    op = "nms_rotated"
    b, s = boxes_and_scores(boxes, scores, op, columns=5)
    kept = _core.nms_rotated(b, s, None, real(iou_threshold, op, "iou_threshold"), _count(max_output, op))
    return result_like(kept, boxes, scores)


def batched_nms_rotated(
    boxes: Array, scores: Array, idxs: Array, iou_threshold: float, *, max_output: int | None = None
) -> Array:
    """:func:`nms_rotated` within each class.

    ``idxs`` are the classes as in :func:`batched_nms`, the other arguments, the result and the errors those
    of :func:`nms_rotated`; ``max_output`` counts all classes.
    """
    op = "batched_nms_rotated"
    b, s = boxes_and_scores(boxes, scores, op, columns=5)
    classes = indices_of(idxs, b.shape[0], op, "idxs")
    kept = _core.nms_rotated(b, s, classes, real(iou_threshold, op, "iou_threshold"), _count(max_output, op))
    return result_like(kept, boxes, scores, idxs)


def _count(max_output: int | None, op: str) -> int | None:
    return None if max_output is None else integer(max_output, op, "max_output")
