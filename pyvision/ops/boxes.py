# SPDX-License-Identifier: Apache-2.0
"""Boxes: overlap, formats, sizes.

Boxes are rows of four numbers in pixels, or in any other unit as long as it is one: ``(x1, y1, x2, y2)``,
opposite corners, unless said otherwise. The width of a box is ``x2 - x1``; a box with ``x2 <= x1`` or
``y2 <= y1`` has area 0 and overlaps nothing. Names and semantics are those of ``torchvision.ops``; where they
differ, it is said.
"""

from __future__ import annotations

import numpy as np

from pyvision import _core
from pyvision._array import Array, dtype_name, narrowed, result_like, widened
from pyvision.ops._args import flag, pair, real
from pyvision.ops._boxes import FLOATS, HALVES, INTEGERS, boxes_of


def box_iou(boxes1: Array, boxes2: Array, fmt: str = "xyxy", *, aligned: bool = False) -> Array:
    """Intersection over union (IoU) of every box of one set with every box of the other.

    Pairs that do not overlap have 0, degenerate boxes too (torchvision gives NaN for two of them). A box with
    a coordinate that is not finite has NaN with every box.

    Args:
        boxes1: (N, 4) corners: float32, float64, float16 or bfloat16, which are taken as float32, or int64 or
            int32, which are taken as float64.
        boxes2: (M, 4) corners: float64 if ``boxes1`` is, integers if those are, and not otherwise.
        fmt: of both, if they are not corners: "xywh" or "cxcywh", as of :func:`box_convert`.
        aligned: compare row i with row i only; M must be N.

    Returns:
        (N, M) float32, or float64 of float64 boxes, (N,) with ``aligned``, in [0, 1].

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: an argument has another shape, ``fmt`` is unknown, or the result would not fit in memory.
    """
    return _overlap("box_iou", boxes1, boxes2, aligned, fmt=fmt)


def box_iof(boxes1: Array, boxes2: Array, *, aligned: bool = False) -> Array:
    """Intersection over foreground: the part of each box of the first set that lies in one of the second.

    Arguments, result and errors as :func:`box_iou`, of corners.
    """
    return _overlap("box_iof", boxes1, boxes2, aligned)


def generalized_box_iou(boxes1: Array, boxes2: Array, *, aligned: bool = False) -> Array:
    """IoU less the empty share of the smallest box around both: in [-1, 1].

    Arguments and errors as :func:`box_iou`. Two degenerate boxes whose common box is degenerate have 0.

    Source: Rezatofighi et al., "Generalized Intersection over Union", CVPR 2019.
    """
    return _overlap("generalized_box_iou", boxes1, boxes2, aligned)


def distance_box_iou(boxes1: Array, boxes2: Array, eps: float = 1e-7, *, aligned: bool = False) -> Array:
    """IoU less the squared distance of the centres over the squared diagonal of the smallest box around both.

    Args:
        boxes1: (N, 4) corners, of the types that :func:`box_iou` takes.
        boxes2: (M, 4) corners, of those that go with ``boxes1`` there.
        eps: added to the squared diagonal; where both are 0, so is the distance's share.
        aligned: compare row i with row i only; M must be N.

    Returns:
        (N, M) float32, or float64 of float64 boxes, (N,) with ``aligned``, in [-1, 1].

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: an argument has another shape, ``eps`` is negative or not finite, or the result would not
            fit in memory.

    Source: Zheng et al., "Distance-IoU Loss", AAAI 2020.
    """
    return _overlap("distance_box_iou", boxes1, boxes2, aligned, eps)


def complete_box_iou(boxes1: Array, boxes2: Array, eps: float = 1e-7, *, aligned: bool = False) -> Array:
    """:func:`distance_box_iou` less a term for different aspect ratios, of the same paper and arguments.

    ``eps`` is added to the denominator of that term too, which is 0 where that is. The result lies in
    [-1.5, 1].
    """
    return _overlap("complete_box_iou", boxes1, boxes2, aligned, eps)


