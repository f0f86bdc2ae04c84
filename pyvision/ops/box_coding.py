# SPDX-License-Identifier: Apache-2.0
"""Boxes as networks predict them: relative to proposals, anchors or points, and the grids of those."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, dtype_name, result_like
from pyvision.ops._args import IntPair, numbers_of, pair, real, reals
from pyvision.ops._boxes import FLOATS, boxes_of, check_shape

_UNIT = (1.0, 1.0, 1.0, 1.0)
_LARGEST = 2.0**60  # of a grid's numbers and their reciprocals, whose products float32 then holds


def encode_boxes(reference_boxes: Array, proposals: Array, weights: Sequence[float] = _UNIT) -> Array:
    """What a network should predict to turn proposals into reference boxes: R-CNN's deltas.

    Args:
        reference_boxes: (N, 4) corners, float32 or float64.
        proposals: (N, 4) corners, of the same type.
        weights: factors of (dx, dy, dw, dh), positive.

    Returns:
        (N, 4) of the same type: centre offsets in widths and heights of the proposal, logarithms of the
        ratios of the sizes. Degenerate boxes give values that are not finite.

    Raises:
        TypeError: an argument is not an array, or of another dtype, or a weight not a number.
        ValueError: shapes that contradict each other, or weights out of range.

    Source: Girshick et al., "Rich feature hierarchies", CVPR 2014, appendix C; as torchvision's BoxCoder.
    """
    op = "encode_boxes"
    g = boxes_of(reference_boxes, op, "reference_boxes")
    p = boxes_of(proposals, op, "proposals", (dtype_name(g.dtype),))
    return result_like(_core.encode_boxes(g, p, reals(weights, op, "weights", 4)), reference_boxes, proposals)


def decode_boxes(
    rel_codes: Array,
    boxes: Array,
    weights: Sequence[float] = _UNIT,
    bbox_xform_clip: float = math.log(1000.0 / 16),
) -> Array:
    """Boxes from R-CNN's deltas: the inverse of :func:`encode_boxes`.

    Args:
        rel_codes: (N, 4 * classes), float32 or float64: the codes of one proposal per row.
        boxes: (N, 4) corners, the proposals, of the same type.
        weights: factors of (dx, dy, dw, dh), positive.
        bbox_xform_clip: dw and dh are no more than this, above -infinity; the default lets a box grow 62.5
            times.

    Returns:
        (N, 4 * classes) corners of the same type.

    Raises:
        TypeError: an argument is not an array, or of another dtype, or a number not one.
        ValueError: shapes that contradict each other, or a number out of range.
    """
    op = "decode_boxes"
    codes = as_numpy(rel_codes, op, "rel_codes", FLOATS)
    if codes.ndim != 2 or codes.shape[1] % 4:
        raise ValueError(f"[{op}] expected rel_codes of shape (N, 4 * classes), got {codes.shape}")
    p = boxes_of(boxes, op, "boxes", (dtype_name(codes.dtype),))
    clip = real(bbox_xform_clip, op, "bbox_xform_clip")
    decoded = _core.decode_boxes(np.ascontiguousarray(codes), p, reals(weights, op, "weights", 4), clip)
    return result_like(decoded, rel_codes, boxes)


def distances_to_boxes(points: Array, distances: Array) -> Array:
    """Boxes from the distances of a point to their sides, as FCOS and, after DFL's softmax, GFL predict them.

    :func:`pyvision.postprocess.decode_dfl` takes the distributions themselves.

    Args:
        points: (N, 2) as (x, y), float32 or float64.
        distances: (N, 4) to the left, top, right and bottom side, of the same type and unit.

    Returns:
        (N, 4) corners of the same type.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: an argument has another shape.
    """
    op = "distances_to_boxes"
    p = boxes_of(points, op, "points", columns=2)
    d = boxes_of(distances, op, "distances", (dtype_name(p.dtype),))
    check_shape(d, (len(p), 4), op, "distances")
    with np.errstate(invalid="ignore", over="ignore"):  # as IEEE arithmetic has it
        boxes = np.concatenate([p - d[:, :2], p + d[:, 2:]], axis=1)
    return result_like(boxes, points, distances)


def boxes_to_distances(points: Array, boxes: Array) -> Array:
    """The inverse of :func:`distances_to_boxes`: what a network should predict at each point.

    Args:
        points: (N, 2) as (x, y), float32 or float64.
        boxes: (N, 4) corners, of the same type.

    Returns:
        (N, 4) of the same type; negative where the point lies outside.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: an argument has another shape.
    """
    op = "boxes_to_distances"
    p = boxes_of(points, op, "points", columns=2)
    b = boxes_of(boxes, op, "boxes", (dtype_name(p.dtype),))
    check_shape(b, (len(p), 4), op, "boxes")
    with np.errstate(invalid="ignore", over="ignore"):
        distances = np.concatenate([p - b[:, :2], b[:, 2:] - p], axis=1)
    return result_like(distances, points, boxes)


def point_grid(size: IntPair, stride: IntPair, offset: float = 0.5) -> np.ndarray:
    """The points of a feature map in the image, row by row.

    Args:
        size: (height, width) of the map.
        stride: pixels between neighbours, vertical and horizontal.
        offset: of the first point, in strides: 0.5 is the cell's centre (FCOS), 0 its corner (YOLOX).

    Returns:
        float32 (height * width, 2) as (x, y).

    Raises:
        TypeError: a size or stride is not an integer, or ``offset`` not a number.
        ValueError: a size is negative, a stride not positive, or ``offset`` beyond 2**60.
    """
    op = "point_grid"
    height, width, step_y, step_x = _grid(size, stride, op)
    start = real(offset, op, "offset")
    if not abs(start) <= _LARGEST:
        raise ValueError(f"[{op}] expected offset within 2^60, got {start}")
    y, x = np.meshgrid(
        (np.arange(height) + start) * step_y, (np.arange(width) + start) * step_x, indexing="ij"
    )
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)


def anchor_grid(
    size: IntPair, stride: IntPair, sizes: Sequence[float], aspect_ratios: Sequence[float]
) -> np.ndarray:
    """The anchors of one feature map, as torchvision's AnchorGenerator and Faster R-CNN have them.

    Args:
        size: (height, width) of the map.
        stride: pixels between neighbours, vertical and horizontal.
        sizes: square roots of the anchors' areas in pixels.
        aspect_ratios: heights over widths.

    Returns:
        float32 (height * width * ratios * sizes, 4) corners: row by row, in a cell by ratio, then by size. A
        cell's anchors are centred on its corner ``(x * stride, y * stride)``, their corners rounded.

    Raises:
        TypeError: a size or stride is not an integer, or an anchor's number not one.
        ValueError: a size is negative, a stride not positive, or an anchor's number outside [2**-60, 2**60].
    """
    op = "anchor_grid"
    height, width, step_y, step_x = _grid(size, stride, op)
    scales = _positive(sizes, op, "sizes")
    ratio_roots = np.sqrt(_positive(aspect_ratios, op, "aspect_ratios"))
    w, h = np.outer(1 / ratio_roots, scales).ravel(), np.outer(ratio_roots, scales).ravel()
    cell = np.round(np.stack([-w, -h, w, h], axis=1) / 2)
    y, x = np.mgrid[:height, :width]
    corners = np.stack([x * step_x, y * step_y] * 2, axis=-1).reshape(-1, 1, 4)
    return (corners + cell).reshape(-1, 4).astype(np.float32)


def prior_grid(
    size: IntPair, image_size: IntPair, scale: float, next_scale: float, aspect_ratios: Sequence[float]
) -> np.ndarray:
    """The default boxes of one feature map of SSD, as torchvision's DefaultBoxGenerator has them.

    Args:
        size: (height, width) of the map.
        image_size: (height, width) of the image, in pixels.
        scale: side of the square box, as a part of the image.
        next_scale: the scale of the next map; a second square has the geometric mean of both.
        aspect_ratios: each gives one box as wide as it is high times the ratio, and one the other way.

    Returns:
        float32 (height * width * (2 + 2 * ratios), 4) corners in pixels: row by row, in a cell the squares,
        then the others. Sides are at most the image's, the boxes may reach beyond it.

    Raises:
        TypeError: a size is not an integer, or a number not one.
        ValueError: a size is negative, or a number outside [2**-60, 2**60].

    Source: Liu et al., "SSD: Single Shot MultiBox Detector", ECCV 2016.
    """
    op = "prior_grid"
    height, width, image_h, image_w = *_extents(size, op, "size"), *_extents(image_size, op, "image_size")
    own, following = _positive([scale], op, "scale")[0], _positive([next_scale], op, "next_scale")[0]
    roots = np.sqrt(_positive(aspect_ratios, op, "aspect_ratios", may_be_empty=True))
    wide = np.stack([own * roots, own / roots], axis=1)
    squares = [[own, own], [math.sqrt(own * following)] * 2]
    sides = np.concatenate([squares, np.stack([wide, wide[:, ::-1]], axis=1).reshape(-1, 2)]).clip(max=1)
    y, x = np.mgrid[:height, :width]
    centres = np.stack([(x + 0.5) / max(width, 1), (y + 0.5) / max(height, 1)], axis=-1).reshape(-1, 1, 2)
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=-1)
    return (boxes * [image_w, image_h, image_w, image_h]).reshape(-1, 4).astype(np.float32)


def _extents(size: IntPair, op: str, name: str) -> tuple[int, int]:
    height, width = pair(size, op, name)
    if height < 0 or width < 0 or height * width >= 2**31:
        raise ValueError(f"[{op}] expected {name} to be non-negative and below 2^31, got ({height}, {width})")
    return height, width


def _grid(size: IntPair, stride: IntPair, op: str) -> tuple[int, int, int, int]:
    step_y, step_x = pair(stride, op, "stride")
    if not 0 < step_y < 2**31 or not 0 < step_x < 2**31:
        raise ValueError(f"[{op}] expected stride to be positive and below 2^31, got ({step_y}, {step_x})")
    return *_extents(size, op, "size"), step_y, step_x


def _positive(values: Sequence[float], op: str, name: str, *, may_be_empty: bool = False) -> np.ndarray:
    given = numbers_of(values)
    if given is None or not (given or may_be_empty):
        raise ValueError(f"[{op}] expected {name} to be a list of numbers, got {values!r}")
    numbers = [real(value, op, name) for value in given]
    if not all(1 / _LARGEST <= number <= _LARGEST for number in numbers):
        raise ValueError(f"[{op}] expected {name} to be positive, in [2^-60, 2^60], got {values!r}")
    return np.array(numbers)
