# SPDX-License-Identifier: Apache-2.0
"""Axis-aligned boxes: suppression, overlap, formats.

Boxes are rows of four numbers in pixels, or in any other unit as long as it is one: ``(x1, y1, x2, y2)``,
opposite corners, unless said otherwise. The width of a box is ``x2 - x1``; a box with ``x2 <= x1`` or
``y2 <= y1`` has area 0 and overlaps nothing. Names and semantics are those of ``torchvision.ops``; where they
differ, it is said.
"""

from __future__ import annotations

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision.ops._args import pair, real

_FLOATS = ("float32", "float64")
_INTEGERS = ("int64", "int32")


def nms(boxes: Array, scores: Array, iou_threshold: float) -> Array:
    """Greedy non-maximum suppression.

    Boxes are visited by falling score, equal scores by rising index. A box is kept unless its IoU with a box
    kept before it is strictly greater than ``iou_threshold``. Boxes with a NaN score or a coordinate that is
    not finite are dropped: they suppress nothing and are not kept.

    Args:
        boxes: (N, 4) corners, float32 or float64. IoU is computed and compared in that type.
        scores: (N,), of the same type.
        iou_threshold: in [0, 1].

    Returns:
        int64 (K,): the indices of the kept boxes, by falling score.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, or ``iou_threshold`` is out of range.

    Source: Neubeck and Van Gool, "Efficient Non-Maximum Suppression", ICPR 2006.
    """
    b, s = _boxes_and_scores(boxes, scores, "nms")
    return result_like(_core.nms(b, s, real(iou_threshold, "nms", "iou_threshold")), boxes, scores)


def batched_nms(boxes: Array, scores: Array, idxs: Array, iou_threshold: float) -> Array:
    """:func:`nms` within each class: boxes of different classes never suppress each other.

    Classes are kept apart by grouping, not by moving their boxes: coordinates may have any sign and size.

    Args:
        boxes: (N, 4) corners, float32 or float64.
        scores: (N,), of the same type.
        idxs: (N,) classes, int64 or int32, any values.
        iou_threshold: in [0, 1].

    Returns:
        int64 (K,): the indices of the kept boxes, by falling score over all classes.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, or ``iou_threshold`` is out of range.
    """
    b, s = _boxes_and_scores(boxes, scores, "batched_nms")
    classes = np.ascontiguousarray(as_numpy(idxs, "batched_nms", "idxs", _INTEGERS), dtype=np.int64)
    _check_shape(classes, (b.shape[0],), "batched_nms", "idxs")
    threshold = real(iou_threshold, "batched_nms", "iou_threshold")
    return result_like(_core.batched_nms(b, s, classes, threshold), boxes, scores, idxs)


def box_iou(boxes1: Array, boxes2: Array) -> Array:
    """Intersection over union of every box of one set with every box of the other.

    Pairs that do not overlap have 0, degenerate boxes too (torchvision gives NaN for two of them). A box with
    a coordinate that is not finite has NaN with every box.

    Args:
        boxes1: (N, 4) corners, float32 or float64.
        boxes2: (M, 4) corners, of the same type.

    Returns:
        (N, M) of the same type, in [0, 1].

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: an argument has another shape, or the result would not fit in memory.
    """
    a = _boxes(boxes1, "box_iou", "boxes1")
    b = _boxes(boxes2, "box_iou", "boxes2", (a.dtype.name,))
    return result_like(_core.box_iou(a, b), boxes1, boxes2)


def box_convert(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """Boxes in another format.

    Args:
        boxes: (..., 4) in ``in_fmt``, float32 or float64.
        in_fmt: ``"xyxy"`` (opposite corners), ``"xywh"`` (first corner, size) or ``"cxcywh"`` (centre, size).
        out_fmt: the same.

    Returns:
        A new array of the same shape and type, in ``out_fmt``.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype, or a format is not a string.
        ValueError: ``boxes`` has another shape, or a format is unknown.
    """
    x = np.ascontiguousarray(as_numpy(boxes, "box_convert", "boxes", _FLOATS))
    for name, value in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if not isinstance(value, str):
            raise TypeError(f"[box_convert] expected {name} to be xyxy, xywh or cxcywh, got {value!r}")
    return result_like(_core.box_convert(x, in_fmt, out_fmt), boxes)


def box_area(boxes: Array) -> Array:
    """Areas; 0 for degenerate boxes (torchvision's may be negative).

    Args:
        boxes: (..., 4) corners, float32 or float64.

    Returns:
        (...) of the same type, in squared units.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype.
        ValueError: ``boxes`` has another shape.
    """
    x = np.ascontiguousarray(as_numpy(boxes, "box_area", "boxes", _FLOATS))
    return result_like(_core.box_area(x), boxes)


def clip_boxes_to_image(boxes: Array, size: tuple[int, int]) -> Array:
    """Boxes with x moved into [0, width] and y into [0, height]; NaN stays NaN.

    Args:
        boxes: (..., 4) corners in pixels, float32 or float64.
        size: (height, width) of the image.

    Returns:
        A new array of the same shape and type.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype, or ``size`` not integers.
        ValueError: ``boxes`` has another shape, or ``size`` is negative.
    """
    x = np.ascontiguousarray(as_numpy(boxes, "clip_boxes_to_image", "boxes", _FLOATS))
    height, width = pair(size, "clip_boxes_to_image", "size")
    return result_like(_core.clip_boxes_to_image(x, height, width), boxes)


def remove_small_boxes(boxes: Array, min_size: float) -> Array:
    """The boxes whose width and height are both at least ``min_size``.

    Args:
        boxes: (N, 4) corners, float32 or float64.
        min_size: in the boxes' unit.

    Returns:
        int64 (K,): their indices, rising. Boxes with a NaN coordinate are not among them.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype, or ``min_size`` not a number.
        ValueError: ``boxes`` has another shape, or ``min_size`` is NaN.
    """
    x = _boxes(boxes, "remove_small_boxes", "boxes")
    least = real(min_size, "remove_small_boxes", "min_size")
    if np.isnan(least):
        raise ValueError("[remove_small_boxes] expected min_size to be a number, got nan")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, which is not large
        large = (x[:, 2:] - x[:, :2] >= x.dtype.type(least)).all(axis=1)
    return result_like(np.flatnonzero(large), boxes)


def _boxes(x: Array, op: str, name: str, dtypes: tuple[str, ...] = _FLOATS) -> np.ndarray:
    """``x`` as a C-contiguous (N, 4) array."""
    array = as_numpy(x, op, name, dtypes)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"[{op}] expected {name} of shape (N, 4), got {array.shape}")
    return np.ascontiguousarray(array)


def _boxes_and_scores(boxes: Array, scores: Array, op: str) -> tuple[np.ndarray, np.ndarray]:
    b = _boxes(boxes, op, "boxes")
    s = as_numpy(scores, op, "scores", (b.dtype.name,))
    _check_shape(s, (b.shape[0],), op, "scores")
    return b, np.ascontiguousarray(s)


def _check_shape(x: np.ndarray, shape: tuple[int, ...], op: str, name: str) -> None:
    if x.shape != shape:
        raise ValueError(f"[{op}] expected {name} of shape {shape}, got {x.shape}")