def box_iou_rotated(boxes1: Array, boxes2: Array, *, aligned: bool = False) -> Array:
    """IoU of every rotated box of one set with every one of the other.

    Identical boxes have exactly 1 and disjoint ones 0, at any distance from the origin, and swapping the
    sets transposes the result exactly. Boxes without a positive width and height overlap nothing; one with a
    value that is not finite has NaN with every box.

    Args:
        boxes1: (N, 5) as ``(cx, cy, w, h, angle)``, angle in degrees, counter-clockwise on screen; float32 or
            float64.
        boxes2: (M, 5), of the same type.
        aligned: compare row i with row i only; M must be N.

    Returns:
        (N, M) of the same type, (N,) with ``aligned``, in [0, 1].

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: an argument has another shape, or the result would not fit in memory.
    """
    op = "box_iou_rotated"
    a = boxes_of(boxes1, op, "boxes1", columns=5)
    b = boxes_of(boxes2, op, "boxes2", (dtype_name(a.dtype),), columns=5)
    return result_like(_core.box_iou_rotated(a, b, flag(aligned, op, "aligned")), boxes1, boxes2)


def box_convert(boxes: Array, in_fmt: str, out_fmt: str) -> Array:
    """Boxes in another format.

    Args:
        boxes: (..., k) in ``in_fmt``, float32, float64, float16 or bfloat16.
        in_fmt: of four columns ``"xyxy"`` (opposite corners), ``"xywh"`` (first corner, size) or ``"cxcywh"``
            (centre, size); of rotated boxes ``"cxcywhr"`` (centre, size, degrees counter-clockwise on
            screen), ``"xywhr"`` (the corner that is top left before the turn) or, with eight columns,
            ``"xyxyxyxy"`` (all corners from that one, clockwise on screen before the turn).
        out_fmt: the same; rotated formats convert among themselves.

    Returns:
        A new array of the same type, (..., k) in ``out_fmt``.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype, or a format is not a string.
        ValueError: ``boxes`` has another shape, or a format is unknown or not of the other's kind.
    """
    x, dtype = widened(boxes, "box_convert", "boxes", (*FLOATS, *HALVES))
    x = np.ascontiguousarray(x)
    for name, value in (("in_fmt", in_fmt), ("out_fmt", out_fmt)):
        if not isinstance(value, str):
            raise TypeError(f"[box_convert] expected {name} to be a string, got {value!r}")
    if in_fmt not in _ROTATED:
        return narrowed(_core.box_convert(x, in_fmt, out_fmt), dtype, boxes)
    if out_fmt not in _ROTATED:
        raise ValueError(
            f"[box_convert] expected out_fmt to be {' or '.join(_ROTATED)}, as in_fmt is, got {out_fmt!r}"
        )
    with np.errstate(all="ignore"):  # as IEEE arithmetic has it
        return narrowed(_convert_rotated(x, in_fmt, out_fmt), dtype, boxes)


def box_area(boxes: Array, fmt: str = "xyxy") -> Array:
    """Areas; 0 for degenerate boxes (torchvision's may be negative).

    Args:
        boxes: (..., 4) corners: float32, float64, float16 or bfloat16, int64 or int32.
        fmt: if they are not corners: "xywh" or "cxcywh", as of :func:`box_convert`.

    Returns:
        (...) of the same type; float32 of float16 and bfloat16, and int64 of int32, which could not hold it.
        In squared units. Areas of integers from 2^63 on wrap.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype.
        ValueError: ``boxes`` has another shape, or ``fmt`` is unknown.
    """
    op = "box_area"
    x, _ = widened(boxes, op, "boxes", (*FLOATS, *HALVES, *INTEGERS))
    x = np.ascontiguousarray(x)
    if x.dtype.kind == "i":
        if x.ndim == 0 or x.shape[-1] != 4:
            raise ValueError(f"[{op}] expected boxes of shape (..., 4), got {x.shape}")
        x = x.astype(np.int64)
        sides = x[..., 2:] - x[..., :2] if _checked(fmt, op) == "xyxy" else x[..., 2:]
        return result_like(np.asarray(np.maximum(sides, 0).prod(axis=-1)), boxes)
    return result_like(_core.box_area(_corners(x, fmt, op)), boxes)


def clip_boxes_to_image(boxes: Array, size: tuple[int, int]) -> Array:
    """Boxes with x moved into [0, width] and y into [0, height]; NaN stays NaN.

    Args:
        boxes: (..., 4) corners in pixels, float32, float64, float16 or bfloat16.
        size: (height, width) of the image.

    Returns:
        A new array of the same shape and type.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype, or ``size`` not integers.
        ValueError: ``boxes`` has another shape, or ``size`` is negative.
    """
    op = "clip_boxes_to_image"
    x, dtype = widened(boxes, op, "boxes", (*FLOATS, *HALVES))
    height, width = pair(size, op, "size")
    return narrowed(_core.clip_boxes_to_image(np.ascontiguousarray(x), height, width), dtype, boxes)


