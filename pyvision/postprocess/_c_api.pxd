# SPDX-License-Identifier: Apache-2.0
# The kernels as pyvision_c_api.h, in pyvision.postprocess.get_include(), has them.
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef extern from "pyvision_c_api.h" nogil:
    enum:
        PYVISION_BAD_ARGUMENT
        PYVISION_NO_MEMORY
        PYVISION_INTERRUPTED

    ctypedef struct PyvisionCApi:
        int64_t size
        int64_t (*nms)(
            const float* boxes, const float* scores, int64_t n, double iou_threshold, int64_t* keep
        ) noexcept nogil
        int64_t (*batched_nms)(
            const float* boxes, const float* scores, const int64_t* idxs, int64_t n, double iou_threshold,
            int64_t* keep
        ) noexcept nogil
        int64_t (*box_iou)(
            const float* boxes1, const float* boxes2, float* iou, int64_t n, int64_t m
        ) noexcept nogil
        int64_t (*decode_boxes)(
            const float* rel_codes, const float* boxes, float* decoded, int64_t n, int64_t per_box,
            const float* weights, float bbox_xform_clip
        ) noexcept nogil
        int64_t (*paste_masks)(
            const float* masks, const float* boxes, float* images, int64_t n, int64_t m, int64_t h, int64_t w,
            int64_t padding
        ) noexcept nogil
        int64_t (*paste_masks_above)(
            const float* masks, const float* boxes, uint8_t* images, int64_t n, int64_t m, int64_t h, int64_t w,
            int64_t padding, double threshold
        ) noexcept nogil
        int64_t (*rle_encode)(const uint8_t* mask, int64_t h, int64_t w, uint32_t* runs) noexcept nogil
        int64_t (*rle_decode)(
            const uint32_t* runs, int64_t count, int64_t h, int64_t w, uint8_t* mask
        ) noexcept nogil
        int64_t (*rle_area)(const uint32_t* runs, int64_t count) noexcept nogil
        double (*rle_iou)(
            const uint32_t* runs1, int64_t count1, const uint32_t* runs2, int64_t count2, int crowd
        ) noexcept nogil
        int64_t (*rle_compress)(const uint32_t* runs, int64_t count, char* text) noexcept nogil
        int64_t (*rle_decompress)(
            const char* text, int64_t length, int64_t pixels, uint32_t* runs
        ) noexcept nogil
        int64_t (*nms_limited)(
            const float* boxes, const float* scores, const int64_t* idxs, int64_t n, double iou_threshold,
            int64_t max_output, int64_t* keep
        ) noexcept nogil

cdef const PyvisionCApi* api

# `status` where it is none of an error; raises ValueError with `refused`, MemoryError or KeyboardInterrupt.
cdef int64_t checked(int64_t status, const char* refused) except -1 nogil

# A call has less than a microsecond to spare: buffers are looked into only where they do not become memoryviews.
# Raises the TypeError or ValueError that says so unless `value` is a C-contiguous buffer of `dtype` (several with
# " or " between them) and `rank`.
cdef int check_buffer(object value, str op, str name, str dtype, int rank) except -1

# What the caller passed for the argument `name` of `op` as a number; raises a TypeError or ValueError.
cdef int64_t as_int64(object value, str op, str name) except? -1
cdef double as_double(object value, str op, str name) except? -1

# The memory of a C-contiguous array that the caller keeps, a third of what a memoryview of it would take.
cdef void* memory_of(object array) except NULL

# Exports a C-contiguous int64 vector, which the caller releases; raises BufferError, TypeError or ValueError for
# others. Two thirds of what a memoryview of it would take.
cdef int get_int64s(object value, Py_buffer* view) except -1
