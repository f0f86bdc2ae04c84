# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Detections from the maps of a dense detector."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport expf
from libc.stdint cimport int64_t

import math

import numpy as np

from pyvision import _core
from pyvision._array import as_numpy, result_like
from pyvision.ops._args import integer, real

ctypedef int64_t (*nms_f32_t)(const float*, const float*, int64_t, double, int64_t*) noexcept nogil

cdef nms_f32_t nms_f32 = <nms_f32_t>PyCapsule_GetPointer(_core.nms_f32, "pyvision._core.nms_f32")


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


cdef int64_t nms_into(
    const float[:, ::1] boxes, const float[::1] scores, double iou_threshold, int64_t[::1] keep
) except -1 nogil:
    cdef int64_t n = boxes.shape[0], count
    if boxes.shape[1] != 4 or scores.shape[0] != n or keep.shape[0] < n:
        raise ValueError("[nms] expected boxes (N, 4), scores (N,) and room for N indices")
    if n == 0:
        return 0
    count = nms_f32(&boxes[0, 0], &scores[0], n, iou_threshold, &keep[0])
    if count < 0:
        raise ValueError("[nms] expected iou_threshold in [0, 1] and memory for the boxes")
    return count


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
    cdef int64_t pixels = integer(stride, op, "stride"), columns = integer(width, op, "width")
    threshold_value = real(score_threshold, op, "score_threshold")
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


def nms(const float[:, ::1] boxes, const float[::1] scores, double iou_threshold):
    """:func:`pyvision.ops.nms` for C-contiguous float32 buffers, without the checks for other arrays.

    Args:
        boxes: (N, 4) corners.
        scores: (N,).
        iou_threshold: in [0, 1].

    Returns:
        int64 (K,): the indices of the kept boxes, by falling score.

    Raises:
        TypeError: an argument is no buffer.
        ValueError: a buffer of another dtype or shape, or ``iou_threshold`` out of range.
    """
    keep_array = np.empty(boxes.shape[0], dtype=np.int64)
    cdef int64_t[::1] keep = keep_array
    cdef int64_t count
    with nogil:
        count = nms_into(boxes, scores, iou_threshold, keep)
    return keep_array[:count]
