# SPDX-License-Identifier: Apache-2.0
"""Pooling of regions of interest: RoI Align and its family, with gradients.

Boxes are (K, 5) arrays (image, x1, y1, x2, y2), or a list of (L, 4) arrays, one per image; ``spatial_scale``
takes their coordinates to pixels of the map. Maps are float32, float64, or float16 or bfloat16, which are
computed in float32; boxes and what else goes with maps in half precision may be float32. All gradients are
the same for any number of threads.

On CUDA all of them and their gradients take float32, float16 and bfloat16 maps; boxes, offsets and masks are
of the same dtype or float32. Boxes are not read back to be checked: bins of a box whose image
does not exist are NaN, samples at positions that are not finite are 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import (
    Array,
    as_numpy,
    check_layout,
    from_nhwc,
    is_channels_last,
    narrowed,
    result_like,
    to_nhwc,
    widened,
)
from pyvision._device import Device, device_of
from pyvision.ops import _roi_cuda as on_cuda
from pyvision.ops._args import IntPair, flag, integer, numbers_of, pair, real
from pyvision.ops._boxes import FLOATS, HALVES, boxes_of
from pyvision.ops.conv import CUDA_FLOATS, Layout

Boxes = Array | Sequence[Array]
Shape = tuple[int, int, int, int]
Mode = Literal["average", "max"]


def roi_align(
    input: Array,
    boxes: Boxes,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    mode: Mode = "average",
    layout: Layout = "NCHW",
) -> Array:
    """RoI Align (He et al. 2017, Mask R-CNN): every bin of a box is the mean of bilinear samples.

    Semantics: :func:`torchvision.ops.roi_align`; ``mode="max"``, the largest sample of a bin, is mmcv's. Of
    huge boxes no more is computed than what lies on the map.

    Args:
        input: (N, C, H, W), or (N, H, W, C) with ``layout="NHWC"``: of a dtype that the top of this
            module names.
        boxes: (K, 5) of the dtype of ``input``, the image's index first, or a list of (L, 4), one per image;
            (x1, y1, x2, y2). Without ``aligned`` a box is at least 1 x 1 pixels after scaling.
        output_size: bins, an integer or (vertical, horizontal).
        spatial_scale: pixels of the map per unit of the boxes.
        sampling_ratio: samples of a bin along an axis, at most 1024; if not positive the bin's size, rounded
            up.
        aligned: whether to subtract half a pixel from the boxes after scaling.
        mode: "average" or "max".
        layout: of ``input`` and the result.

    On CUDA see the top of this module.

    Returns:
        (K, C, bins, bins) in ``layout``, of the same kind as ``input``.

    Raises:
        TypeError: an argument is of the wrong kind or dtype.
        ValueError: shapes or parameters are out of range, a box is not finite, or its image does not exist.
    """
    op = "roi_align"
    maximum = _is_max(mode, op)
    if device := _device(op, boxes, input=input):
        run = on_cuda.align(
            device, op, "maximum" if maximum else "average", spatial_scale, sampling_ratio, aligned
        )
        return on_cuda.pooled(device, op, input, boxes, output_size, layout, run)
    x = _Map(input, layout, op, "input", planar=not maximum)
    pooled = _core.roi_align(
        [x.array],
        _boxes(boxes, x.dtype, op),
        None,
        pair(output_size, op, "output_size"),
        [real(spatial_scale, op, "spatial_scale")],
        integer(sampling_ratio, op, "sampling_ratio"),
        flag(aligned, op, "aligned"),
        maximum,
        x.planar,
    )
    return x.result(pooled)


def roi_align_backward(
    grad_output: Array,
    boxes: Boxes,
    input_shape: Shape,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
    *,
    mode: Mode = "average",
    input: Array | None = None,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of :func:`roi_align` by its input.

    In average mode it is linear in ``grad_output``: the gradient of this function by it is
    :func:`roi_align` of what is to be differentiated.

    Args:
        grad_output: of the shape and layout of the result, and of the dtype of the input.
        input_shape: of the input, in ``layout``.
        input: the input itself, which ``mode="max"`` needs.

    Returns:
        The gradient, of shape ``input_shape`` and of the same kind as ``grad_output``.

    The other arguments and the errors are those of :func:`roi_align`.
    """
    op = "roi_align_backward"
    maximum = _is_max(mode, op)
    if maximum == (input is None):
        raise ValueError(f"[{op}] expected input with mode 'max' and only then, got mode {mode!r}")
    if device := _device(op, boxes, grad_output=grad_output, input=input):
        on = None if input is None else device.nhwc(input, layout, op, "input", CUDA_FLOATS)[0]
        if input is not None and tuple(input.shape) != tuple(input_shape):
            raise ValueError(
                f"[{op}] expected input of input_shape {input_shape}, got shape {tuple(input.shape)}"
            )
        kind = "maximum" if maximum else "average"
        run = on_cuda.align(device, op, kind, spatial_scale, sampling_ratio, aligned, input=on)
        return on_cuda.pulled(device, op, grad_output, boxes, input_shape, layout, run)
    g = _Map(grad_output, layout, op, "grad_output", planar=not maximum)
    inputs = None
    if input is not None:
        x = _Map(input, layout, op, "input", (g.dtype,), planar=False)
        if x.array.shape != g.core_shape(input_shape, op):
            raise ValueError(f"[{op}] expected input of input_shape {input_shape}, got shape {x.shape}")
        inputs = [x.array]
    grads = _core.roi_align_backward(
        g.array,
        [g.core_shape(input_shape, op)],
        _boxes(boxes, g.dtype, op),
        None,
        g.bins,
        [real(spatial_scale, op, "spatial_scale")],
        integer(sampling_ratio, op, "sampling_ratio"),
        flag(aligned, op, "aligned"),
        inputs,
        g.planar,
    )
    return g.result(grads[0])


