# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Masks pasted into images, and COCO's run-length encodings, one at a time."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc

from pyvision.postprocess._c_api cimport (
    PYVISION_BAD_ARGUMENT,
    PYVISION_NO_MEMORY,
    api,
    as_double,
    as_int64,
    check_buffer,
    checked,
    memory_of,
)

import numpy as np

from pyvision.ops._args import zero_or_one

# Looked up once: a call has less than a microsecond to spare.
cdef object empty = np.empty, zeros = np.zeros, float32 = np.dtype(np.float32), uint8 = np.dtype(np.uint8)

cdef const char* TOO_MANY_PIXELS = b"[rle_encode] expected a mask of fewer than 2^32 pixels, got more"


cdef int check_pasted(const float[:, :, ::1] masks, const float[:, ::1] boxes, int64_t images) except -1 nogil:
    cdef int64_t n = masks.shape[0]
    if masks.shape[2] != masks.shape[1] or boxes.shape[0] != n or boxes.shape[1] != 4 or images != n:
        with gil:
            raise ValueError(
                "[paste_masks] expected masks (N, M, M), boxes (N, 4) and images (N, H, W), got "
                f"({n}, {masks.shape[1]}, {masks.shape[2]}), ({boxes.shape[0]}, {boxes.shape[1]}) and {images} images"
            )
    return 0


# images: (n, h, w), n as check_pasted() wants it
cdef int64_t paste_masks_to(
    const float[:, :, ::1] masks, const float[:, ::1] boxes, int64_t padding, float* images, int64_t h, int64_t w
) except -1 nogil:
    cdef int64_t n = masks.shape[0], m = masks.shape[1]
    if n == 0 or m == 0 or h == 0 or w == 0:
        return 0
    return checked(
        api.paste_masks(&masks[0, 0, 0], &boxes[0, 0], images, n, m, h, w, padding),
        b"[paste_masks] expected finite boxes within 2^30 pixels and padding from 0, got others",
    )


cdef int64_t paste_masks_into(
    const float[:, :, ::1] masks, const float[:, ::1] boxes, int64_t padding, float[:, :, ::1] images
) except -1 nogil:
    check_pasted(masks, boxes, images.shape[0])
    return paste_masks_to(masks, boxes, padding, &images[0, 0, 0], images.shape[1], images.shape[2])


cdef int64_t paste_masks_above_to(
    const float[:, :, ::1] masks,
    const float[:, ::1] boxes,
    int64_t padding,
    double threshold,
    uint8_t* images,
    int64_t h,
    int64_t w,
) except -1 nogil:
    cdef int64_t n = masks.shape[0], m = masks.shape[1]
    if n == 0 or m == 0 or h == 0 or w == 0:
        return 0
    return checked(
        api.paste_masks_above(&masks[0, 0, 0], &boxes[0, 0], images, n, m, h, w, padding, threshold),
        b"[paste_masks] expected finite boxes within 2^30 pixels, padding from 0 and threshold in [0, 1], got others",
    )


