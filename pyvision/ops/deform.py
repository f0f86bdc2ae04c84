# SPDX-License-Identifier: Apache-2.0
"""Deformable convolutions and deformable attention: sampling where the network says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyvision import _core
from pyvision._array import (
    Array,
    as_numpy,
    check_layout,
    from_nhwc,
    is_channels_last,
    is_planes,
    result_like,
    to_nhwc,
)
from pyvision._device import Device, Operand, device_of, view_of
from pyvision.ops._args import IntPair, flag, integer, pair, real
from pyvision.ops._halves import takes_halves
from pyvision.ops.conv import CUDA_FLOATS, Layout

_FLOATS = ("float32", "float64")


@takes_halves
def deform_conv2d(
    input: Array,
    offset: Array,
    weight: Array,
    bias: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    mask: Array | None = None,
    *,
    layout: Layout = "NCHW",
) -> Array:
    """Deformable convolution: every tap of every output pixel is moved by an offset of its own.

    Without ``mask`` version 1 (Dai et al. 2017), with it version 2 (Zhu et al. 2019). Semantics:
    :func:`torchvision.ops.deform_conv2d`. Samples are bilinear; pixels outside the image are zero, and so is
    a sample whose position is not finite.

    Args:
        input: float32 or float64, (N, C_in, H, W), or (N, H, W, C_in) with ``layout="NHWC"``. The other
            arrays have its dtype.
        offset: (N, 2 * G * kernel_h * kernel_w, H_out, W_out) in ``layout``, in pixels: for each of the G
            offset groups, tap by tap in row-major order, y and then x. G divides C_in.
        weight: (C_out, C_in / groups, kernel_h, kernel_w) in either layout; ``groups`` follows from it.
        bias: (C_out,).
        stride, padding, dilation: an integer or (vertical, horizontal).
        mask: (N, G * kernel_h * kernel_w, H_out, W_out) in ``layout``: what each sample is multiplied by.
        layout: of ``input``, ``offset``, ``mask`` and the result.

    On CUDA arrays are float32, float16 or bfloat16; positions and sums are float32.

    Returns:
        (N, C_out, H_out, W_out) in ``layout``, of the same kind as ``input``; sizes as :func:`conv2d`'s.

    Raises:
        TypeError: an argument is not an array, or not of the dtype it should have.
        ValueError: shapes or parameters contradict each other.
    """
    op = "deform_conv2d"
    if device := device_of(op, input=input, offset=offset, weight=weight, bias=bias, mask=mask):
        on = _deform_on(device, op, input, offset, weight, bias, stride, padding, dilation, mask, layout)
        return device.from_nhwc(device.run(on.conv, on.input.dtype), layout, on.channels_last)
    given = as_numpy(input, op, "input", _FLOATS)
    planar = is_planes(given, layout)
    x = given if planar else to_nhwc(given, layout, op, "input")
    o, w, m = _constants(op, x.dtype, offset, weight, mask, layout)
    b = None if bias is None else _dense(op, "bias", bias, (x.dtype.name,))
    run = _core.deform_conv2d_nchw if planar else _core.deform_conv2d
    y = run(
        x, o, w, b, m,
        pair(stride, op, "stride"), pair(padding, op, "padding"), pair(dilation, op, "dilation"),
    )  # fmt: skip
    if planar:
        return result_like(y, input)
    return result_like(from_nhwc(y, layout, is_channels_last(given, layout)), input)


@dataclass(frozen=True)
class _DeformOn:
    """A deformable convolution's arrays on the device, and its geometry."""

    input: Operand
    offset: Operand
    weight: Operand
    mask: Operand | None
    channels_last: bool  # whether NCHW arrays have NHWC memory
    weight_channels_last: bool
    conv: Any