def multi_scale_roi_align(
    features: Sequence[Array],
    boxes: Boxes,
    output_size: IntPair,
    spatial_scales: Sequence[float],
    sampling_ratio: int = 2,
    aligned: bool = False,
    *,
    canonical_scale: int = 224,
    canonical_level: int = 4,
    layout: Layout = "NCHW",
) -> Array:
    """RoI Align over a feature pyramid: each box is pooled from the level that fits its size.

    Semantics: :class:`torchvision.ops.MultiScaleRoIAlign`. The level is floor(canonical_level +
    log2(sqrt(area) / canonical_scale)) (Lin et al. 2017, Feature Pyramid Networks, equation 1), where a map
    of scale 2^-k is level k, clipped to those there are.

    Args:
        features: maps as :func:`roi_align` takes them, of as many images and channels each, finest first.
        spatial_scales: of each map: powers of two, each half the one before.
        canonical_scale: the size of boxes that belong to ``canonical_level``.

    The other arguments, the result and the errors are those of :func:`roi_align`.
    """
    op = "multi_scale_roi_align"
    if device := _device_of_all(op, boxes, features=features):
        scales = _scales(spatial_scales, len(features), op)
        runs = [
            on_cuda.align(device, op, "average", scale, sampling_ratio, aligned, level=level)
            for scale, level in zip(
                scales, _cuda_levels(scales, canonical_scale, canonical_level, op), strict=True
            )
        ]
        return on_cuda.pyramid(device, op, features, boxes, output_size, runs, layout)
    maps = _pyramid(features, layout, op)
    scales = _scales(spatial_scales, len(maps), op)
    b = _boxes(boxes, maps[0].dtype, op)
    pooled = _core.roi_align(
        [x.array for x in maps],
        b,
        _levels(b, scales, canonical_scale, canonical_level, op),
        pair(output_size, op, "output_size"),
        scales,
        integer(sampling_ratio, op, "sampling_ratio"),
        flag(aligned, op, "aligned"),
        False,
        maps[0].planar,
        op,
    )
    return maps[0].result(pooled)


