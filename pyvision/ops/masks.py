# SPDX-License-Identifier: Apache-2.0
"""Masks of objects: pasted into images, boxed, and run-length encoded as COCO does.

A mask is bool or uint8, (H, W), and any value but 0 is set; several are (N, H, W). An encoding is what
pycocotools calls one, ``{"size": [height, width], "counts": counts}``: it holds the lengths of runs of unset
and set pixels, alternately, down the columns, unset ones first. ``counts`` is pycocotools' compressed text as
bytes or a string, or the lengths themselves as a list. Results are those of pycocotools, byte for byte; a
malformed encoding is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from pyvision import _core
from pyvision._array import Array, as_numpy, result_like
from pyvision.ops._args import flag, integer, pair, real, zero_or_one
from pyvision.ops._boxes import FLOATS, HALVES, INTEGERS, MASKS, boxes_of, check_shape, masks_of

_REAL = (*MASKS, *FLOATS, *HALVES, *INTEGERS, "int8", "int16")

Rle: TypeAlias = dict[str, Any]
"""``{"size": [height, width], "counts": bytes | str | list[int]}``."""


def paste_masks(
    masks: Array,
    boxes: Array,
    img_shape: tuple[int, int],
    padding: int = 1,
    *,
    threshold: float | None = None,
) -> Array:
    """Masks that were predicted within boxes, as Mask R-CNN does, enlarged to the image.

    Equal to torchvision's ``paste_masks_in_image`` but for rounding: a mask gets a border of ``padding``
    zeros, its box grows in proportion, its corners are truncated to integers, and the mask is resized to it
    bilinearly. Boxes may lie partly or wholly outside the image.

    Args:
        masks: (N, M, M) or (N, 1, M, M), float32 probabilities.
        boxes: (N, 4) corners in pixels of the image, float32.
        img_shape: (height, width) of the image.
        padding: not negative; what the model was trained with, 1 in torchvision.
        threshold: in [0, 1]; without it the result is the probabilities.

    Returns:
        float32 (N, height, width), 0 outside the boxes; with ``threshold`` bool, whether a probability is
        greater. (N, 1, height, width) if the masks came so.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, a number is out of range, or a box is not finite or
            reaches beyond 2**30 pixels.

    Source: He et al., "Mask R-CNN", ICCV 2017.
    """
    op = "paste_masks"
    m = as_numpy(masks, op, "masks")
    with_channel = m.ndim == 4
    if with_channel and m.shape[1] == 1:
        m = m[:, 0]
    if m.ndim != 3 or m.shape[1] != m.shape[2]:
        raise ValueError(f"[{op}] expected masks of shape (N, M, M) or (N, 1, M, M), got {np.shape(masks)}")
    b = boxes_of(boxes, op, "boxes", ("float32",))
    check_shape(b, (len(m), 4), op, "boxes")
    height, width = pair(img_shape, op, "img_shape")
    if height < 0 or width < 0:
        raise ValueError(f"[{op}] expected img_shape to be non-negative, got ({height}, {width})")
    above = None if threshold is None else real(threshold, op, "threshold")
    pasted = _core.paste_masks(
        np.ascontiguousarray(m), b, height, width, integer(padding, op, "padding"), above
    )
    return result_like(pasted[:, None] if with_channel else pasted, masks, boxes)


def masks_to_boxes(masks: Array) -> Array:
    """The boxes around the set pixels of masks, as torchvision has them: the last column and row are inside.

    Args:
        masks: (N, H, W), bool, uint8, a signed integer or a float: what is not 0 is set.

    Returns:
        float32 (N, 4): the first column and row that have a set pixel, and the last ones; zeros for an empty
        mask.

    Raises:
        TypeError: ``masks`` is not an array, or of another dtype.
        ValueError: ``masks`` has another shape.
    """
    return result_like(_core.masks_to_boxes(masks_of(masks, "masks_to_boxes", dtypes=_REAL)), masks)


def rle_encode(masks: Array) -> Any:
    """Encode masks; the counts are compressed.

    Args:
        masks: (H, W) or (N, H, W), bool or uint8; in C order no copy is made (pycocotools wants (H, W, N) in
            Fortran order).

    Returns:
        One encoding as a dict, or a list of N.

    Raises:
        TypeError: ``masks`` is not an array, or of another dtype.
        ValueError: ``masks`` has another shape, or 2**32 pixels or more each.
    """
    op = "rle_encode"
    array = masks_of(masks, op, (2, 3))
    return _core.rle_encode(array[None])[0] if array.ndim == 2 else _core.rle_encode(array)


def rle_decode(rles: Rle | Sequence[Rle]) -> np.ndarray:
    """The masks of encodings.

    Args:
        rles: one encoding, or a list of them, all of one size.

    Returns:
        bool (H, W) of one, (N, H, W) of a list.

    Raises:
        TypeError: ``rles`` or what it holds is of another type.
        ValueError: an encoding is malformed, sizes differ, or the list is empty.
    """
    decoded = _core.rle_decode(_list_of(rles, "rle_decode"))
    return decoded[0] if isinstance(rles, dict) else decoded


def rle_area(rles: Rle | Sequence[Rle]) -> Any:
    """How many pixels are set: an int of one encoding, int64 (N,) of a list.

    Arguments and errors as :func:`rle_decode`, but that sizes may differ and the list may be empty.
    """
    areas = _core.rle_area(_list_of(rles, "rle_area"))
    return int(areas[0]) if isinstance(rles, dict) else areas


def rle_to_bbox(rles: Rle | Sequence[Rle]) -> np.ndarray:
    """COCO's boxes around the set pixels: float64 (4,) or (N, 4), x, y, width, height; zeros where none is.

    Arguments and errors as :func:`rle_area`.
    """
    boxes = _core.rle_to_bbox(_list_of(rles, "rle_to_bbox"))
    return boxes[0] if isinstance(rles, dict) else boxes


def rle_merge(rles: Sequence[Rle], intersect: bool = False) -> Rle:
    """The union of encodings, or their intersection.

    Args:
        rles: a list of encodings, all of one size.
        intersect: set what all have set, not what any has.

    Returns:
        One encoding.

    Raises:
        TypeError: an argument or what it holds is of another type.
        ValueError: an encoding is malformed, sizes differ, or the list is empty.
    """
    op = "rle_merge"
    return _core.rle_merge(_list_of(rles, op), flag(intersect, op, "intersect"))


def rle_iou(dt: Rle | Sequence[Rle], gt: Rle | Sequence[Rle], iscrowd: Array | Sequence[int]) -> np.ndarray:
    """Intersection over union (IoU) of every encoding of one list with every one of another, on their runs.

    Args:
        dt: detections: a list of D encodings.
        gt: ground truth: a list of G encodings, of the same size.
        iscrowd: G flags, 0 or 1 (or bools): where one is set the divisor is the detection's area.

    Returns:
        float64 (D, G), in [0, 1]; 0 where two share nothing.

    Raises:
        TypeError: an argument or what it holds is of another type.
        ValueError: an encoding is malformed, sizes differ, or there are not G flags.
    """
    op = "rle_iou"
    detections, truth = _list_of(dt, op, "dt"), _list_of(gt, op, "gt")
    if isinstance(iscrowd, list | tuple):
        flags = np.array([zero_or_one(value, op, "iscrowd") for value in iscrowd], bool)
    else:
        numbers = as_numpy(iscrowd, op, "iscrowd", (*MASKS, *INTEGERS))
        flags = numbers == 1
        if (others := numbers[~flags & (numbers != 0)]).size:
            raise ValueError(f"[{op}] expected iscrowd to be 0 or 1, got {others[0]}")
    check_shape(flags, (len(truth),), op, "iscrowd")
    return _core.rle_iou(detections, truth, flags.view(np.uint8))


def rle_from_polygons(polygons: Sequence[Array | Sequence[float]], size: tuple[int, int]) -> list[Rle]:
    """Encode the insides of polygons, one by one; :func:`rle_merge` makes one object of several.

    Args:
        polygons: each x and y by turns, in pixels, where the first pixel reaches from 0 to 1: a flat list or
            array of six or more numbers, or an array (K, 2). Corners may lie outside the image.
        size: (height, width) of the image.

    Returns:
        An encoding per polygon.

    Raises:
        TypeError: an argument or what it holds is of another type.
        ValueError: a polygon has fewer than three corners or one beyond 2**20 pixels, or ``size`` is out of
            range.
    """
    return _from_polygons(polygons, size, "rle_from_polygons")


def polygons_to_mask(polygons: Sequence[Array | Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """The pixels inside any of the polygons: bool (height, width).

    Arguments and errors as :func:`rle_from_polygons`.
    """
    op = "polygons_to_mask"
    encoded = _from_polygons(polygons, size, op)
    if not encoded:
        return np.zeros(pair(size, op, "size"), bool)
    return rle_decode(rle_merge(encoded))


def _from_polygons(polygons: Sequence[Array | Sequence[float]], size: tuple[int, int], op: str) -> list[Rle]:
    height, width = pair(size, op, "size")
    if not isinstance(polygons, list | tuple):
        raise TypeError(f"[{op}] expected polygons to be a list, got {type(polygons).__name__}")
    return _core.rle_from_polygons([_corners(polygon, op) for polygon in polygons], height, width, op)


def _list_of(rles: Rle | Sequence[Rle], op: str, name: str = "rles") -> list[Any]:
    if isinstance(rles, dict):
        return [rles]
    if not isinstance(rles, list | tuple):
        raise TypeError(f"[{op}] expected {name} to be a list of encodings, got {type(rles).__name__}")
    return list(rles)


def _corners(polygon: Array | Sequence[float], op: str) -> np.ndarray:
    if isinstance(polygon, list | tuple):
        try:
            polygon = np.array(polygon)
        except ValueError:
            raise ValueError(
                f"[{op}] expected polygons to be flat lists of numbers, got {polygon!r}"
            ) from None
    array = as_numpy(polygon, op, "polygons", (*FLOATS, *INTEGERS))
    if array.ndim not in (1, 2) or array.shape[1:] not in ((), (2,)):
        raise ValueError(f"[{op}] expected polygons of shape (2 K,) or (K, 2), got {array.shape}")
    return np.ascontiguousarray(array, np.float64).reshape(-1)
