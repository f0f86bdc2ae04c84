# SPDX-License-Identifier: Apache-2.0
from libc.stdint cimport int64_t, uint8_t, uint32_t

# As pyvision.ops.paste_masks, masks (N, M, M): writes the pixels of `images`, (N, H, W), that lie in the boxes.
cdef int64_t paste_masks_into(
    const float[:, :, ::1] masks, const float[:, ::1] boxes, int64_t padding, float[:, :, ::1] images
) except -1 nogil

# The same, 1 where a value is greater than the threshold and else 0.
cdef int64_t paste_masks_above_into(
    const float[:, :, ::1] masks,
    const float[:, ::1] boxes,
    int64_t padding,
    double threshold,
    uint8_t[:, :, ::1] images,
) except -1 nogil

# An encoding: the lengths of runs of unset and set pixels, by turns, down the columns.
# Fills `runs` (room for H * W + 1), returns how many there are.
cdef int64_t rle_encode_into(const uint8_t[:, ::1] mask, uint32_t[::1] runs) except -1 nogil

# Fills `mask`, whose pixels the runs must sum to, with 0 and 1.
cdef int64_t rle_decode_into(const uint32_t[::1] runs, uint8_t[:, ::1] mask) except -1 nogil

# COCO's text of an encoding: fills `text` (room for 7 characters per length), returns how many there are.
cdef int64_t rle_compress_into(const uint32_t[::1] runs, char* text) noexcept nogil

# Its inverse: fills `runs` (room for `length`), which must sum to `pixels`, returns how many there are.
cdef int64_t rle_decompress_into(
    const char* text, int64_t length, int64_t pixels, uint32_t[::1] runs
) except -1 nogil

cdef int64_t rle_area_of(const uint32_t[::1] runs) noexcept nogil

# Of two encodings of masks of one size; with `crowd` over the area of the first.
cdef double rle_iou_of(const uint32_t[::1] runs1, const uint32_t[::1] runs2, bint crowd) except -1 nogil