def multi_scale_roi_align_backward(
    grad_output: Array,
    boxes: Boxes,
    input_shapes: Sequence[Shape],
    spatial_scales: Sequence[float],
    sampling_ratio: int = 2,
    aligned: bool = False,
    *,
    canonical_scale: int = 224,
    canonical_level: int = 4,
    layout: Layout = "NCHW",
) -> list[Array]:
    """Gradients of :func:`multi_scale_roi_align` by its features.

    Args:
        grad_output: of the shape and layout of the result, and of the dtype of the features.
        input_shapes: of the features, in ``layout``.

    Returns:
        One gradient per map.

    The other arguments and the errors are those of :func:`multi_scale_roi_align`.
    """
    op = "multi_scale_roi_align_backward"
    if not isinstance(input_shapes, list | tuple):
        raise TypeError(f"[{op}] expected input_shapes to be a list of shapes, got {input_shapes!r}")
    if not input_shapes:
        raise ValueError(f"[{op}] expected input_shapes of at least one level, got none")
    scales = _scales(spatial_scales, len(input_shapes), op)
    if device := _device(op, boxes, grad_output=grad_output):
        return [
            on_cuda.pulled(
                device, op, grad_output, boxes, shape, layout,
                on_cuda.align(device, op, "average", scale, sampling_ratio, aligned, level=level),
            )
            for shape, scale, level in zip(
                input_shapes, scales, _cuda_levels(scales, canonical_scale, canonical_level, op), strict=True
            )
        ]  # fmt: skip
    g = _Map(grad_output, layout, op, "grad_output")
    b = _boxes(boxes, g.dtype, op)
    grads = _core.roi_align_backward(
        g.array,
        [g.core_shape(shape, op, "input_shapes") for shape in input_shapes],
        b,
        _levels(b, scales, canonical_scale, canonical_level, op),
        g.bins,
        scales,
        integer(sampling_ratio, op, "sampling_ratio"),
        flag(aligned, op, "aligned"),
        None,
        g.planar,
        op,
    )
    return [g.result(grad) for grad in grads]


def roi_pool(
    input: Array,
    boxes: Boxes,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    *,
    return_argmax: bool = False,
    layout: Layout = "NCHW",
) -> Array | tuple[Array, Array]:
    """RoI Pool (Girshick 2015, Fast R-CNN): the largest pixel of every bin of a box.

    Semantics: :func:`torchvision.ops.roi_pool`: corners are rounded half away from zero and belong to the
    box, a bin without pixels is 0. NaNs are passed over.

    Args:
        input, boxes, output_size, spatial_scale, layout: as :func:`roi_align` takes them.
        return_argmax: whether to return where the maxima were found.

    Returns:
        (K, C, bins, bins) in ``layout``; with ``return_argmax`` also their int32 places h * W + w in the
        plane, -1 in an empty bin.

    The errors are those of :func:`roi_align`.
    """
    op = "roi_pool"
    if device := _device(op, boxes, input=input):
        y, places = on_cuda.pool(device, op, input, boxes, output_size, spatial_scale, layout)
        return (y, places) if flag(return_argmax, op, "return_argmax") else y
    x = _Map(input, layout, op, "input")
    pooled, argmax = _core.roi_pool(
        x.array,
        _boxes(boxes, x.dtype, op),
        pair(output_size, op, "output_size"),
        real(spatial_scale, op, "spatial_scale"),
        x.planar,
    )
    if not flag(return_argmax, op, "return_argmax"):
        return x.result(pooled)
    return x.result(pooled), result_like(x.in_layout(argmax), input)


