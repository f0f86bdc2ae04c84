# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Masks pasted into images, and COCO's run-length encodings, one at a time."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

from pyvision.postprocess._c_api cimport api, checked

import numpy as np

# Looked up once: a call has less than a microsecond to spare.
cdef object zeros = np.zeros, float32 = np.dtype(np.float32), uint8 = np.dtype(np.uint8)

cdef const char* TOO_MANY_PIXELS = b"[rle_encode] expected a mask of fewer than 2^32 pixels, got more"
cdef const char* NOT_AN_ENCODING = (
    b"[rle_decompress] expected compressed counts that sum to the pixels of the mask, got others"
)


cdef int check_pasted(const float[:, :, ::1] masks, const float[:, ::1] boxes, int64_t images) except -1 nogil:
    cdef int64_t n = masks.shape[0]
    if masks.shape[2] != masks.shape[1] or boxes.shape[0] != n or boxes.shape[1] != 4 or images != n:
        raise ValueError("[paste_masks] expected masks (N, M, M), boxes (N, 4) and images (N, H, W), got others")
    return 0


cdef int64_t paste_masks_into(
    const float[:, :, ::1] masks, const float[:, ::1] boxes, int64_t padding, float[:, :, ::1] images
) except -1 nogil:
    cdef int64_t n = masks.shape[0], m = masks.shape[1], h = images.shape[1], w = images.shape[2]
    check_pasted(masks, boxes, images.shape[0])
    if n == 0 or m == 0 or h == 0 or w == 0:
        return 0
    return checked(
        api.paste_masks(&masks[0, 0, 0], &boxes[0, 0], &images[0, 0, 0], n, m, h, w, padding),
        b"[paste_masks] expected finite boxes within 2^30 pixels and padding from 0, got others",
    )


cdef int64_t paste_masks_above_into(
    const float[:, :, ::1] masks,
    const float[:, ::1] boxes,
    int64_t padding,
    double threshold,
    uint8_t[:, :, ::1] images,
) except -1 nogil:
    cdef int64_t n = masks.shape[0], m = masks.shape[1], h = images.shape[1], w = images.shape[2]
    check_pasted(masks, boxes, images.shape[0])
    if n == 0 or m == 0 or h == 0 or w == 0:
        return 0
    return checked(
        api.paste_masks_above(
            &masks[0, 0, 0], &boxes[0, 0], &images[0, 0, 0], n, m, h, w, padding, threshold
        ),
        b"[paste_masks] expected finite boxes within 2^30 pixels, padding from 0 and threshold in [0, 1], got others",
    )


cdef int64_t rle_encode_into(const uint8_t[:, ::1] mask, uint32_t[::1] runs) except -1 nogil:
    cdef int64_t h = mask.shape[0], w = mask.shape[1]
    if runs.shape[0] < h * w + 1:
        raise ValueError("[rle_encode] expected runs with room for H * W + 1 lengths, got fewer")
    return checked(
        api.rle_encode(&mask[0, 0] if h > 0 and w > 0 else NULL, h, w, &runs[0]),
        TOO_MANY_PIXELS,
    )


cdef int64_t rle_decode_into(const uint32_t[::1] runs, uint8_t[:, ::1] mask) except -1 nogil:
    cdef int64_t h = mask.shape[0], w = mask.shape[1], count = runs.shape[0]
    return checked(
        api.rle_decode(
            &runs[0] if count > 0 else NULL, count, h, w, &mask[0, 0] if h > 0 and w > 0 else NULL
        ),
        b"[rle_decode] expected runs that sum to the pixels of mask, got others",
    )


cdef int64_t rle_compress_into(const uint32_t[::1] runs, char* text) noexcept nogil:
    return api.rle_compress(&runs[0], runs.shape[0], text) if runs.shape[0] > 0 else 0


cdef int64_t rle_decompress_into(
    const char* text, int64_t length, int64_t pixels, uint32_t[::1] runs
) except -1 nogil:
    if runs.shape[0] < length:
        raise ValueError("[rle_decompress] expected runs with room for as many lengths as characters, got fewer")
    return checked(
        api.rle_decompress(text, length, pixels, &runs[0] if length > 0 else NULL), NOT_AN_ENCODING
    )


cdef int64_t rle_area_of(const uint32_t[::1] runs) noexcept nogil:
    return api.rle_area(&runs[0], runs.shape[0]) if runs.shape[0] > 0 else 0


cdef double rle_iou_of(const uint32_t[::1] runs1, const uint32_t[::1] runs2, bint crowd) except -1 nogil:
    cdef double overlap
    if runs1.shape[0] == 0 or runs2.shape[0] == 0:
        return 0
    overlap = api.rle_iou(&runs1[0], runs1.shape[0], &runs2[0], runs2.shape[0], crowd)
    checked(<int64_t>overlap, b"[rle_iou] expected encodings, got others")
    return overlap


