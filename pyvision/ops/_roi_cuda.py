# SPDX-License-Identifier: Apache-2.0
"""Pooling of regions on CUDA: what roi.py does with arrays there.

Boxes are of the maps' dtype or float32. They are not read back to be checked: bins of a box whose image does
not exist are NaN, and samples at positions that are not finite are 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from pyvision._array import Array
from pyvision._device import Device, Operand, view_of
from pyvision.ops._args import IntPair, flag, integer, nhwc_shape, pair, real
from pyvision.ops.conv import CUDA_FLOATS, Layout

Run = Callable[[Operand, Operand, Operand], None]
"""Of a map, boxes and bins: reads the map and writes the bins, or the other way round."""
Level = tuple[int, float, float, float, float]
Boxes = Array | Sequence[Array]


def pooled(
    device: Device,
    op: str,
    input: Array,
    boxes: Boxes,
    output_size: IntPair,
    layout: Layout,
    run: Run,
    *,
    own_channels: bool = False,
    columns: int = 5,
) -> Array:
    """The bins of all boxes; with ``own_channels`` each has channels of its own."""
    x, channels_last = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
    b = _boxes(device, boxes, x.dtype, op, columns)
    y = device.empty(_bins_shape(op, b, output_size, x.shape[3], own_channels), x.dtype)
    run(x, b, y)
    return device.from_nhwc(y, layout, channels_last)


def pulled(
    device: Device,
    op: str,
    grad_output: Array,
    boxes: Boxes,
    input_shape: Any,
    layout: Layout,
    run: Run,
    *,
    columns: int = 5,
) -> Array:
    """The gradient of a map of ``input_shape``."""
    g, channels_last = device.nhwc(grad_output, layout, op, "grad_output", CUDA_FLOATS)
    b = _boxes(device, boxes, g.dtype, op, columns)
    grad = device.empty(nhwc_shape(input_shape, layout, op, "input_shape"), g.dtype)
    run(grad, b, g)
    return device.from_nhwc(grad, layout, channels_last)


def align(
    device: Device,
    op: str,
    kind: str,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    *,
    level: Level | None = None,
    input: Operand | None = None,
) -> Run:
    """:func:`roi_align`; named as its gradient, that, which in "maximum" needs the ``input``."""
    numbers = _sampling(op, spatial_scale, sampling_ratio, aligned)

    def run(x: Operand, b: Operand, y: Operand) -> None:
        places = None
        if input is not None:
            places = device.empty((*y.shape, 2), "float32")
            again = device.empty(y.shape, y.dtype)
            device.kernels.roi_align(
                device.stream, op, kind, input.view, b.view, again.view, *numbers, level, places.view
            )
        kernel = device.kernels.roi_align_backward if op.endswith("_backward") else device.kernels.roi_align
        kernel(device.stream, op, kind, x.view, b.view, y.view, *numbers, level, view_of(places))

    return run


def align_rotated(device: Device, op: str, spatial_scale: float, sampling_ratio: int, aligned: bool) -> Run:
    """:func:`roi_align_rotated`, or its gradient."""
    kernel = getattr(device.kernels, op)
    numbers = _sampling(op, spatial_scale, sampling_ratio, aligned)

    def run(x: Operand, b: Operand, y: Operand) -> None:
        workspace = device.workspace(device.kernels.roi_align_rotated_workspace(b.shape[0]))
        kernel(device.stream, op, x.view, b.view, y.view, *numbers, workspace.view)

    return run


def ps_pool(device: Device, op: str, spatial_scale: float) -> Run:
    """:func:`ps_roi_pool`, or its gradient."""
    kernel, scale = getattr(device.kernels, op), real(spatial_scale, op, "spatial_scale")
    return lambda x, b, y: kernel(device.stream, x.view, b.view, y.view, scale)


def precise_pool(device: Device, op: str, spatial_scale: float) -> Run:
    """:func:`prroi_pool`."""
    scale = real(spatial_scale, op, "spatial_scale")
    return lambda x, b, y: device.kernels.prroi_pool(device.stream, x.view, b.view, y.view, scale)


def precise_pool_gradients(
    device: Device,
    op: str,
    grad_output: Array,
    input: Array,
    boxes: Boxes,
    spatial_scale: float,
    layout: Layout,
) -> tuple[Array, Array]:
    """Of the map and of the boxes."""
    scale = real(spatial_scale, op, "spatial_scale")
    x, channels_last = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
    g, _ = device.nhwc(grad_output, layout, op, "grad_output", (x.dtype,))
    b = _boxes(device, boxes, x.dtype, op, 5)
    grad, grad_boxes = device.empty(x.shape, x.dtype), device.empty(b.shape, "float32")
    device.kernels.prroi_pool_backward(
        device.stream, x.view, b.view, g.view, scale, grad.view, grad_boxes.view
    )
    given = [] if isinstance(boxes, list | tuple) else [device.take(boxes, op, "boxes", (x.dtype, "float32"))]
    like_boxes = device.astype(grad_boxes, given[0].dtype if given else x.dtype)
    return device.from_nhwc(grad, layout, channels_last), device.give(like_boxes)


class DeformPool:
    """:func:`deform_roi_pool` and its gradients."""

    def __init__(
        self,
        device: Device,
        op: str,
        offset: Array | None,
        mask: Array | None,
        spatial_scale: float,
        sampling_ratio: int,
        gamma: float,
    ) -> None:
        self._device, self._op = device, op
        self._moves = {"offset": offset, "mask": mask}
        self._numbers = (
            real(spatial_scale, op, "spatial_scale"),
            integer(sampling_ratio, op, "sampling_ratio"),
            real(gamma, op, "gamma"),
        )

    def __call__(self, x: Operand, b: Operand, y: Operand) -> None:
        moves = self._operands(x.dtype)
        wide = [self._widened(move) for move in moves]
        self._device.kernels.deform_roi_pool(
            self._device.stream, x.view, b.view, y.view, *self._numbers, *map(view_of, wide)
        )

    def gradients(
        self, grad_output: Array, input: Array, boxes: Boxes, layout: Layout
    ) -> tuple[Array, Array | None, Array | None]:
        """Of the map, the offsets and the masks."""
        device, op = self._device, self._op
        x, channels_last = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
        g, _ = device.nhwc(grad_output, layout, op, "grad_output", (x.dtype,))
        b = _boxes(device, boxes, x.dtype, op, 5)
        moves = self._operands(x.dtype)
        wide = [self._widened(move) for move in moves]
        grad = device.empty(x.shape, x.dtype)
        grads = [None if move is None else device.empty(move.shape, "float32") for move in moves]
        workspace = device.workspace(device.kernels.deform_roi_pool_backward_workspace(b.shape[0]))
        device.kernels.deform_roi_pool_backward(
            device.stream, x.view, b.view, g.view, *self._numbers, *map(view_of, wide),
            workspace.view, grad.view, *map(view_of, grads),
        )  # fmt: skip
        by_offset, by_mask = (
            None if found is None or move is None else device.give(device.astype(found, move.dtype))
            for found, move in zip(grads, moves, strict=True)
        )
        return device.from_nhwc(grad, layout, channels_last), by_offset, by_mask

    def _operands(self, dtype: str) -> list[Operand | None]:
        """Offsets and masks, of the map's dtype or float32."""
        return [
            self._device.take_optional(x, self._op, name, (dtype, "float32"))
            for name, x in self._moves.items()
        ]

    def _widened(self, x: Operand | None) -> Operand | None:
        return None if x is None else self._device.astype(x, "float32")


