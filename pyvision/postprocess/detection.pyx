# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Detections from the maps of a dense detector."""

from cpython.buffer cimport PyBuffer_Release
from libc.math cimport expf
from libc.stdint cimport INT64_MAX, int64_t

from pyvision.postprocess._c_api cimport (
    PYVISION_BAD_ARGUMENT,
    api,
    as_double,
    as_int64,
    check_buffer,
    checked,
    get_int64s,
    memory_of,
)

import math

import numpy as np

from pyvision._array import as_numpy, result_like
from pyvision.ops._args import reals

# Looked up once: a call has less than a microsecond to spare.
cdef object empty = np.empty, int64 = np.dtype(np.int64), float32 = np.dtype(np.float32)

cdef Py_ssize_t find_anchors(
    const float[:, ::1] scores, float threshold, int64_t[::1] anchors, Py_ssize_t* pairs
) noexcept nogil:
    cdef Py_ssize_t found = 0, total = 0, a, c
    cdef Py_ssize_t classes = scores.shape[1]
    cdef const float* row
    cdef int hits
    for a in range(scores.shape[0] if classes > 0 else 0):
        row = &scores[a, 0]
        hits = 0
        for c in range(classes):  # no branch inside: the compiler makes vectors of it
            hits += row[c] > threshold
        if hits:
            anchors[found] = a
            found += 1
            total += hits
    pairs[0] = total
    return found


cdef void decode_dfl_box(
    const float* logits, Py_ssize_t bins, float centre_x, float centre_y, float stride, float* box
) noexcept nogil:
    cdef float[4] distance
    cdef float peak, weight, total, mean
    cdef Py_ssize_t side, k
    for side in range(4):
        peak = logits[0]
        for k in range(1, bins):
            peak = logits[k] if logits[k] > peak else peak
        total = 0
        mean = 0
        for k in range(bins):
            weight = expf(logits[k] - peak)
            total += weight
            mean += weight * k
        distance[side] = mean / total * stride
        logits += bins
    box[0] = centre_x - distance[0]
    box[1] = centre_y - distance[1]
    box[2] = centre_x + distance[2]
    box[3] = centre_y + distance[3]


# Says which of a suppression's arguments does not fit.
cdef int refuse_suppression(
    str op,
    const float[:, ::1] boxes,
    const float[::1] scores,
    int64_t classes,
    double iou_threshold,
    int64_t max_output,
    int64_t room,
) except -1:
    cdef int64_t n = boxes.shape[0]
    if boxes.shape[1] != 4:
        raise ValueError(f"[{op}] expected boxes of shape (N, 4), got ({n}, {boxes.shape[1]})")
    if scores.shape[0] != n:
        raise ValueError(f"[{op}] expected scores of shape ({n},), got ({scores.shape[0]},)")
    if classes != n:
        raise ValueError(f"[{op}] expected idxs of shape ({n},), got ({classes},)")
    if room < n:
        raise ValueError(f"[{op}] expected keep to have room for {n} indices, got {room}")
    if max_output < 1:
        raise ValueError(f"[{op}] expected max_output to be positive, got {max_output}")
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"[{op}] expected iou_threshold in [0, 1], got {iou_threshold}")
    raise ValueError(f"[{op}] expected fewer than 2^31 boxes, got {n}")


# idxs: (classes,) of batched_nms, or null: as many as boxes; keep: `room` indices
cdef int64_t nms_to(
    const char* op,
    const float[:, ::1] boxes,
    const float[::1] scores,
    const int64_t* idxs,
    int64_t classes,
    double iou_threshold,
    int64_t max_output,
    int64_t* keep,
    int64_t room,
) except -1 nogil:
    cdef int64_t n = boxes.shape[0], kept = PYVISION_BAD_ARGUMENT
    if (
        boxes.shape[1] == 4
        and scores.shape[0] == n
        and classes == n
        and room >= n
        and max_output >= 1
        and 0 <= iou_threshold <= 1
    ):
        if n == 0:
            return 0
        kept = api.nms_limited(&boxes[0, 0], &scores[0], idxs, n, iou_threshold, max_output, keep)
    if kept == PYVISION_BAD_ARGUMENT:
        with gil:
            refuse_suppression(op.decode(), boxes, scores, classes, iou_threshold, max_output, room)
    return checked(kept, op)  # which is not refused here: interrupted or out of memory at most