def roi_pool_backward(
    grad_output: Array, boxes: Boxes, argmax: Array, input_shape: Shape, *, layout: Layout = "NCHW"
) -> Array:
    """Gradient of :func:`roi_pool` by its input.

    Args:
        grad_output: of the shape and layout of the result, and of the dtype of the input.
        argmax: what :func:`roi_pool` returned.
        input_shape: of the input, in ``layout``.

    Returns:
        The gradient, of shape ``input_shape`` and of the same kind as ``grad_output``.

    The errors are those of :func:`roi_align`; an index outside the map is a ValueError, or passes nothing on
    on CUDA.
    """
    op = "roi_pool_backward"
    if device := _device(op, boxes, grad_output=grad_output, argmax=argmax):
        return on_cuda.pool_gradient(device, op, grad_output, boxes, argmax, input_shape, layout)
    g = _Map(grad_output, layout, op, "grad_output")
    places = as_numpy(argmax, op, "argmax", ("int32",))
    if not g.planar and layout == "NCHW" and places.ndim == 4:
        places = places.transpose(0, 2, 3, 1)
    grad = _core.roi_pool_backward(
        g.array,
        g.core_shape(input_shape, op),
        _boxes(boxes, g.dtype, op),
        np.require(places, requirements="C"),
        g.planar,
    )
    return g.result(grad)