cdef int64_t paste_masks_above_into(
    const float[:, :, ::1] masks,
    const float[:, ::1] boxes,
    int64_t padding,
    double threshold,
    uint8_t[:, :, ::1] images,
) except -1 nogil:
    check_pasted(masks, boxes, images.shape[0])
    return paste_masks_above_to(
        masks, boxes, padding, threshold, &images[0, 0, 0], images.shape[1], images.shape[2]
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
        api.rle_decompress(text, length, pixels, &runs[0] if length > 0 else NULL),
        b"[rle_decompress] expected compressed counts that sum to the pixels of the mask, got others",
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


# Memory for the caller to free, with as many lengths as it returns, or the status of an error.
cdef int64_t read_runs(const char* counts, int64_t length, int64_t pixels, uint32_t** runs) noexcept nogil:
    runs[0] = <uint32_t*>malloc((length + 1) * sizeof(uint32_t))
    return api.rle_decompress(counts, length, pixels, runs[0]) if runs[0] != NULL else PYVISION_NO_MEMORY


# What read_runs() returned for the argument `name`, unless it is an error.
cdef int64_t checked_runs(int64_t status, int64_t height, int64_t width, str op, str name) except -1:
    if status == PYVISION_BAD_ARGUMENT:
        raise ValueError(
            f"[{op}] expected {name} to be compressed counts that sum to {height} x {width} pixels, got others"
        )
    return checked(status, b"")


cdef bytes as_counts(object value, str op, str name):
    if not isinstance(value, bytes):
        raise TypeError(f"[{op}] expected {name} to be bytes, got {type(value).__name__}")
    return <bytes>value


cdef int check_size(int64_t height, int64_t width, str op) except -1:
    if not 0 <= height <= 0xffffffff or not 0 <= width <= 0xffffffff or height * width > 0xffffffff:
        raise ValueError(
            f"[{op}] expected a height and width of fewer than 2^32 pixels, got {height} and {width}"
        )
    return 0


def paste_masks(masks, boxes, height, width, *, padding=1, threshold=None):
    """:func:`pyvision.ops.paste_masks` for C-contiguous float32 buffers, without the conversion of other arrays.

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
        TypeError: an argument is no buffer, one of another dtype, or no number.
        ValueError: a buffer has another shape or is not C-contiguous, a number is out of range, or a box is not
            finite.
    """
    op = "paste_masks"
    cdef const float[:, :, ::1] patches
    cdef const float[:, ::1] corners
    try:
        if masks is None or boxes is None:
            raise TypeError
        patches = masks
        corners = boxes
    except (BufferError, TypeError, ValueError):  # says which does not fit
        check_buffer(masks, op, "masks", "float32", 3)
        check_buffer(boxes, op, "boxes", "float32", 2)
        raise
    cdef int64_t n = patches.shape[0], h = as_int64(height, op, "height"), w = as_int64(width, op, "width")
    cdef int64_t border = as_int64(padding, op, "padding")
    cdef double limit = 0
    cdef void* memory
    # As doubles, which overflow to infinity: of images without pixels too, or NumPy refuses what it cannot count.
    if h < 0 or w < 0 or <double>max(n, 1) * max(h, 1) * max(w, 1) * sizeof(float) >= 2.0**47:
        raise ValueError(f"[{op}] expected height and width from 0 of images that fit in memory, got {h} and {w}")
    if not 0 <= border <= 2**20:
        raise ValueError(f"[{op}] expected padding in [0, 2^20], got {border}")
    shape = (n, h, w)
    check_pasted(patches, corners, n)
    if threshold is None:
        images = zeros(shape, float32)
        memory = memory_of(images)
        with nogil:
            paste_masks_to(patches, corners, border, <float*>memory, h, w)
        return images
    limit = as_double(threshold, op, "threshold")
    if not 0 <= limit <= 1:
        raise ValueError(f"[{op}] expected threshold in [0, 1], got {limit}")
    images = zeros(shape, uint8)
    memory = memory_of(images)
    with nogil:
        paste_masks_above_to(patches, corners, border, limit, <uint8_t*>memory, h, w)
    return images


def rle_encode(mask):
    """The ``counts`` of :func:`pyvision.ops.rle_encode` for one C-contiguous mask (H, W), uint8 or bool.

    Returns bytes. Raises ValueError or TypeError for other buffers.
    """
    cdef const uint8_t[:, ::1] pixels
    try:
        if mask is None:
            raise TypeError
        pixels = mask
    except (BufferError, TypeError, ValueError):
        check_buffer(mask, "rle_encode", "mask", "uint8 or bool", 2)
        raise
    cdef int64_t h = pixels.shape[0], w = pixels.shape[1], count, length = 0
    check_size(h, w, "rle_encode")
    cdef uint32_t* runs = <uint32_t*>malloc((h * w + 1) * sizeof(uint32_t))
    cdef char* text = NULL
    if runs == NULL:
        raise MemoryError
    try:
        with nogil:
            count = checked(
                api.rle_encode(&pixels[0, 0] if h > 0 and w > 0 else NULL, h, w, runs), TOO_MANY_PIXELS
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


def rle_decode(counts, height, width):
    """The mask of compressed ``counts``: uint8 (height, width), 0 and 1.

    Raises TypeError if ``counts`` are no bytes or a size is no integer, ValueError if they are not an encoding of
    that many pixels.
    """
    op = "rle_decode"
    cdef bytes owner = as_counts(counts, op, "counts")
    cdef const char* text = PyBytes_AS_STRING(owner)
    cdef int64_t h = as_int64(height, op, "height"), w = as_int64(width, op, "width")
    cdef int64_t length = PyBytes_GET_SIZE(owner), count
    cdef uint32_t* runs = NULL
    cdef uint8_t* pixels
    check_size(h, w, op)
    try:
        with nogil:
            count = read_runs(text, length, h * w, &runs)
        checked_runs(count, h, w, op, "counts")
        mask = empty((h, w), uint8)
        pixels = <uint8_t*>memory_of(mask)
        with nogil:
            checked(
                api.rle_decode(runs, count, h, w, pixels),
                b"[rle_decode] expected counts that sum to the pixels of the mask, got others",
            )
        return mask
    finally:
        free(runs)


def rle_area(counts, height, width):
    """How many pixels compressed ``counts`` set, an int. Errors as :func:`rle_decode`."""
    op = "rle_area"
    cdef bytes owner = as_counts(counts, op, "counts")
    cdef const char* text = PyBytes_AS_STRING(owner)
    cdef int64_t h = as_int64(height, op, "height"), w = as_int64(width, op, "width")
    cdef int64_t length = PyBytes_GET_SIZE(owner), count, area = 0
    cdef uint32_t* runs = NULL
    check_size(h, w, op)
    try:
        with nogil:
            count = read_runs(text, length, h * w, &runs)
            if count >= 0:
                area = api.rle_area(runs, count)
        checked_runs(count, h, w, op, "counts")
        return area
    finally:
        free(runs)


def rle_iou(dt, gt, height, width, iscrowd=False):
    """Intersection over union of two masks of one size as ``counts``, as :func:`pyvision.ops.rle_iou`.

    ``iscrowd`` is a bool, 0 or 1. Returns a float. Errors as :func:`rle_decode`.
    """
    op = "rle_iou"
    cdef bytes owner1 = as_counts(dt, op, "dt"), owner2 = as_counts(gt, op, "gt")
    cdef const char* text1 = PyBytes_AS_STRING(owner1)
    cdef const char* text2 = PyBytes_AS_STRING(owner2)
    cdef int64_t length1 = PyBytes_GET_SIZE(owner1), length2 = PyBytes_GET_SIZE(owner2), count1, count2
    cdef int64_t h = as_int64(height, op, "height"), w = as_int64(width, op, "width")
    cdef int crowd = iscrowd is True or (iscrowd is not False and zero_or_one(iscrowd, op, "iscrowd"))
    cdef uint32_t* runs1 = NULL
    cdef uint32_t* runs2 = NULL
    cdef double overlap = 0
    check_size(h, w, op)
    try:
        with nogil:
            count1 = read_runs(text1, length1, h * w, &runs1)
            count2 = read_runs(text2, length2, h * w, &runs2)
            if count1 >= 0 and count2 >= 0:
                overlap = api.rle_iou(runs1, count1, runs2, count2, crowd)
        checked_runs(count1, h, w, op, "dt")
        checked_runs(count2, h, w, op, "gt")
        checked(<int64_t>overlap, b"[rle_iou] expected encodings, got others")
        return overlap
    finally:
        free(runs1)
        free(runs2)