cdef int64_t nms_limited_into(
    const float[:, ::1] boxes,
    const float[::1] scores,
    double iou_threshold,
    int64_t max_output,
    int64_t[::1] keep,
) except -1 nogil:
    return nms_to(
        b"nms", boxes, scores, NULL, boxes.shape[0], iou_threshold, max_output, &keep[0], keep.shape[0]
    )


cdef int64_t nms_into(
    const float[:, ::1] boxes, const float[::1] scores, double iou_threshold, int64_t[::1] keep
) except -1 nogil:
    return nms_limited_into(boxes, scores, iou_threshold, INT64_MAX, keep)


cdef int64_t batched_nms_limited_into(
    const float[:, ::1] boxes,
    const float[::1] scores,
    const int64_t[::1] idxs,
    double iou_threshold,
    int64_t max_output,
    int64_t[::1] keep,
) except -1 nogil:
    return nms_to(
        b"batched_nms", boxes, scores, &idxs[0], idxs.shape[0], iou_threshold, max_output, &keep[0], keep.shape[0]
    )


cdef int64_t batched_nms_into(
    const float[:, ::1] boxes,
    const float[::1] scores,
    const int64_t[::1] idxs,
    double iou_threshold,
    int64_t[::1] keep,
) except -1 nogil:
    return batched_nms_limited_into(boxes, scores, idxs, iou_threshold, INT64_MAX, keep)


# iou: (n, m)
cdef int64_t box_iou_to(
    const float[:, ::1] boxes1, const float[:, ::1] boxes2, float* iou, int64_t n, int64_t m
) except -1 nogil:
    if boxes1.shape[1] != 4 or boxes2.shape[1] != 4 or n != boxes1.shape[0] or m != boxes2.shape[0]:
        with gil:
            raise ValueError(
                "[box_iou] expected boxes1 (N, 4), boxes2 (M, 4) and iou (N, M), got "
                f"({boxes1.shape[0]}, {boxes1.shape[1]}), ({boxes2.shape[0]}, {boxes2.shape[1]}) and ({n}, {m})"
            )
    if n == 0 or m == 0:
        return 0
    return checked(
        api.box_iou(&boxes1[0, 0], &boxes2[0, 0], iou, n, m),
        b"[box_iou] expected fewer boxes, got too many",
    )


cdef int64_t box_iou_into(
    const float[:, ::1] boxes1, const float[:, ::1] boxes2, float[:, ::1] iou
) except -1 nogil:
    return box_iou_to(boxes1, boxes2, &iou[0, 0], iou.shape[0], iou.shape[1])


# decoded: (rows, columns)
cdef int64_t decode_boxes_to(
    const float[:, ::1] rel_codes,
    const float[:, ::1] boxes,
    float* decoded,
    int64_t rows,
    int64_t columns,
    const float* weights,
    float bbox_xform_clip,
) except -1 nogil:
    cdef int64_t n = boxes.shape[0], per_box = rel_codes.shape[1] // 4
    if (
        boxes.shape[1] != 4
        or rel_codes.shape[0] != n
        or rel_codes.shape[1] % 4
        or rows != n
        or columns != rel_codes.shape[1]
    ):
        with gil:
            raise ValueError(
                "[decode_boxes] expected rel_codes and decoded (N, 4 * classes) and boxes (N, 4), got "
                f"({rel_codes.shape[0]}, {rel_codes.shape[1]}), ({rows}, {columns}) and "
                f"({n}, {boxes.shape[1]})"
            )
    return checked(
        api.decode_boxes(
            &rel_codes[0, 0] if n > 0 and per_box > 0 else NULL,
            &boxes[0, 0] if n > 0 else NULL,
            decoded,
            n,
            per_box,
            weights,
            bbox_xform_clip,
        ),
        b"[decode_boxes] expected weights to be finite and positive and bbox_xform_clip above -infinity, got others",
    )


cdef int64_t decode_boxes_into(
    const float[:, ::1] rel_codes,
    const float[:, ::1] boxes,
    float[:, ::1] decoded,
    const float* weights,
    float bbox_xform_clip,
) except -1 nogil:
    return decode_boxes_to(
        rel_codes, boxes, &decoded[0, 0], decoded.shape[0], decoded.shape[1], weights, bbox_xform_clip
    )