def remove_small_boxes(boxes: Array, min_size: float) -> Array:
    """The boxes whose width and height are both at least ``min_size``.

    Args:
        boxes: (N, 4) corners: float32, float64, or float16 or bfloat16, which are taken as float32.
        min_size: in the boxes' unit.

    Returns:
        int64 (K,): their indices, rising. Boxes with a NaN coordinate are not among them.

    Raises:
        TypeError: ``boxes`` is not an array, or of another dtype, or ``min_size`` not a number.
        ValueError: ``boxes`` has another shape, or ``min_size`` is NaN.
    """
    x = boxes_of(boxes, "remove_small_boxes", "boxes", (*FLOATS, *HALVES))
    least = real(min_size, "remove_small_boxes", "min_size")
    if np.isnan(least):
        raise ValueError("[remove_small_boxes] expected min_size to be a number, got nan")
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf is NaN, which is not large
        large = (x[:, 2:] - x[:, :2] >= x.dtype.type(least)).all(axis=1)
    return result_like(np.flatnonzero(large), boxes)


_ROTATED = {"cxcywhr": 5, "xywhr": 5, "xyxyxyxy": 8}  # and their columns


def _convert_rotated(boxes: np.ndarray, in_fmt: str, out_fmt: str) -> np.ndarray:
    columns = _ROTATED[in_fmt]
    if boxes.ndim == 0 or boxes.shape[-1] != columns:
        raise ValueError(f"[box_convert] expected boxes of shape (..., {columns}), got {boxes.shape}")
    if in_fmt == out_fmt:
        return boxes.copy()
    values = np.moveaxis(boxes.astype(np.float64), -1, 0)
    if in_fmt == "xyxyxyxy":
        x1, y1, x2, y2, x3, y3 = values[:6]
        w, h = np.hypot(x2 - x1, y2 - y1), np.hypot(x3 - x2, y3 - y2)
        degrees = np.degrees(np.arctan2(y1 - y2, x2 - x1))
    else:
        x1, y1, w, h, degrees = values
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    centre_x, centre_y = w / 2 * cos + h / 2 * sin, h / 2 * cos - w / 2 * sin  # from the first corner
    if in_fmt == "cxcywhr":
        x1, y1 = x1 - centre_x, y1 - centre_y
    if out_fmt == "xywhr":
        parts = [x1, y1, w, h, degrees]
    elif out_fmt == "cxcywhr":
        parts = [x1 + centre_x, y1 + centre_y, w, h, degrees]
    else:
        x2, y2, x4, y4 = x1 + w * cos, y1 - w * sin, x1 + h * sin, y1 + h * cos
        parts = [x1, y1, x2, y2, x2 + h * sin, y2 + h * cos, x4, y4]
    return np.stack(parts, axis=-1).astype(boxes.dtype)


def _checked(fmt: str, op: str) -> str:
    if not isinstance(fmt, str) or fmt not in ("xyxy", "xywh", "cxcywh"):
        raise ValueError(f"[{op}] expected fmt to be xyxy, xywh or cxcywh, got {fmt!r}")
    return fmt


def _corners(boxes: np.ndarray, fmt: str, op: str) -> np.ndarray:
    if _checked(fmt, op) == "xyxy":
        return boxes
    corners: np.ndarray = _core.box_convert(boxes, fmt, "xyxy")
    return corners


def _overlap(
    op: str, boxes1: Array, boxes2: Array, aligned: bool, eps: float = 0.0, fmt: str = "xyxy"
) -> Array:
    a = boxes_of(boxes1, op, "boxes1", (*FLOATS, *HALVES, *INTEGERS))
    of_integers = a.dtype.kind == "i"
    if of_integers:
        a, b = a.astype(np.float64), boxes_of(boxes2, op, "boxes2", INTEGERS).astype(np.float64)
    else:
        b = boxes_of(boxes2, op, "boxes2", ("float64",) if a.dtype == np.float64 else ("float32", *HALVES))
    kernel = getattr(_core, op)
    a, b = _corners(a, fmt, op), _corners(b, fmt, op)
    overlaps = kernel(a, b, flag(aligned, op, "aligned"), real(eps, op, "eps"))
    return result_like(overlaps.astype(np.float32) if of_integers else overlaps, boxes1, boxes2)