def pool(
    device: Device, op: str, input: Array, boxes: Boxes, output_size: IntPair, scale: float, layout: Layout
) -> tuple[Array, Array]:
    """The maxima and their places."""
    places: list[Operand] = []
    factor = real(scale, op, "spatial_scale")

    def run(x: Operand, b: Operand, y: Operand) -> None:
        places.append(device.empty(y.shape, "int32"))
        device.kernels.roi_pool(device.stream, x.view, b.view, y.view, factor, places[0].view)

    y = pooled(device, op, input, boxes, output_size, layout, run)
    return y, device.from_nhwc(places[0], layout, False)


def pool_gradient(
    device: Device, op: str, grad_output: Array, boxes: Boxes, argmax: Array, input_shape: Any, layout: Layout
) -> Array:
    places, _ = device.nhwc(argmax, layout, op, "argmax", ("int32",))

    def run(x: Operand, b: Operand, y: Operand) -> None:
        bins = y.shape[1] * y.shape[2]
        workspace = device.workspace(device.kernels.roi_pool_backward_workspace(b.shape[0], bins))
        device.kernels.roi_pool_backward(device.stream, x.view, b.view, y.view, places.view, workspace.view)

    return pulled(device, op, grad_output, boxes, input_shape, layout, run)


def pyramid(
    device: Device,
    op: str,
    features: Sequence[Array],
    boxes: Boxes,
    output_size: IntPair,
    runs: Sequence[Run],
    layout: Layout,
) -> Array:
    """Every level pools the boxes that belong to it."""
    first, channels_last = device.nhwc(features[0], layout, op, "features[0]", CUDA_FLOATS)
    b = _boxes(device, boxes, first.dtype, op, 5)
    y = device.empty(_bins_shape(op, b, output_size, first.shape[3], False), first.dtype)
    for i, (x, run) in enumerate(zip(features, runs, strict=True)):
        run(device.nhwc(x, layout, op, f"features[{i}]", (first.dtype,))[0], b, y)
    return device.from_nhwc(y, layout, channels_last)