def _deform_on(
    device: Device,
    op: str,
    input: Array,
    offset: Array,
    weight: Array,
    bias: Array | None,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    mask: Array | None,
    layout: Layout,
) -> _DeformOn:
    x, channels_last = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
    dtypes = (x.dtype,)
    w, weight_last = device.nhwc(weight, "NCHW", op, "weight", dtypes)
    o = device.take(offset, op, "offset", dtypes)
    b, m = (device.take_optional(a, op, name, dtypes) for a, name in ((bias, "bias"), (mask, "mask")))
    conv = device.kernels.DeformConv2d(
        device.stream, op, x.view, o.view, w.view, view_of(b), view_of(m), pair(stride, op, "stride"),
        pair(padding, op, "padding"), pair(dilation, op, "dilation"), layout == "NHWC",
    )  # fmt: skip
    return _DeformOn(x, o, w, m, channels_last, weight_last, conv)


@takes_halves
def deform_conv2d_backward(
    grad_output: Array,
    input: Array,
    offset: Array,
    weight: Array,
    mask: Array | None = None,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    *,
    layout: Layout = "NCHW",
) -> tuple[Array, Array, Array, Array, Array | None]:
    """Gradients of :func:`deform_conv2d`, the same for any number of threads.

    Args:
        grad_output: of the shape and layout of the result, and of the dtype of ``input``.

    Returns:
        (grad_input, grad_offset, grad_weight, grad_bias, grad_mask), each of the shape and layout of what it
        is the gradient of; ``grad_mask`` is None without ``mask``.

    The other arguments and the errors are those of :func:`deform_conv2d`.
    """
    op = "deform_conv2d_backward"
    if device := device_of(op, grad_output=grad_output, input=input, offset=offset, weight=weight, mask=mask):
        on = _deform_on(device, op, input, offset, weight, None, stride, padding, dilation, mask, layout)
        return _deform_gradients_on(device, op, grad_output, on, layout)
    x = to_nhwc(as_numpy(input, op, "input", _FLOATS), layout, op, "input")
    o, w, m = _constants(op, x.dtype, offset, weight, mask, layout)
    g = to_nhwc(as_numpy(grad_output, op, "grad_output", (x.dtype.name,)), layout, op, "grad_output")
    grad_x, grad_o, grad_w, grad_b, grad_m = _core.deform_conv2d_backward(
        g,
        x,
        o,
        w,
        m,
        pair(stride, op, "stride"),
        pair(padding, op, "padding"),
        pair(dilation, op, "dilation"),
    )
    channels_last = is_channels_last(as_numpy(input, op, "input", _FLOATS), layout)
    return (
        result_like(from_nhwc(grad_x, layout, channels_last), input),
        result_like(from_nhwc(grad_o, layout), input),
        result_like(grad_w, input),
        result_like(grad_b, input),
        None if grad_m is None else result_like(from_nhwc(grad_m, layout), input),
    )


def _deform_gradients_on(
    device: Device, op: str, grad_output: Array, on: _DeformOn, layout: Layout
) -> tuple[Array, Array, Array, Array, Array | None]:
    dtype = on.input.dtype
    g, _ = device.nhwc(grad_output, layout, op, "grad_output", (dtype,))
    x, o, w = (device.empty(a.shape, dtype) for a in (on.input, on.offset, on.weight))
    b = device.empty(on.weight.shape[:1], dtype)
    m = None if on.mask is None else device.empty(on.mask.shape, dtype)
    workspace = device.workspace(on.conv.backward_workspace_bytes)
    on.conv.backward(g.view, workspace.view, x.view, o.view, w.view, b.view, view_of(m))
    return (
        device.from_nhwc(x, layout, on.channels_last),
        device.give(o),
        device.from_nhwc(w, "NCHW", on.weight_channels_last),
        device.give(b),
        None if m is None else device.give(m),
    )


