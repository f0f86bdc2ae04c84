# SPDX-License-Identifier: Apache-2.0
"""Non-maximum suppression: which of many overlapping detections stay.

Boxes are rows of four numbers in pixels, or in any other unit as long as it is one: ``(x1, y1, x2, y2)``,
opposite corners, unless said otherwise. A box with ``x2 <= x1`` or ``y2 <= y1`` has area 0 and overlaps
nothing. Where an op is greedy, boxes are visited by falling score, equal scores by rising index, and a box is
suppressed when its overlap with a box kept before it is strictly greater than the threshold.

On CUDA the number of results is read back, which waits for the stream, in all but ``nms_padded``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pyvision import _core
from pyvision._array import Array, dtype_name, result_like
from pyvision._device import Device, Operand, device_of, view_of
from pyvision.ops._args import flag, integer, real, reals
from pyvision.ops._boxes import (
    FLOATS,
    MASKS,
    boxes_and_scores,
    boxes_and_scores_on,
    boxes_of,
    check_shape,
    indices_of,
    indices_on,
    masks_of,
    vector_of,
)


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
    if device := device_of(op, boxes=boxes, scores=scores):
        keep, count = _nms_on_device(device, op, boxes, scores, None, None, iou_threshold, max_output)
        return keep[: int(count[0])]
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
    if device := device_of(op, boxes=boxes, scores=scores, idxs=idxs, image_idxs=image_idxs):
        keep, count = _nms_on_device(device, op, boxes, scores, idxs, image_idxs, iou_threshold, max_output)
        return keep[: int(count[0])]
    b, s = boxes_and_scores(boxes, scores, op)
    classes = indices_of(idxs, b.shape[0], op, "idxs")
    images = None if image_idxs is None else indices_of(image_idxs, b.shape[0], op, "image_idxs")
    threshold = real(iou_threshold, op, "iou_threshold")
    kept = _core.batched_nms(b, s, classes, threshold, images, _count(max_output, op))
    return result_like(kept, boxes, scores, idxs)


def nms_padded(
    boxes: Array, scores: Array, iou_threshold: float, max_output: int, *, idxs: Array | None = None
) -> tuple[Array, Array]:
    """:func:`nms`, or :func:`batched_nms` with ``idxs``, whose result has the same shape for all values.

    On CUDA nothing waits for the device, so that the call can be captured in a graph.

    Args:
        max_output: keep this many at most, over all classes; the length of the result.

    Returns:
        keep int64 (max_output,): the indices of the kept boxes by falling score, then -1; count int64 (1,):
        how many there are.

    The other arguments and the errors are those of :func:`batched_nms`.
    """
    op = "nms_padded"
    room = integer(max_output, op, "max_output")
    if device := device_of(op, boxes=boxes, scores=scores, idxs=idxs):
        return _nms_on_device(device, op, boxes, scores, idxs, None, iou_threshold, room, room)
    b, s = boxes_and_scores(boxes, scores, op)
    classes = None if idxs is None else indices_of(idxs, b.shape[0], op, "idxs")
    threshold = _threshold(iou_threshold, op)
    _check_limit(room, op)
    if room >= 2**44:  # of eight bytes each: no machine has more
        raise ValueError(f"[{op}] expected max_output that fits in memory, got {room}")
    if classes is None:
        kept = _core.nms(b, s, threshold, room)
    else:
        kept = _core.batched_nms(b, s, classes, threshold, None, room)
    keep = np.pad(kept, (0, room - len(kept)), constant_values=-1)
    return result_like(keep, boxes, scores), result_like(np.array([len(kept)]), boxes, scores)


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
    if device := device_of(op, boxes=boxes, scores=scores):
        keep, count = _nms_on_device(
            device, op, boxes, scores, None, None, iou_threshold, max_output, columns=5
        )
        return keep[: int(count[0])]
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
    if device := device_of(op, boxes=boxes, scores=scores, idxs=idxs):
        keep, count = _nms_on_device(
            device, op, boxes, scores, idxs, None, iou_threshold, max_output, columns=5
        )
        return keep[: int(count[0])]
    b, s = boxes_and_scores(boxes, scores, op, columns=5)
    classes = indices_of(idxs, b.shape[0], op, "idxs")
    kept = _core.nms_rotated(b, s, classes, real(iou_threshold, op, "iou_threshold"), _count(max_output, op))
    return result_like(kept, boxes, scores, idxs)


def soft_nms(
    boxes: Array,
    scores: Array,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 1e-3,
    method: str = "gaussian",
    *,
    max_output: int | None = None,
) -> tuple[Array, Array]:
    """Suppression that lowers the scores of overlapping boxes instead of dropping them.

    Again and again the box with the highest score is taken, the lower index when equal, and the scores of the
    others fall by its IoU with them. Boxes whose score falls under ``score_threshold``, that have a NaN score
    or a coordinate that is not finite, are dropped.

    Args:
        boxes: (N, 4) corners, float32 or float64.
        scores: (N,), of the same type.
        iou_threshold: in [0, 1]; ``"linear"`` and ``"hard"`` leave boxes up to it alone.
        sigma: positive; the width of ``"gaussian"``.
        score_threshold: least score of a box that stays.
        method: scores are multiplied by ``1 - IoU`` (``"linear"``), ``exp(-IoU**2 / sigma)``
            (``"gaussian"``), or 0 (``"hard"``: :func:`nms`).
        max_output: take this many at most.

    Returns:
        keep int64 (K,): the boxes taken, in that order; scores (K,): theirs at that moment, falling.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, a number is out of range, or ``method`` is unknown.

    Source: Bodla et al., "Soft-NMS", ICCV 2017.
    """
    op = "soft_nms"
    numbers = (
        real(iou_threshold, op, "iou_threshold"),
        real(sigma, op, "sigma"),
        real(score_threshold, op, "score_threshold"),
    )
    if device := device_of(op, boxes=boxes, scores=scores):
        b_on, s_on = boxes_and_scores_on(device, boxes, scores, op)
        kernels, views = device.kernels, (device.stream, b_on.view, s_on.view)
        return _decayed_on(
            device, s_on, kernels.soft_nms_workspace(*views),
            lambda *found: kernels.soft_nms(
                *views, *numbers, _name(method, op), _count(max_output, op), *found
            ),
        )  # fmt: skip
    b, s = boxes_and_scores(boxes, scores, op)
    keep, kept_scores = _core.soft_nms(b, s, *numbers, _name(method, op), _count(max_output, op))
    return result_like(keep, boxes, scores), result_like(kept_scores, boxes, scores)


def matrix_nms(
    boxes: Array,
    scores: Array,
    idxs: Array | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 2.0,
    score_threshold: float = 0.0,
    max_output: int | None = None,
) -> tuple[Array, Array]:
    """Suppression that lowers all scores at once, by how much the better boxes of a class overlap each.

    Args:
        boxes: (N, 4) corners, float32 or float64.
        scores: (N,), of the same type.
        idxs: (N,) classes, int64 or int32; one class without.
        method: a score falls by the least of ``f(IoU) / f(m)`` over the better boxes, of which ``m`` is the
            highest IoU with one better still; ``f(x)`` is ``exp(-sigma * x**2)`` (``"gaussian"``) or
            ``1 - x`` (``"linear"``).
        sigma: positive.
        score_threshold: least score of a box that stays.
        max_output: keep this many at most.

    Returns:
        keep int64 (K,) and their new scores (K,), by falling new score, equal ones by rising index.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, a number is out of range, or ``method`` is unknown.

    Source: Wang et al., "SOLOv2: Dynamic and Fast Instance Segmentation", NeurIPS 2020.
    """
    op = "matrix_nms"
    numbers = real(sigma, op, "sigma"), real(score_threshold, op, "score_threshold")
    if device := device_of(op, boxes=boxes, scores=scores, idxs=idxs):
        b_on, s_on = boxes_and_scores_on(device, boxes, scores, op)
        return _matrix_nms_on(device, op, b_on, s_on, idxs, _name(method, op), *numbers, max_output)
    b, s = boxes_and_scores(boxes, scores, op)
    classes = None if idxs is None else indices_of(idxs, b.shape[0], op, "idxs")
    keep, new = _core.matrix_nms(b, s, classes, _name(method, op), *numbers, _count(max_output, op))
    return result_like(keep, boxes, scores), result_like(new, boxes, scores)


def mask_nms(
    masks: Array,
    scores: Array,
    iou_threshold: float,
    *,
    idxs: Array | None = None,
    max_output: int | None = None,
) -> Array:
    """:func:`nms` by the IoU of masks; empty masks overlap nothing.

    Args:
        masks: (N, H, W), bool or uint8, of which any value but 0 is set.
        scores: (N,), float32 or float64; NaN ones are dropped.
        iou_threshold: in [0, 1].
        idxs: (N,) classes, int64 or int32; one class without.
        max_output: keep this many at most, the first ones.

    Returns:
        int64 (K,): the indices of the kept masks, by falling score.

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes contradict each other, or a number is out of range.
    """
    op = "mask_nms"
    if device := device_of(op, masks=masks, scores=scores, idxs=idxs):
        m_on, s_on = _masks_and_scores_on(device, masks, scores, op)
        c_on = indices_on(device, idxs, m_on.shape[0], op, "idxs")
        views = (device.stream, m_on.view, s_on.view, view_of(c_on))
        workspace = device.workspace(device.kernels.mask_nms_workspace(*views))
        keep, count = device.empty(s_on.shape, "int64"), device.empty((1,), "int64")
        device.kernels.mask_nms(
            *views, real(iou_threshold, op, "iou_threshold"), _count(max_output, op), workspace.view,
            keep.view, count.view,
        )  # fmt: skip
        return device.give(keep)[: int(device.give(count)[0])]
    m, s = _masks_and_scores(masks, scores, op)
    classes = None if idxs is None else indices_of(idxs, len(m), op, "idxs")
    kept = _core.mask_nms(m, s, real(iou_threshold, op, "iou_threshold"), classes, _count(max_output, op))
    return result_like(kept, masks, scores)


def mask_matrix_nms(
    masks: Array,
    scores: Array,
    idxs: Array | None = None,
    *,
    method: str = "gaussian",
    sigma: float = 2.0,
    score_threshold: float = 0.0,
    max_output: int | None = None,
) -> tuple[Array, Array]:
    """:func:`matrix_nms` by the IoU of masks, (N, H, W), as :func:`mask_nms` takes them."""
    op = "mask_matrix_nms"
    numbers = real(sigma, op, "sigma"), real(score_threshold, op, "score_threshold")
    if device := device_of(op, masks=masks, scores=scores, idxs=idxs):
        m_on, s_on = _masks_and_scores_on(device, masks, scores, op)
        return _matrix_nms_on(device, op, m_on, s_on, idxs, _name(method, op), *numbers, max_output)
    m, s = _masks_and_scores(masks, scores, op)
    classes = None if idxs is None else indices_of(idxs, len(m), op, "idxs")
    keep, new = _core.mask_matrix_nms(m, s, classes, _name(method, op), *numbers, _count(max_output, op))
    return result_like(keep, masks, scores), result_like(new, masks, scores)


def weighted_boxes_fusion(
    boxes_list: Sequence[Array],
    scores_list: Sequence[Array],
    labels_list: Sequence[Array],
    weights: Sequence[float] | None = None,
    iou_thr: float = 0.55,
    skip_box_thr: float = 0.0,
    conf_type: str = "avg",
    allows_overflow: bool = False,
    *,
    max_output: int | None = None,
) -> tuple[Array, Array, Array]:
    """The boxes of several models, fused where they overlap.

    By falling score, times the model's weight, each box joins the fused box of its class whose IoU is the
    highest above ``iou_thr``, or founds one; a fused box is the mean of its members, weighted by their
    scores. Names and semantics are those of the authors' package ``ensemble_boxes``; coordinates may have any
    unit. Boxes with a coordinate that is not finite, or a score that is not both positive and finite, are
    left out.

    Args:
        boxes_list: per model (N_i, 4) corners, float32 or float64, all of one type.
        scores_list: per model (N_i,), of the same type.
        labels_list: per model (N_i,), int64 or int32.
        weights: per model, positive; 1 each without.
        iou_thr: in [0, 1].
        skip_box_thr: boxes with a lower score are left out.
        conf_type: a fused score is the members' mean (``"avg"``), highest (``"max"``), or a mean that counts
            models without a member (``"box_and_model_avg"``, ``"absent_model_aware_avg"``).
        allows_overflow: let more members than models raise ``"avg"`` above their mean.
        max_output: return this many at most, the first ones.

    Returns:
        boxes (K, 4), scores (K,) by falling score, labels int64 (K,).

    Raises:
        TypeError: an argument is not an array, or of another dtype.
        ValueError: the shapes or lists contradict each other, a number is out of range, or ``conf_type`` is
            unknown.

    Source: Solovyev et al., "Weighted boxes fusion", Image and Vision Computing 2021.
    """
    op = "weighted_boxes_fusion"
    for name, arrays in (
        ("boxes_list", boxes_list),
        ("scores_list", scores_list),
        ("labels_list", labels_list),
    ):
        if not isinstance(arrays, list | tuple):
            raise TypeError(f"[{op}] expected {name} to be a list of arrays, got {type(arrays).__name__}")
        if len(arrays) != len(boxes_list) or not arrays:
            raise ValueError(
                f"[{op}] expected {name} to hold one array per model, got {len(arrays)} for {len(boxes_list)}"
            )
    count = len(boxes_list)
    limit = _count(max_output, op)
    if limit is not None:
        _check_limit(limit, op)
    model_weights = [1.0] * count if weights is None else reals(weights, op, "weights", count)
    dtypes: tuple[str, ...] = FLOATS
    parts = []
    for model, (boxes, scores, labels) in enumerate(zip(boxes_list, scores_list, labels_list, strict=True)):
        b = boxes_of(boxes, op, f"boxes_list[{model}]", dtypes)
        dtypes = (dtype_name(b.dtype),)
        s = vector_of(scores, len(b), op, f"scores_list[{model}]", dtypes)
        classes = indices_of(labels, len(b), op, f"labels_list[{model}]")
        parts.append((b, s, classes, np.full(len(b), model)))
    all_boxes, all_scores, all_labels, models = (np.concatenate(part) for part in zip(*parts, strict=True))
    fused = _core.weighted_boxes_fusion(
        all_boxes,
        all_scores,
        all_labels,
        models,
        model_weights,
        real(iou_thr, op, "iou_thr"),
        real(skip_box_thr, op, "skip_box_thr"),
        _name(conf_type, op, "conf_type"),
        flag(allows_overflow, op, "allows_overflow"),
    )
    boxes, scores, labels = (result_like(part[:limit], *boxes_list) for part in fused)
    return boxes, scores, labels


def _nms_on_device(
    device: Device,
    op: str,
    boxes: Array,
    scores: Array,
    idxs: Array | None,
    image_idxs: Array | None,
    iou_threshold: float,
    max_output: int | None,
    room: int | None = None,
    *,
    columns: int = 4,
) -> tuple[Array, Array]:
    """The indices kept, then -1, up to ``room``, by default the number of boxes; and their count."""
    b, s = boxes_and_scores_on(device, boxes, scores, op, columns=columns)
    n = b.shape[0]
    classes, images = (
        indices_on(device, idxs, n, op, "idxs"),
        indices_on(device, image_idxs, n, op, "image_idxs"),
    )
    threshold, limit = _threshold(iou_threshold, op), _count(max_output, op)
    if limit is not None:
        _check_limit(limit, op)
    views = [view_of(operand) for operand in (b, s, classes, images)]
    workspace = device.workspace(device.kernels.nms_workspace(device.stream, *views))
    keep, count = device.empty((n if room is None else room,), "int64"), device.empty((1,), "int64")
    device.kernels.nms(device.stream, *views, threshold, limit, workspace.view, keep.view, count.view)
    return device.give(keep), device.give(count)


def _matrix_nms_on(
    device: Device,
    op: str,
    items: Operand,
    scores: Operand,
    idxs: Array | None,
    method: str,
    sigma: float,
    score_threshold: float,
    max_output: int | None,
) -> tuple[Array, Array]:
    """:func:`matrix_nms` of boxes or masks."""
    classes = indices_on(device, idxs, items.shape[0], op, "idxs")
    views = (device.stream, op, items.view, scores.view, view_of(classes))
    return _decayed_on(
        device, scores, device.kernels.matrix_nms_workspace(*views),
        lambda *found: device.kernels.matrix_nms(
            *views, method, sigma, score_threshold, _count(max_output, op), *found
        ),
    )  # fmt: skip


def _decayed_on(
    device: Device, scores: Operand, workspace_bytes: int, run: Callable[..., None]
) -> tuple[Array, Array]:
    """What is kept, and its new scores; their number is read back."""
    workspace, keep = device.workspace(workspace_bytes), device.empty(scores.shape, "int64")
    kept_scores, count = device.empty(scores.shape, scores.dtype), device.empty((1,), "int64")
    run(workspace.view, keep.view, kept_scores.view, count.view)
    number = int(device.give(count)[0])
    return device.give(keep)[:number], device.give(kept_scores)[:number]


def _masks_and_scores_on(device: Device, masks: Array, scores: Array, op: str) -> tuple[Operand, Operand]:
    m = device.take(masks, op, "masks", MASKS)
    if len(m.shape) != 3:
        raise ValueError(f"[{op}] expected masks of shape (N, H, W), got {m.shape}")
    s = device.take(scores, op, "scores", FLOATS)
    check_shape(s, m.shape[:1], op, "scores")
    return m, s


def _threshold(iou_threshold: float, op: str) -> float:
    threshold = real(iou_threshold, op, "iou_threshold")
    if not 0 <= threshold <= 1:
        raise ValueError(f"[{op}] expected iou_threshold in [0, 1], got {threshold}")
    return threshold


def _masks_and_scores(masks: Array, scores: Array, op: str) -> tuple[np.ndarray, np.ndarray]:
    m = masks_of(masks, op)
    return m, vector_of(scores, len(m), op, "scores", FLOATS)


def _name(value: str, op: str, argument: str = "method") -> str:
    if not isinstance(value, str):
        raise TypeError(f"[{op}] expected {argument} to be a string, got {value!r}")
    return value


def _count(max_output: int | None, op: str) -> int | None:
    return None if max_output is None else integer(max_output, op, "max_output")


def _check_limit(max_output: int, op: str) -> None:
    if max_output < 1:
        raise ValueError(f"[{op}] expected max_output to be positive, got {max_output}")