def decode_dfl(scores, distances, *, stride, width, score_threshold):
    """Decode boxes whose sides are distributions over distance bins, as NanoDet and GFL predict them.

    Anchors lie row by row on a map ``width`` wide, at ``((x + 0.5) * stride, (y + 0.5) * stride)``. The distances to
    the left, top, right and bottom sides are ``stride`` times the expectation of a softmax over the bins.

    Args:
        scores: float32 (A, classes), probabilities.
        distances: float32 (A, 4 * bins), logits.
        stride: pixels per cell of the map.
        width: cells per row; divides A.
        score_threshold: a detection for every score above it, in float32.

    Returns:
        boxes float32 (K, 4), corners in pixels; scores float32 (K,); labels int64 (K,): by anchor, then class.

    Raises:
        TypeError: an array or number of another type.
        ValueError: shapes that contradict each other, or a number out of range.

    Source: Li et al., "Generalized Focal Loss", NeurIPS 2020.
    """
    op = "decode_dfl"
    scores_array = np.ascontiguousarray(as_numpy(scores, op, "scores"))
    distances_array = np.ascontiguousarray(as_numpy(distances, op, "distances"))
    cdef int64_t pixels = as_int64(stride, op, "stride"), columns = as_int64(width, op, "width")
    cdef double threshold_value = as_double(score_threshold, op, "score_threshold")
    if scores_array.ndim != 2:
        raise ValueError(f"[{op}] expected scores of shape (A, classes), got {scores_array.shape}")
    cdef Py_ssize_t anchor_count = scores_array.shape[0], classes = scores_array.shape[1]
    if (
        distances_array.ndim != 2
        or distances_array.shape[0] != anchor_count
        or distances_array.shape[1] == 0
        or distances_array.shape[1] % 4
    ):
        raise ValueError(
            f"[{op}] expected distances of shape ({anchor_count}, 4 * bins), got {distances_array.shape}"
        )
    if pixels <= 0:
        raise ValueError(f"[{op}] expected stride to be positive, got {pixels}")
    if columns <= 0 or anchor_count % columns:
        raise ValueError(f"[{op}] expected width to divide the {anchor_count} anchors, got {columns}")
    if math.isnan(threshold_value):
        raise ValueError(f"[{op}] expected score_threshold to be a number, got nan")

    cdef const float[:, ::1] score = scores_array, logits = distances_array
    cdef int64_t[::1] anchors = np.empty(anchor_count, dtype=np.int64)
    cdef Py_ssize_t pairs, found, i, c, k = 0, a, bins = distances_array.shape[1] // 4
    cdef float threshold = threshold_value
    with nogil:
        found = find_anchors(score, threshold, anchors, &pairs)

    boxes_array = np.empty((pairs, 4), dtype=np.float32)
    scores_out_array = np.empty(pairs, dtype=np.float32)
    labels_array = np.empty(pairs, dtype=np.int64)
    cdef float[:, ::1] boxes = boxes_array
    cdef float[::1] scores_out = scores_out_array
    cdef int64_t[::1] labels = labels_array
    cdef float[4] box
    with nogil:
        for i in range(found):
            a = anchors[i]
            decode_dfl_box(
                &logits[a, 0], bins, (a % columns + 0.5) * pixels, (a // columns + 0.5) * pixels, pixels, box
            )
            for c in range(classes):
                if score[a, c] > threshold:
                    boxes[k, 0] = box[0]
                    boxes[k, 1] = box[1]
                    boxes[k, 2] = box[2]
                    boxes[k, 3] = box[3]
                    scores_out[k] = score[a, c]
                    labels[k] = c
                    k += 1
    return (
        result_like(boxes_array, scores, distances),
        result_like(scores_out_array, scores, distances),
        result_like(labels_array, scores, distances),
    )


def nms(boxes, scores, iou_threshold, *, max_output=None):
    """:func:`pyvision.ops.nms` for C-contiguous float32 buffers, without the conversion of other arrays.

    Args:
        boxes: (N, 4) corners.
        scores: (N,).
        iou_threshold: in [0, 1].
        max_output: keep this many at most, the first ones.

    Returns:
        int64 (K,): the indices of the kept boxes, by falling score.

    Raises:
        TypeError: an argument is no buffer, one of another dtype, or no number.
        ValueError: a buffer has another shape or is not C-contiguous, or a number is out of range.
    """
    cdef const float[:, ::1] corners
    cdef const float[::1] values
    cdef double threshold = as_double(iou_threshold, "nms", "iou_threshold")
    cdef int64_t limit = INT64_MAX if max_output is None else as_int64(max_output, "nms", "max_output")
    try:
        if boxes is None or scores is None:  # which a memoryview may be
            raise TypeError
        corners = boxes
        values = scores
    except (BufferError, TypeError, ValueError):  # says which does not fit
        check_buffer(boxes, "nms", "boxes", "float32", 2)
        check_buffer(scores, "nms", "scores", "float32", 1)
        raise
    cdef int64_t n = corners.shape[0], count
    keep = empty(n, int64)
    cdef int64_t* kept = <int64_t*>memory_of(keep)
    with nogil:
        count = nms_to(b"nms", corners, values, NULL, n, threshold, limit, kept, n)
    return keep if count == n else keep[:count]


def batched_nms(boxes, scores, idxs, iou_threshold, *, max_output=None):
    """:func:`pyvision.ops.batched_nms` of one image, as :func:`nms`; ``idxs`` are (N,) classes, int64."""
    op = "batched_nms"
    cdef const float[:, ::1] corners
    cdef const float[::1] values
    cdef Py_buffer classes
    cdef double threshold = as_double(iou_threshold, op, "iou_threshold")
    cdef int64_t limit = INT64_MAX if max_output is None else as_int64(max_output, op, "max_output")
    try:
        if boxes is None or scores is None:
            raise TypeError
        corners = boxes
        values = scores
        get_int64s(idxs, &classes)
    except (BufferError, TypeError, ValueError):
        check_buffer(boxes, op, "boxes", "float32", 2)
        check_buffer(scores, op, "scores", "float32", 1)
        check_buffer(idxs, op, "idxs", "int64", 1)
        raise
    cdef int64_t n = corners.shape[0], count
    cdef int64_t* kept
    try:
        keep = empty(n, int64)
        kept = <int64_t*>memory_of(keep)
        with nogil:
            count = nms_to(
                b"batched_nms", corners, values, <int64_t*>classes.buf, classes.shape[0], threshold, limit, kept, n
            )
    finally:
        PyBuffer_Release(&classes)
    return keep if count == n else keep[:count]


def box_iou(boxes1, boxes2):
    """:func:`pyvision.ops.box_iou` for C-contiguous float32 buffers (N, 4) and (M, 4), as :func:`nms`.

    Returns float32 (N, M). Raises ValueError or TypeError for other buffers.
    """
    cdef const float[:, ::1] left
    cdef const float[:, ::1] right
    try:
        if boxes1 is None or boxes2 is None:
            raise TypeError
        left = boxes1
        right = boxes2
    except (BufferError, TypeError, ValueError):
        check_buffer(boxes1, "box_iou", "boxes1", "float32", 2)
        check_buffer(boxes2, "box_iou", "boxes2", "float32", 2)
        raise
    cdef int64_t n = left.shape[0], m = right.shape[0]
    iou = empty((n, m), float32)
    cdef float* values = <float*>memory_of(iou)
    with nogil:
        box_iou_to(left, right, values, n, m)
    return iou


def decode_boxes(rel_codes, boxes, weights=(1.0, 1.0, 1.0, 1.0), bbox_xform_clip=4.135166556742356):
    """:func:`pyvision.ops.decode_boxes` for C-contiguous float32 buffers, as :func:`nms`.

    Args:
        rel_codes: (N, 4 * classes).
        boxes: (N, 4) corners.
        weights: four positive numbers.
        bbox_xform_clip: bound of dw and dh; log(1000 / 16) as in torchvision.

    Returns:
        float32 (N, 4 * classes).

    Raises:
        TypeError: an argument is no buffer, one of another dtype, or not of numbers.
        ValueError: a buffer has another shape or is not C-contiguous, or a number is out of range.
    """
    op = "decode_boxes"
    cdef const float[:, ::1] codes
    cdef const float[:, ::1] corners
    try:
        if rel_codes is None or boxes is None:
            raise TypeError
        codes = rel_codes
        corners = boxes
    except (BufferError, TypeError, ValueError):
        check_buffer(rel_codes, op, "rel_codes", "float32", 2)
        check_buffer(boxes, op, "boxes", "float32", 2)
        raise
    cdef double clip = as_double(bbox_xform_clip, op, "bbox_xform_clip")
    cdef float[4] factors
    cdef int i
    if type(weights) is not tuple or len(<tuple>weights) != 4:
        weights = reals(weights, op, "weights", 4)
    for i in range(4):
        factors[i] = as_double(weights[i], op, "weights")
    cdef int64_t rows = codes.shape[0], columns = codes.shape[1]
    decoded = empty((rows, columns), float32)
    cdef float* values = <float*>memory_of(decoded)
    with nogil:
        decode_boxes_to(codes, corners, values, rows, columns, factors, clip)
    return decoded