def levels(scales: Sequence[float], canonical_scale: int, canonical_level: int) -> list[Level]:
    """Of each map, what decides which boxes are its own."""
    finest, coarsest = -math.log2(scales[0]), -math.log2(scales[-1])
    return [(i, finest, coarsest, canonical_scale, canonical_level) for i in range(len(scales))]


def _sampling(op: str, spatial_scale: float, sampling_ratio: int, aligned: bool) -> tuple[float, int, bool]:
    return (
        real(spatial_scale, op, "spatial_scale"),
        integer(sampling_ratio, op, "sampling_ratio"),
        flag(aligned, op, "aligned"),
    )


def _boxes(device: Device, boxes: Boxes, dtype: str, op: str, columns: int) -> Operand:
    """As float32 (K, columns), the image's index first."""
    if not isinstance(boxes, list | tuple):
        return _wide(device, boxes, dtype, op, "boxes", columns)
    images = [_wide(device, b, dtype, op, f"boxes[{i}]", columns - 1) for i, b in enumerate(boxes)]
    joined = device.empty((sum(b.shape[0] for b in images), columns), "float32")
    begin = 0
    for i, b in enumerate(images):
        device.kernels.join_boxes(device.stream, op, b.view, i, begin, joined.view)
        begin += b.shape[0]
    return joined


def _wide(device: Device, boxes: Array, dtype: str, op: str, name: str, columns: int) -> Operand:
    b = device.astype(device.take(boxes, op, name, (dtype, "float32")), "float32")
    if len(b.shape) != 2 or b.shape[1] != columns:
        raise ValueError(f"[{op}] expected {name} of shape (K, {columns}), got {b.shape}")
    return b


def _bins_shape(
    op: str, boxes: Operand, output_size: IntPair, channels: int, own_channels: bool
) -> tuple[int, ...]:
    bins = pair(output_size, op, "output_size")
    if min(bins) < 1:
        raise ValueError(f"[{op}] expected output_size to be positive, got {bins}")
    return boxes.shape[0], *bins, channels // (bins[0] * bins[1]) if own_channels else channels