cdef int64_t read_runs(bytes counts, int64_t height, int64_t width, uint32_t** runs) except -1:
    """Memory for the caller to free, with as many lengths as it returns."""
    cdef int64_t length = PyBytes_GET_SIZE(counts)
    if height < 0 or width < 0 or (width > 0 and height > 0xffffffff // width):
        raise ValueError(f"[rle] expected height and width of fewer than 2^32 pixels, got {height} and {width}")
    runs[0] = <uint32_t*>malloc((length + 1) * sizeof(uint32_t))
    if runs[0] == NULL:
        raise MemoryError
    cdef int64_t count = api.rle_decompress(PyBytes_AS_STRING(counts), length, height * width, runs[0])
    if count < 0:
        free(runs[0])
        runs[0] = NULL
    return checked(count, NOT_AN_ENCODING)


def paste_masks(
    const float[:, :, ::1] masks not None,
    const float[:, ::1] boxes not None,
    int64_t height,
    int64_t width,
    *,
    int64_t padding=1,
    threshold=None,
):
    """:func:`pyvision.ops.paste_masks` for C-contiguous float32 buffers, without the checks for other arrays.

    Args:
        masks: (N, M, M).
        boxes: (N, 4) corners in pixels.
        height: of the image.
        width: of the image.
        padding: of the masks, from 0.
        threshold: in [0, 1].

    Returns:
        float32 (N, height, width); with ``threshold`` uint8, 1 where a probability is greater.

    Raises:
        TypeError: an argument is no buffer, or no number.
        ValueError: a buffer of another dtype or shape, a number out of range, or a box that is not finite.
    """
    if height < 0 or width < 0:
        raise ValueError(f"[paste_masks] expected height and width from 0, got {height} and {width}")
    cdef float[:, :, ::1] values
    cdef uint8_t[:, :, ::1] above
    cdef double limit
    shape = (masks.shape[0], height, width)
    if threshold is None:
        images = zeros(shape, float32)
        values = images
        with nogil:
            paste_masks_into(masks, boxes, padding, values)
    else:
        images = zeros(shape, uint8)
        above = images
        limit = threshold
        with nogil:
            paste_masks_above_into(masks, boxes, padding, limit, above)
    return images


def rle_encode(const uint8_t[:, ::1] mask not None):
    """The ``counts`` of :func:`pyvision.ops.rle_encode` for one C-contiguous mask (H, W), uint8 or bool.

    Returns bytes. Raises ValueError or TypeError for other buffers.
    """
    cdef int64_t h = mask.shape[0], w = mask.shape[1], count, length
    cdef uint32_t* runs = <uint32_t*>malloc((h * w + 1) * sizeof(uint32_t))
    cdef char* text = NULL
    if runs == NULL:
        raise MemoryError
    try:
        with nogil:
            count = checked(
                api.rle_encode(&mask[0, 0] if h > 0 and w > 0 else NULL, h, w, runs), TOO_MANY_PIXELS
            )
            text = <char*>malloc(7 * count)
            if text != NULL:
                length = api.rle_compress(runs, count, text)
        if text == NULL:
            raise MemoryError
        return PyBytes_FromStringAndSize(text, length)
    finally:
        free(text)
        free(runs)


def rle_decode(bytes counts not None, int64_t height, int64_t width):
    """The mask of compressed ``counts``: uint8 (height, width), 0 and 1.

    Raises TypeError if ``counts`` are no bytes, ValueError if they are not an encoding of that many pixels.
    """
    cdef uint32_t* runs = NULL
    cdef int64_t count = read_runs(counts, height, width, &runs)
    cdef uint8_t[:, ::1] mask
    try:
        mask_array = np.empty((height, width), dtype=np.uint8)
        mask = mask_array
        with nogil:
            checked(
                api.rle_decode(runs, count, height, width, &mask[0, 0] if height > 0 and width > 0 else NULL),
                NOT_AN_ENCODING,
            )
        return mask_array
    finally:
        free(runs)


def rle_area(bytes counts not None, int64_t height, int64_t width):
    """How many pixels compressed ``counts`` set, an int. Errors as :func:`rle_decode`."""
    cdef uint32_t* runs = NULL
    cdef int64_t count = read_runs(counts, height, width, &runs)
    cdef int64_t area = api.rle_area(runs, count)
    free(runs)
    return area


def rle_iou(bytes dt not None, bytes gt not None, int64_t height, int64_t width, bint iscrowd=False):
    """Intersection over union of two masks of one size as ``counts``, as :func:`pyvision.ops.rle_iou`.

    Returns a float. Errors as :func:`rle_decode`.
    """
    cdef uint32_t* runs1 = NULL
    cdef uint32_t* runs2 = NULL
    cdef int64_t count1, count2
    cdef double overlap
    try:
        count1 = read_runs(dt, height, width, &runs1)
        count2 = read_runs(gt, height, width, &runs2)
        with nogil:
            overlap = api.rle_iou(runs1, count1, runs2, count2, iscrowd)
            checked(<int64_t>overlap, NOT_AN_ENCODING)
        return overlap
    finally:
        free(runs1)
        free(runs2)
