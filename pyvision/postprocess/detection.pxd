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

# The same for max_output boxes at most, the first ones.
cdef int64_t nms_limited_into(
    const float[:, ::1] boxes,
    const float[::1] scores,
    double iou_threshold,
    int64_t max_output,
    int64_t[::1] keep,
) except -1 nogil

# The same within each of idxs, as pyvision.ops.batched_nms.
cdef int64_t batched_nms_into(
    const float[:, ::1] boxes,
    const float[::1] scores,
    const int64_t[::1] idxs,
    double iou_threshold,
    int64_t[::1] keep,
) except -1 nogil

cdef int64_t batched_nms_limited_into(
    const float[:, ::1] boxes,
    const float[::1] scores,
    const int64_t[::1] idxs,
    double iou_threshold,
    int64_t max_output,
    int64_t[::1] keep,
) except -1 nogil

# As pyvision.ops.box_iou: fills `iou`, (N, M).
cdef int64_t box_iou_into(
    const float[:, ::1] boxes1, const float[:, ::1] boxes2, float[:, ::1] iou
) except -1 nogil

# As pyvision.ops.decode_boxes: fills `decoded`, of rel_codes' shape. weights: 4 of them.
cdef int64_t decode_boxes_into(
    const float[:, ::1] rel_codes,
    const float[:, ::1] boxes,
    float[:, ::1] decoded,
    const float* weights,
    float bbox_xform_clip,
) except -1 nogil