def ps_roi_align(
    input: Array,
    boxes: Boxes,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Position-sensitive RoI Align (R-FCN): aligned RoI Align, every bin from a channel of its own.

    Semantics: :func:`torchvision.ops.ps_roi_align`; bin b of output channel c is taken from input channel
    c * bins + b.

    Args:
        input, boxes, output_size, spatial_scale, sampling_ratio, layout: as :func:`roi_align` takes them;
            channels are a multiple of the number of bins, and a row of an NHWC map on the CPU has fewer than
            2^31 values.

    Returns:
        (K, C / bins, bins, bins) in ``layout``, of the same kind as ``input``.

    The errors are those of :func:`roi_align`.
    """
    op = "ps_roi_align"
    if device := _device(op, boxes, input=input):
        run = on_cuda.align(device, op, "own_channels", spatial_scale, sampling_ratio, True)
        return on_cuda.pooled(device, op, input, boxes, output_size, layout, run, own_channels=True)
    ratio = integer(sampling_ratio, op, "sampling_ratio")
    return _pooled(op, input, boxes, output_size, spatial_scale, ratio, layout=layout)


def ps_roi_align_backward(
    grad_output: Array,
    boxes: Boxes,
    input_shape: Shape,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of :func:`ps_roi_align` by its input; arguments as :func:`roi_align_backward`'s."""
    op = "ps_roi_align_backward"
    if device := _device(op, boxes, grad_output=grad_output):
        run = on_cuda.align(device, op, "own_channels", spatial_scale, sampling_ratio, True)
        return on_cuda.pulled(device, op, grad_output, boxes, input_shape, layout, run)
    ratio = integer(sampling_ratio, op, "sampling_ratio")
    return _pulled(op, grad_output, boxes, input_shape, spatial_scale, ratio, layout=layout)


def ps_roi_pool(
    input: Array, boxes: Boxes, output_size: IntPair, spatial_scale: float = 1.0, *, layout: Layout = "NCHW"
) -> Array:
    """Position-sensitive RoI Pool (R-FCN): the mean of every bin's pixels, from a channel of its own.

    Semantics: :func:`torchvision.ops.ps_roi_pool`, where the map's last row and column never count; channels
    as :func:`ps_roi_align`'s.

    Args:
        input, boxes, output_size, spatial_scale, layout: as :func:`ps_roi_align` takes them.

    Returns:
        (K, C / bins, bins, bins) in ``layout``, of the same kind as ``input``.

    The errors are those of :func:`roi_align`.
    """
    op = "ps_roi_pool"
    if device := _device(op, boxes, input=input):
        run = on_cuda.ps_pool(device, op, spatial_scale)
        return on_cuda.pooled(device, op, input, boxes, output_size, layout, run, own_channels=True)
    return _pooled(op, input, boxes, output_size, spatial_scale, layout=layout)


def ps_roi_pool_backward(
    grad_output: Array,
    boxes: Boxes,
    input_shape: Shape,
    spatial_scale: float = 1.0,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of :func:`ps_roi_pool` by its input; arguments as :func:`roi_align_backward`'s."""
    op = "ps_roi_pool_backward"
    if device := _device(op, boxes, grad_output=grad_output):
        run = on_cuda.ps_pool(device, op, spatial_scale)
        return on_cuda.pulled(device, op, grad_output, boxes, input_shape, layout, run)
    return _pulled(op, grad_output, boxes, input_shape, spatial_scale, layout=layout)


def roi_align_rotated(
    input: Array,
    boxes: Array,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = True,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """RoI Align of rotated boxes, as detectron2 and mmcv have it.

    Args:
        input, output_size, spatial_scale, layout: as :func:`roi_align` takes them.
        boxes: (K, 6) of the dtype of ``input``: image, cx, cy, w, h, angle, or a list of (L, 5), one per
            image; degrees, counter-clockwise on screen.
        sampling_ratio: as :func:`roi_align` takes it; a bin has at most 65,536 samples.
        aligned: whether to subtract half a pixel from the centres after scaling; otherwise boxes are at least
            1 x 1 pixels.

    Returns:
        (K, C, bins, bins) in ``layout``, of the same kind as ``input``.

    The errors are those of :func:`roi_align`.
    """
    op = "roi_align_rotated"
    if device := _device(op, boxes, input=input):
        run = on_cuda.align_rotated(device, op, spatial_scale, sampling_ratio, aligned)
        return on_cuda.pooled(device, op, input, boxes, output_size, layout, run, columns=6)
    x = _Map(input, layout, op, "input", planar=False)
    pooled = _core.roi_align_rotated(
        x.array,
        _boxes(boxes, x.dtype, op, 6),
        pair(output_size, op, "output_size"),
        real(spatial_scale, op, "spatial_scale"),
        integer(sampling_ratio, op, "sampling_ratio"),
        flag(aligned, op, "aligned"),
    )
    return x.result(pooled)


def roi_align_rotated_backward(
    grad_output: Array,
    boxes: Array,
    input_shape: Shape,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = True,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Gradient of :func:`roi_align_rotated` by its input; arguments as :func:`roi_align_backward`'s."""
    op = "roi_align_rotated_backward"
    if device := _device(op, boxes, grad_output=grad_output):
        run = on_cuda.align_rotated(device, op, spatial_scale, sampling_ratio, aligned)
        return on_cuda.pulled(device, op, grad_output, boxes, input_shape, layout, run, columns=6)
    g = _Map(grad_output, layout, op, "grad_output", planar=False)
    grad = _core.roi_align_rotated_backward(
        g.array,
        g.core_shape(input_shape, op),
        _boxes(boxes, g.dtype, op, 6),
        real(spatial_scale, op, "spatial_scale"),
        integer(sampling_ratio, op, "sampling_ratio"),
        flag(aligned, op, "aligned"),
    )
    return g.result(grad)


def deform_roi_pool(
    input: Array,
    boxes: Boxes,
    offset: Array | None,
    output_size: IntPair,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    gamma: float = 0.1,
    mask: Array | None = None,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Deformable RoI pooling (Dai et al. 2017), with ``mask`` modulated (Zhu et al. 2019).

    Semantics: :func:`mmcv.ops.deform_roi_pool`: aligned RoI Align whose bins are each moved by ``gamma``
    times ``offset`` times the box's size, and multiplied by ``mask``. Bins with an offset that is not finite
    are 0.

    Args:
        input, boxes, output_size, spatial_scale, sampling_ratio, layout: as :func:`roi_align` takes them.
        offset: (K, 2, bins, bins) in either layout, x and then y, or None.
        mask: (K, 1, bins, bins) in either layout, or None.

    Returns:
        (K, C, bins, bins) in ``layout``, of the same kind as ``input``.

    The errors are those of :func:`roi_align`.
    """
    op = "deform_roi_pool"
    if device := _device(op, boxes, input=input, offset=offset, mask=mask):
        run = on_cuda.DeformPool(device, op, offset, mask, spatial_scale, sampling_ratio, gamma)
        return on_cuda.pooled(device, op, input, boxes, output_size, layout, run)
    x = _Map(input, layout, op, "input")
    pooled = _core.deform_roi_pool(
        x.array,
        _boxes(boxes, x.dtype, op),
        _optional(offset, x.dtype, op, "offset"),
        _optional(mask, x.dtype, op, "mask"),
        pair(output_size, op, "output_size"),
        real(spatial_scale, op, "spatial_scale"),
        integer(sampling_ratio, op, "sampling_ratio"),
        real(gamma, op, "gamma"),
        x.planar,
    )
    return x.result(pooled)


def deform_roi_pool_backward(
    grad_output: Array,
    input: Array,
    boxes: Boxes,
    offset: Array | None,
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    gamma: float = 0.1,
    mask: Array | None = None,
    *,
    layout: Layout = "NCHW",
) -> tuple[Array, Array | None, Array | None]:
    """Gradients of :func:`deform_roi_pool`.

    Args:
        grad_output: of the shape and layout of the result, and of the dtype of ``input``.

    Returns:
        (grad_input, grad_offset, grad_mask), each of the shape of what it is the gradient of, None where
        there is none.

    The other arguments and the errors are those of :func:`deform_roi_pool`.
    """
    op = "deform_roi_pool_backward"
    if device := _device(op, boxes, grad_output=grad_output, input=input, offset=offset, mask=mask):
        pool = on_cuda.DeformPool(device, op, offset, mask, spatial_scale, sampling_ratio, gamma)
        return pool.gradients(grad_output, input, boxes, layout)
    x = _Map(input, layout, op, "input", planar=False)
    g = _Map(grad_output, layout, op, "grad_output", (x.dtype,), planar=False)
    grad, grad_offset, grad_mask = _core.deform_roi_pool_backward(
        g.array,
        x.array,
        _boxes(boxes, x.dtype, op),
        _optional(offset, x.dtype, op, "offset"),
        _optional(mask, x.dtype, op, "mask"),
        real(spatial_scale, op, "spatial_scale"),
        integer(sampling_ratio, op, "sampling_ratio"),
        real(gamma, op, "gamma"),
    )
    return (
        x.result(grad),
        None if grad_offset is None else x.narrow(grad_offset),
        None if grad_mask is None else x.narrow(grad_mask),
    )


def prroi_pool(
    input: Array, boxes: Boxes, output_size: IntPair, spatial_scale: float = 1.0, *, layout: Layout = "NCHW"
) -> Array:
    """Precise RoI Pooling (Jiang et al. 2018): every bin is the exact mean of the bilinear surface.

    The centre of the first pixel is (0, 0), pixels outside the map are 0, and so are bins without area.

    Args:
        input, boxes, output_size, spatial_scale, layout: as :func:`roi_align` takes them.

    Returns:
        (K, C, bins, bins) in ``layout``, of the same kind as ``input``.

    The errors are those of :func:`roi_align`.
    """
    op = "prroi_pool"
    if device := _device(op, boxes, input=input):
        run = on_cuda.precise_pool(device, op, spatial_scale)
        return on_cuda.pooled(device, op, input, boxes, output_size, layout, run)
    return _pooled(op, input, boxes, output_size, spatial_scale, layout=layout)


def prroi_pool_backward(
    grad_output: Array, input: Array, boxes: Boxes, spatial_scale: float = 1.0, *, layout: Layout = "NCHW"
) -> tuple[Array, Array]:
    """Gradients of :func:`prroi_pool`.

    Args:
        grad_output: of the shape and layout of the result, and of the dtype of ``input``.

    Returns:
        (grad_input, grad_boxes), the latter (K, 5) with 0 for the images' indices.

    The other arguments and the errors are those of :func:`prroi_pool`.
    """
    op = "prroi_pool_backward"
    if device := _device(op, boxes, grad_output=grad_output, input=input):
        return on_cuda.precise_pool_gradients(device, op, grad_output, input, boxes, spatial_scale, layout)
    x = _Map(input, layout, op, "input", planar=False)
    g = _Map(grad_output, layout, op, "grad_output", (x.dtype,), planar=False)
    grad, grad_boxes = _core.prroi_pool_backward(
        g.array, x.array, _boxes(boxes, x.dtype, op), real(spatial_scale, op, "spatial_scale")
    )
    return x.result(grad), x.narrow(grad_boxes)


class _Map:
    """A map as the kernels take it: C-contiguous float32 or float64, planar or channels last.

    With ``planar=False`` it is laid out channels last whatever it was.
    """

    def __init__(
        self,
        x: Array,
        layout: Layout,
        op: str,
        name: str,
        dtypes: tuple[str, ...] = (*HALVES, *FLOATS),
        planar: bool = True,
    ) -> None:
        array, self.dtype = widened(x, op, name, dtypes)
        check_layout(layout, op)
        if array.ndim != 4:
            raise ValueError(
                f"[{op}] expected {name} with 4 dimensions {tuple(layout)}, got shape {array.shape}"
            )
        self.caller, self.layout = x, layout
        self.shape: tuple[int, ...] = array.shape
        self.channels_last = is_channels_last(array, layout)
        self.planar = planar and layout == "NCHW" and not self.channels_last
        self.array = np.ascontiguousarray(array) if self.planar else to_nhwc(array, layout, op, name)

    @property
    def bins(self) -> tuple[int, int]:
        """Of a gradient: the output size."""
        height, width = self.array.shape[2:] if self.planar else self.array.shape[1:3]
        return height, width

    def core_shape(self, shape: Shape, op: str, name: str = "input_shape") -> Shape:
        """``shape``, which is in the caller's layout, in that of ``array``."""
        extents = numbers_of(shape, 4)
        if extents is None:
            raise ValueError(f"[{op}] expected {name} of four extents, got {shape!r}")
        n, a, b, c = (integer(extent, op, name) for extent in extents)
        return (n, b, c, a) if self.layout == "NCHW" and not self.planar else (n, a, b, c)

    def in_layout(self, y: np.ndarray) -> np.ndarray:
        """What a kernel returned, in the caller's layout."""
        return y if self.planar else from_nhwc(y, self.layout, self.channels_last)

    def narrow(self, y: np.ndarray) -> Array:
        """What a kernel returned, in the caller's dtype and kind."""
        return narrowed(y, self.dtype, self.caller)

    def result(self, y: np.ndarray) -> Array:
        return self.narrow(self.in_layout(y))


def _pooled(
    op: str,
    input: Array,
    boxes: Boxes,
    output_size: IntPair,
    spatial_scale: float,
    *parameters: int,
    layout: Layout,
) -> Array:
    """``op`` of the extension, by its name."""
    x = _Map(input, layout, op, "input")
    pooled = getattr(_core, op)(
        x.array,
        _boxes(boxes, x.dtype, op),
        pair(output_size, op, "output_size"),
        real(spatial_scale, op, "spatial_scale"),
        *parameters,
        x.planar,
    )
    return x.result(pooled)


def _pulled(
    op: str,
    grad_output: Array,
    boxes: Boxes,
    input_shape: Shape,
    spatial_scale: float,
    *parameters: int,
    layout: Layout,
) -> Array:
    """``op`` of the extension, the gradient of a pooling that is linear, by its name."""
    g = _Map(grad_output, layout, op, "grad_output")
    grad = getattr(_core, op)(
        g.array,
        g.core_shape(input_shape, op),
        _boxes(boxes, g.dtype, op),
        real(spatial_scale, op, "spatial_scale"),
        *parameters,
        g.planar,
    )
    return g.result(grad)


def _beside(dtype: str) -> tuple[str, ...]:
    """What goes with maps of ``dtype``: coordinates are coarse in half precision, so float32 does too."""
    return (dtype, "float32") if dtype in HALVES else (dtype,)


def _boxes(boxes: Boxes, dtype: str, op: str, columns: int = 5) -> np.ndarray:
    """As (K, columns), the image's index first."""
    if not isinstance(boxes, list | tuple):
        return boxes_of(boxes, op, "boxes", _beside(dtype), columns=columns)
    images = [
        boxes_of(b, op, f"boxes[{i}]", _beside(dtype), columns=columns - 1) for i, b in enumerate(boxes)
    ]
    counts = [len(b) for b in images]
    joined = np.empty((sum(counts), columns), np.float64 if dtype == "float64" else np.float32)
    joined[:, 0] = np.repeat(np.arange(len(images)), counts)
    joined[:, 1:] = np.concatenate(images) if images else 0
    return joined


def _optional(x: Array | None, dtype: str, op: str, name: str) -> np.ndarray | None:
    return None if x is None else np.require(widened(x, op, name, _beside(dtype))[0], requirements="C")


def _is_max(mode: str, op: str) -> bool:
    if not isinstance(mode, str) or mode not in ("average", "max"):
        raise ValueError(f"[{op}] expected mode to be 'average' or 'max', got {mode!r}")
    return mode == "max"


def _pyramid(features: Sequence[Array], layout: Layout, op: str) -> list[_Map]:
    """Maps of one kind: planar only if all can be."""
    if not isinstance(features, list | tuple):
        raise TypeError(f"[{op}] expected features to be a list of arrays, got {type(features).__name__}")
    if not features:
        raise ValueError(f"[{op}] expected features of at least one level, got none")
    maps = [_Map(features[0], layout, op, "features[0]")]
    for i, x in enumerate(features[1:], 1):
        maps.append(_Map(x, layout, op, f"features[{i}]", (maps[0].dtype,)))
    if len({x.planar for x in maps}) > 1:
        maps = [_Map(x.caller, layout, op, "features", planar=False) for x in maps]
    return maps


def _scales(scales: Sequence[float], count: int, op: str) -> list[float]:
    """``count`` neighbouring powers of two, falling: without gaps, so that every level has a map."""
    given = numbers_of(scales)
    if given is None:
        raise TypeError(f"[{op}] expected spatial_scales to be a list of numbers, got {scales!r}")
    numbers = [real(scale, op, "spatial_scales") for scale in given]
    halving = all(0 < s < math.inf and math.frexp(s)[0] == 0.5 for s in numbers)
    halving = halving and all(a == 2 * b for a, b in itertools.pairwise(numbers))
    if len(numbers) != count or not halving:
        raise ValueError(
            f"[{op}] expected {count} spatial_scales, powers of two of which each is half the one before, "
            f"got {scales!r}"
        )
    return numbers


def _device(op: str, boxes: Boxes, **arrays: Array | None) -> Device | None:
    """Where ``arrays`` and the boxes lie, which may be a list."""
    if isinstance(boxes, list | tuple):
        return device_of(op, **arrays, **{f"boxes[{i}]": b for i, b in enumerate(boxes)})
    return device_of(op, **arrays, boxes=boxes)


def _device_of_all(op: str, boxes: Boxes, *, features: Sequence[Array]) -> Device | None:
    if not isinstance(features, list | tuple):
        return None
    return _device(op, boxes, **{f"features[{i}]": x for i, x in enumerate(features)})


def _canonical(canonical_scale: int, canonical_level: int, op: str) -> tuple[int, int]:
    size = integer(canonical_scale, op, "canonical_scale")
    if size <= 0:
        raise ValueError(f"[{op}] expected canonical_scale to be positive, got {size}")
    return size, integer(canonical_level, op, "canonical_level")


def _cuda_levels(
    scales: list[float], canonical_scale: int, canonical_level: int, op: str
) -> list[on_cuda.Level]:
    return on_cuda.levels(scales, *_canonical(canonical_scale, canonical_level, op))


def _levels(
    boxes: np.ndarray, scales: list[float], canonical_scale: int, canonical_level: int, op: str
) -> np.ndarray:
    """The level of each box, counted from the first."""
    size, level = _canonical(canonical_scale, canonical_level, op)
    finest, coarsest = -math.log2(scales[0]), -math.log2(scales[-1])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        root = np.sqrt((boxes[:, 3] - boxes[:, 1]) * (boxes[:, 4] - boxes[:, 2]))
        fitting = np.floor(level + np.log2(root / root.dtype.type(size)) + root.dtype.type(1e-6))
    fitting = np.clip(np.nan_to_num(fitting, nan=finest), finest, coarsest)
    levels: np.ndarray = (fitting - finest).astype(np.int64)
    return levels
