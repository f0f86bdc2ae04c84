# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3, boundscheck=False, wraparound=False
"""Detections and masks of many images, in loops that call pyvision's kernels without the GIL or a Python object."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from pyvision.postprocess.detection cimport nms_into
from pyvision.postprocess.masks cimport rle_area_of, rle_encode_into, rle_iou_of

import numpy as np


def nms_per_image(
    const float[:, ::1] boxes, const float[::1] scores, const int64_t[::1] starts, double iou_threshold
):
    """Non-maximum suppression within each image.

    Args:
        boxes: (N, 4) corners, one image after the other.
        scores: (N,).
        starts: (images + 1,): boxes starts[i] to starts[i + 1] are those of image i.
        iou_threshold: in [0, 1].

    Returns:
        keep int64 (N,), of which the first `total` count: indices into `boxes`, by image; and `total`.
    """
    if starts.shape[0] == 0 or starts[0] != 0 or starts[starts.shape[0] - 1] != boxes.shape[0]:
        raise ValueError(f"expected starts from 0 to the {boxes.shape[0]} boxes")
    if np.any(np.diff(starts) < 0):
        raise ValueError("expected starts that do not fall")
    keep_array = np.empty(boxes.shape[0], dtype=np.int64)
    cdef int64_t[::1] keep = keep_array
    cdef int64_t total = 0, count, first, last, i, k
    with nogil:
        for i in range(starts.shape[0] - 1):
            first, last = starts[i], starts[i + 1]
            count = nms_into(boxes[first:last], scores[first:last], iou_threshold, keep[total:])
            for k in range(total, total + count):
                keep[k] += first
            total += count
    return keep_array, total


def track_overlaps(const uint8_t[:, :, ::1] masks):
    """How much each mask (N, H, W) of a video overlaps the one before: areas int64 (N,) and IoU float64 (N,)."""
    cdef int64_t n = masks.shape[0], room = masks.shape[1] * masks.shape[2] + 1
    areas_array, overlaps_array = np.zeros(n, dtype=np.int64), np.zeros(n)
    cdef int64_t[::1] areas = areas_array
    cdef double[::1] overlaps = overlaps_array
    cdef uint32_t[:, ::1] runs = np.empty((2, room), dtype=np.uint32)
    cdef int64_t[2] counts
    cdef int64_t i, this, before
    with nogil:
        for i in range(n):
            this, before = i % 2, (i + 1) % 2
            counts[this] = rle_encode_into(masks[i], runs[this])
            areas[i] = rle_area_of(runs[this, : counts[this]])
            if i > 0:
                overlaps[i] = rle_iou_of(runs[this, : counts[this]], runs[before, : counts[before]], False)
    return areas_array, overlaps_array
