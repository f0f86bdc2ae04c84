# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t

# Anchors that have a score above the threshold go to `anchors` (room for all); returns how many, and sets `pairs`
# to the number of (anchor, class) scores above it.
cdef Py_ssize_t find_anchors(
    const float[:, ::1] scores, float threshold, int64_t[::1] anchors, Py_ssize_t* pairs
) noexcept nogil

# The box of one anchor, from 4 * bins logits.
cdef void decode_dfl_box(
    const float* logits, Py_ssize_t bins, float centre_x, float centre_y, float stride, float* box
) noexcept nogil

# Non-maximum suppression as pyvision.ops.nms: fills `keep` (room for all boxes), returns how many.
cdef int64_t nms_into(
    const float[:, ::1] boxes, const float[::1] scores, double iou_threshold, int64_t[::1] keep
) except -1 nogil