@takes_halves
def deform_conv3(
    input: Array,
    offset: Array,
    mask: Array,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> Array:
    """DCNv3 (Wang et al. 2023, InternImage): per group of channels, a weighted sum of samples of the input.

    Args:
        input: float32 or float64, (N, H, W, C). The other arrays have its dtype.
        offset: (N, H_out, W_out, groups * taps * 2): per group and tap x and y, in pixels. Taps are ordered
            column by column; ``taps`` is kernel_h * kernel_w, less one with ``remove_center``.
        mask: (N, H_out, W_out, groups * taps): the weights, after any softmax.
        kernel_size, stride, padding, dilation: an integer or (vertical, horizontal).
        groups: blocks of channels with offsets and weights of their own.
        offset_scale: what offsets and dilation are multiplied by.
        remove_center: leave out the middle tap of an odd kernel.

    On CUDA arrays are float32, float16 or bfloat16; positions and sums are float32.

    Returns:
        (N, H_out, W_out, C), of the same kind as ``input``; sizes as :func:`conv2d`'s.

    Raises:
        TypeError: an argument is not an array, or not of the dtype it should have.
        ValueError: shapes or parameters contradict each other.
    """
    op = "deform_conv3"
    geometry = _geometry(op, kernel_size, stride, padding, dilation, groups, offset_scale, remove_center)
    if device := device_of(op, input=input, offset=offset, mask=mask):
        return device.give(_dcn_on(device, op, input, offset, mask, geometry).run())
    x, o, m = _nhwc_operands(op, input=input, offset=offset, mask=mask)
    return result_like(_core.deform_conv3(x, o, m, *geometry), input)


@takes_halves
def deform_conv4(
    input: Array,
    offset_mask: Array,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> Array:
    """DCNv4 (Xiong et al. 2024): :func:`deform_conv3` with offsets and unbounded weights in one map.

    Args:
        offset_mask: (N, H_out, W_out, groups * taps * 3): per group its taps' x and y, then its taps'
            weights. The channels may be padded at the end to a multiple of 8, as the published modules do.

    The other arguments, the result and the errors are those of :func:`deform_conv3`.
    """
    op = "deform_conv4"
    geometry = _geometry(op, kernel_size, stride, padding, dilation, groups, offset_scale, remove_center)
    if device := device_of(op, input=input, offset_mask=offset_mask):
        return device.give(_dcn_on(device, op, input, offset_mask, None, geometry).run())
    x, o = _nhwc_operands(op, input=input, offset_mask=offset_mask)
    return result_like(_core.deform_conv3(x, o, None, *geometry), input)


@takes_halves
def deform_conv3_backward(
    grad_output: Array,
    input: Array,
    offset: Array,
    mask: Array,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> tuple[Array, Array, Array]:
    """Gradients of :func:`deform_conv3`, the same for any number of threads.

    Args:
        grad_output: (N, H_out, W_out, C), of the dtype of ``input``.

    Returns:
        (grad_input, grad_offset, grad_mask), each of the shape of what it is the gradient of.

    The other arguments and the errors are those of :func:`deform_conv3`.
    """
    op = "deform_conv3_backward"
    geometry = _geometry(op, kernel_size, stride, padding, dilation, groups, offset_scale, remove_center)
    if device := device_of(op, grad_output=grad_output, input=input, offset=offset, mask=mask):
        found = _dcn_on(device, op, input, offset, mask, geometry).gradients(grad_output)
        return found[0], found[1], found[2]
    x, g, o, m = _nhwc_operands(op, input=input, grad_output=grad_output, offset=offset, mask=mask)
    grads = _core.deform_conv3_backward(g, x, o, m, *geometry)
    return result_like(grads[0], input), result_like(grads[1], input), result_like(grads[2], input)


@takes_halves
def deform_conv4_backward(
    grad_output: Array,
    input: Array,
    offset_mask: Array,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    offset_scale: float = 1.0,
    remove_center: bool = False,
) -> tuple[Array, Array]:
    """Gradients of :func:`deform_conv4`, the same for any number of threads.

    Args:
        grad_output: (N, H_out, W_out, C), of the dtype of ``input``.

    Returns:
        (grad_input, grad_offset_mask), each of the shape of what it is the gradient of; 0 in the padding.

    The other arguments and the errors are those of :func:`deform_conv4`.
    """
    op = "deform_conv4_backward"
    geometry = _geometry(op, kernel_size, stride, padding, dilation, groups, offset_scale, remove_center)
    if device := device_of(op, grad_output=grad_output, input=input, offset_mask=offset_mask):
        found = _dcn_on(device, op, input, offset_mask, None, geometry).gradients(grad_output)
        return found[0], found[1]
    x, g, o = _nhwc_operands(op, input=input, grad_output=grad_output, offset_mask=offset_mask)
    grads = _core.deform_conv3_backward(g, x, o, None, *geometry)
    return result_like(grads[0], input), result_like(grads[1], input)


@takes_halves
def multi_scale_deformable_attention(
    value: Array, spatial_shapes: Array, sampling_locations: Array, attention_weights: Array
) -> Array:
    """Deformable attention (Zhu et al. 2021, Deformable DETR): weighted sums of samples of several maps.

    Semantics: for each level :func:`torch.nn.functional.grid_sample` with ``align_corners=False`` and zero
        padding.

    Args:
        value: float32 or float64, (N, S, heads, channels): the levels' pixels row by row, one level behind
            the other. ``sampling_locations`` and ``attention_weights`` have its dtype.
        spatial_shapes: int64, (levels, 2): height and width of each; S is the sum of their products.
        sampling_locations: (N, queries, heads, levels, points, 2): x and y, 0 and 1 being the map's edges.
        attention_weights: (N, queries, heads, levels, points).

    On CUDA arrays are float32, float16 or bfloat16; positions and sums are float32. ``spatial_shapes`` is not
    read back to be checked: levels that do not fit into S are 0.

    Returns:
        (N, queries, heads * channels), of the same kind as ``value``.

    Raises:
        TypeError: an argument is not an array, or not of the dtype it should have.
        ValueError: shapes contradict each other.
    """
    op = "multi_scale_deformable_attention"
    arrays = {
        "value": value, "spatial_shapes": spatial_shapes, "sampling_locations": sampling_locations,
        "attention_weights": attention_weights,
    }  # fmt: skip
    if device := device_of(op, **arrays):
        return device.give(_attention_on(device, op, arrays).run())
    operands = _attention_operands(op, value, spatial_shapes, sampling_locations, attention_weights)
    return result_like(_core.multi_scale_deformable_attention(*operands), value)


@takes_halves
def multi_scale_deformable_attention_backward(
    grad_output: Array,
    value: Array,
    spatial_shapes: Array,
    sampling_locations: Array,
    attention_weights: Array,
) -> tuple[Array, Array, Array]:
    """Gradients of :func:`multi_scale_deformable_attention`, the same for any number of threads.

    Args:
        grad_output: (N, queries, heads * channels), of the dtype of ``value``.

    Returns:
        (grad_value, grad_sampling_locations, grad_attention_weights), each of the shape of what it is the
        gradient of.

    The other arguments and the errors are those of :func:`multi_scale_deformable_attention`.
    """
    op = "multi_scale_deformable_attention_backward"
    arrays = {
        "value": value, "spatial_shapes": spatial_shapes, "sampling_locations": sampling_locations,
        "attention_weights": attention_weights,
    }  # fmt: skip
    if device := device_of(op, grad_output=grad_output, **arrays):
        found = _attention_on(device, op, arrays).gradients(grad_output)
        return found[0], found[1], found[2]
    operands = _attention_operands(op, value, spatial_shapes, sampling_locations, attention_weights)
    g = _dense(op, "grad_output", grad_output, (operands[0].dtype.name,))
    grads = _core.multi_scale_deformable_attention_backward(g, *operands)
    return result_like(grads[0], value), result_like(grads[1], value), result_like(grads[2], value)


@dataclass(frozen=True)
class _SampledOn:
    """Sums of samples on the device; ``operands``: what there are gradients of, the map first."""

    device: Device
    op: str
    operands: list[Operand | None]
    kernel: Any

    def run(self) -> Operand:
        assert self.operands[0] is not None
        return self.device.run(self.kernel, self.operands[0].dtype)

    def gradients(self, grad_output: Array) -> list[Array]:
        assert self.operands[0] is not None
        dtype = self.operands[0].dtype
        g = self.device.take(grad_output, self.op, "grad_output", (dtype,))
        grads = [None if x is None else self.device.empty(x.shape, dtype) for x in self.operands]
        workspace = self.device.workspace(self.kernel.backward_workspace_bytes)
        self.kernel.backward(g.view, workspace.view, *map(view_of, grads))
        return [self.device.give(x) for x in grads if x is not None]


def _dcn_on(
    device: Device, op: str, input: Array, offset: Array, mask: Array | None, geometry: _Geometry
) -> _SampledOn:
    """DCNv3; DCNv4 without ``mask``, which is part of ``offset`` there."""
    x = device.take(input, op, "input", CUDA_FLOATS)
    o = device.take(offset, op, "offset_mask" if mask is None else "offset", (x.dtype,))
    m = device.take_optional(mask, op, "mask", (x.dtype,))
    kernel = device.kernels.DeformConv3(device.stream, op, x.view, o.view, view_of(m), *geometry)
    return _SampledOn(device, op, [x, o, m], kernel)


def _attention_on(device: Device, op: str, arrays: dict[str, Array]) -> _SampledOn:
    value = device.take(arrays["value"], op, "value", CUDA_FLOATS)
    shapes = device.take(arrays["spatial_shapes"], op, "spatial_shapes", ("int64",))
    locations, weights = (
        device.take(arrays[name], op, name, (value.dtype,))
        for name in ("sampling_locations", "attention_weights")
    )
    kernel = device.kernels.MultiScaleDeformableAttention(
        device.stream, op, value.view, shapes.view, locations.view, weights.view
    )
    return _SampledOn(device, op, [value, locations, weights], kernel)


def _constants(
    op: str, of_input: np.dtype, offset: Array, weight: Array, mask: Array | None, layout: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Offset, weight and mask, of the input's dtype; the maps as NCHW views, whatever their memory order."""
    dtype = (of_input.name,)
    o = _to_nchw_view(as_numpy(offset, op, "offset", dtype), layout, op, "offset")
    w = np.ascontiguousarray(as_numpy(weight, op, "weight", dtype))
    m = None if mask is None else _to_nchw_view(as_numpy(mask, op, "mask", dtype), layout, op, "mask")
    return o, w, m


def _to_nchw_view(x: np.ndarray, layout: str, op: str, name: str) -> np.ndarray:
    check_layout(layout, op)
    if x.ndim != 4:
        raise ValueError(f"[{op}] expected {name} with 4 dimensions {tuple(layout)}, got shape {x.shape}")
    return x if layout == "NCHW" else x.transpose(0, 3, 1, 2)


def _dense(op: str, name: str, x: Array, dtypes: tuple[str, ...]) -> np.ndarray:
    array = as_numpy(x, op, name, dtypes)
    return np.ascontiguousarray(array) if array.ndim else array  # which would make a 0-d array 1-d


def _nhwc_operands(op: str, **arrays: Array) -> list[np.ndarray]:
    """Dense arrays; the first decides the dtype."""
    dtypes: tuple[str, ...] = _FLOATS
    dense: list[np.ndarray] = []
    for name, x in arrays.items():
        dense.append(_dense(op, name, x, dtypes))
        dtypes = (dense[0].dtype.name,)
    return dense


def _attention_operands(
    op: str, value: Array, spatial_shapes: Array, locations: Array, weights: Array
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    v = _dense(op, "value", value, _FLOATS)
    dtype = (v.dtype.name,)
    return (
        v,
        _dense(op, "spatial_shapes", spatial_shapes, ("int64",)),
        _dense(op, "sampling_locations", locations, dtype),
        _dense(op, "attention_weights", weights, dtype),
    )


_Geometry = tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int], int, float, bool]


def _geometry(
    op: str,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair,
    groups: int,
    offset_scale: float,
    remove_center: bool,
) -> _Geometry:
    return (
        pair(kernel_size, op, "kernel_size"),
        pair(stride, op, "stride"),
        pair(padding, op, "padding"),
        pair(dilation, op, "dilation"),
        integer(groups, op, "groups"),
        real(offset_scale, op, "offset_scale"),
        flag(remove_center, op, "remove_center"),
    )
