# SPDX-License-Identifier: Apache-2.0
"""Images and feature maps sampled anywhere: plane transforms, maps of positions, grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from pyvision import _core
from pyvision._array import (
    Array,
    as_numpy,
    check_layout,
    dtype_name,
    from_nhwc,
    is_channels_last,
    result_like,
    to_nhwc,
)
from pyvision._device import Device, Operand, device_of, view_of
from pyvision.ops._args import flag, pair, real
from pyvision.ops._halves import takes_halves
from pyvision.ops.conv import CUDA_FLOATS

Interpolation = Literal["nearest", "bilinear", "bicubic"]
BorderMode = Literal["constant", "replicate", "reflect", "reflect_101", "wrap"]


def warp_perspective(
    src: Array,
    M: Array,
    dsize: tuple[int, int],
    *,
    interpolation: Interpolation = "bilinear",
    inverse_map: bool = False,
    border_mode: BorderMode = "constant",
    border_value: float | Sequence[float] = 0,
) -> Array:
    """Images seen through a homography, as ``cv2.warpPerspective``.

    Output pixel (x, y) is the image at ``M^-1 (x, y, 1)``, sampled between pixels whose centres are whole
    numbers. Positions are exact to some 1e-5 pixels; 8-bit bilinear weights have 256 steps.

    Args:
        src: uint8 or float32; (H, W), (H, W, C), or (N, H, W, C), of which each image is warped alike.
        M: (3, 3), float32 or float64: from the image to the output. On the CPU, or on CUDA with ``src``: then
            nothing waits for it, and without an inverse all of the output lies outside the image.
        dsize: (width, height) of the output: OpenCV's order, not that of shapes.
        interpolation: "nearest" (of two pixels as near the one of even index, as OpenCV 5), "bilinear", or
            "bicubic" with a = -0.75.
        inverse_map: ``M`` leads from the output to the image, as OpenCV's ``WARP_INVERSE_MAP`` says.
        border_mode: what lies outside: "constant"; "replicate" aaa|abcd|ddd; "reflect" cba|abcd|dcb;
            "reflect_101" dcb|abcd|cba; "wrap" bcd|abcd|abc.
        border_value: of "constant": a number, or one per channel; rounded and clipped for uint8. On CUDA
            values that differ are for 32 channels at most.

    Returns:
        An array of ``src``'s dtype, rank and kind.

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: a shape or option is out of range, or ``M`` has no inverse.
    """
    return _warp("warp_perspective", src, M, dsize, interpolation, inverse_map, border_mode, border_value)


def warp_affine(
    src: Array,
    M: Array,
    dsize: tuple[int, int],
    *,
    interpolation: Interpolation = "bilinear",
    inverse_map: bool = False,
    border_mode: BorderMode = "constant",
    border_value: float | Sequence[float] = 0,
) -> Array:
    """Images seen through an affine transform ``M``, (2, 3), as ``cv2.warpAffine``.

    All else as :func:`warp_perspective`.
    """
    return _warp("warp_affine", src, M, dsize, interpolation, inverse_map, border_mode, border_value)


def remap(
    src: Array,
    map1: Array,
    map2: Array | None = None,
    *,
    interpolation: Interpolation = "bilinear",
    border_mode: BorderMode = "constant",
    border_value: float | Sequence[float] = 0,
) -> Array:
    """Images sampled where maps say, as ``cv2.remap``.

    Args:
        src: as for :func:`warp_perspective`.
        map1: float32: (H_out, W_out, 2), (x, y) in pixels of ``src``; or (H_out, W_out), x alone.
        map2: float32 (H_out, W_out), y, where ``map1`` is x.
        interpolation: as for :func:`warp_perspective`.
        border_mode: the same. Positions that are not finite count as far outside.
        border_value: the same.

    Returns:
        An array of ``src``'s dtype, rank and kind, of the maps' extent.

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: shapes contradict each other, or an option is out of range.
    """
    op = "remap"
    if device := device_of(op, src=src, map1=map1, map2=map2):
        return _remap_on(device, src, map1, map2, interpolation, border_mode, border_value)
    x = as_numpy(src, op, "src", ("uint8", "float32"))
    a = as_numpy(map1, op, "map1")
    if map2 is None:
        if a.ndim != 3 or a.shape[2] != 2:
            raise ValueError(f"[{op}] expected map1 of shape (H, W, 2), or map2 as well, got {a.shape}")
        a = np.ascontiguousarray(a)
        map_x, map_y = a[:, :, 0], a[:, :, 1]
    else:
        b = as_numpy(map2, op, "map2")
        if a.ndim != 2 or a.shape != b.shape:
            raise ValueError(
                f"[{op}] expected map1 and map2 of one shape (H, W), got {a.shape} and {b.shape}"
            )
        map_x, map_y = np.ascontiguousarray(a), np.ascontiguousarray(b)
    if 0 in map_x.shape:
        raise ValueError(f"[{op}] expected map1 of at least 1 x 1 pixels, got {a.shape}")
    images, channels = _images(x, op)
    options = _options(op, interpolation, border_mode, border_value, channels)
    y = _core.remap(images, map_x, map_y, *options)
    return result_like(_as_given(y, x), src)


@takes_halves
def grid_sample(
    input: Array,
    grid: Array,
    mode: Interpolation = "bilinear",
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros",
    align_corners: bool | None = None,
    *,
    layout: str = "NCHW",
) -> Array:
    """Maps sampled at positions between -1 and 1, as ``torch.nn.functional.grid_sample``.

    Args:
        input: (N, C, H, W), float32 or float64, or (N, H, W, C) with ``layout="NHWC"``. On CUDA float32,
            float16 or bfloat16. Not uint8, as torch: pictures of bytes are for :func:`remap`.
        grid: (N, H_out, W_out, 2) of the same dtype, on CUDA also float32: (x, y), -1 and 1 being the image's
            edges, or with ``align_corners`` the centres of its outermost pixels.
        mode: "nearest" (half to even), "bilinear" or "bicubic" with a = -0.75.
        padding_mode: outside is 0, the nearest pixel, or the mirrored image.
        align_corners: as said; False without.

    Returns:
        (N, C, H_out, W_out), or (N, H_out, W_out, C) with ``layout="NHWC"``. Positions that are not finite
        lie outside with "zeros", and at an edge without.

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: shapes contradict each other, or an option is out of range.
    """
    op = "grid_sample"
    if device := device_of(op, input=input, grid=grid):
        on, positions, _, options, channels_last = _grid_on(
            device, op, input, grid, mode, padding_mode, align_corners, layout
        )
        y = device.empty((*positions.shape[:3], on.shape[3]), on.dtype)
        device.kernels.grid_sample(device.stream, on.view, positions.view, *options, y.view)
        return device.from_nhwc(y, layout, channels_last)
    x, nhwc, g, options = _grid_arguments(op, input, grid, mode, padding_mode, align_corners, layout)
    samples = _core.grid_sample(nhwc, g, *options)
    return result_like(from_nhwc(samples, layout, is_channels_last(x, layout)), input)


@takes_halves
def grid_sample_backward(
    grad_output: Array,
    input: Array,
    grid: Array,
    mode: Interpolation = "bilinear",
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros",
    align_corners: bool | None = None,
    *,
    layout: str = "NCHW",
) -> tuple[Array, Array]:
    """Gradients of :func:`grid_sample`: the same for any number of threads, and on CUDA in every run.

    Args:
        grad_output: of the forward result's shape and dtype.
        input: and the other arguments: those of the forward call.

    Returns:
        Gradients of ``input`` and ``grid``; the latter are 0 with "nearest", and where padding moves the
        position to an edge.

    Raises:
        TypeError: an argument is not an array, or of another type.
        ValueError: shapes contradict each other, or an option is out of range.
    """
    op = "grid_sample_backward"
    if device := device_of(op, grad_output=grad_output, input=input, grid=grid):
        on, positions, grid_dtype, options, channels_last = _grid_on(
            device, op, input, grid, mode, padding_mode, align_corners, layout
        )
        dy, _ = device.nhwc(grad_output, layout, op, "grad_output", (on.dtype,))
        arguments = (on.view, positions.view, *options)
        size = device.kernels.grid_sample_backward_workspace(device.stream, *arguments)
        workspace, dx = device.workspace(size), device.empty(on.shape, on.dtype)
        dgrid = device.empty(positions.shape, "float32")
        device.kernels.grid_sample_backward(
            device.stream, dy.view, *arguments, workspace.view, dx.view, dgrid.view
        )
        like_grid = device.astype(dgrid, grid_dtype)
        return device.from_nhwc(dx, layout, channels_last), device.give(like_grid)
    x, nhwc, g, options = _grid_arguments(op, input, grid, mode, padding_mode, align_corners, layout)
    grad = as_numpy(grad_output, op, "grad_output", (dtype_name(x.dtype),))
    grad_x, grad_grid = _core.grid_sample_backward(
        to_nhwc(grad, layout, op, "grad_output"), nhwc, g, *options
    )
    return (
        result_like(from_nhwc(grad_x, layout, is_channels_last(x, layout)), input),
        result_like(grad_grid, grid),
    )


def _warp(
    op: str,
    src: Array,
    matrix: Array,
    dsize: tuple[int, int],
    interpolation: str,
    inverse_map: bool,
    border_mode: str,
    border_value: float | Sequence[float],
) -> Array:
    device, inverted = device_of(op, src=src), flag(inverse_map, op, "inverse_map")
    rows = 2 if op == "warp_affine" else 3
    if device and device_of(op, M=matrix):
        return _warp_by(op, src, matrix, rows, dsize, interpolation, inverted, border_mode, border_value)
    m = as_numpy(matrix, op, "M", ("float32", "float64"))
    if m.shape != (rows, 3):
        raise ValueError(f"[{op}] expected M of shape ({rows}, 3), got {m.shape}")
    transform: np.ndarray = np.eye(3)
    transform[:rows] = m
    if not np.isfinite(transform).all():
        raise ValueError(f"[{op}] expected M with finite numbers, got {m.tolist()}")
    if not inverted:
        try:
            transform = np.linalg.inv(transform)
        except np.linalg.LinAlgError:
            transform = np.full((3, 3), np.nan)
        if not np.isfinite(transform).all():
            raise ValueError(f"[{op}] expected M with an inverse, got {m.tolist()}")
    width, height = pair(dsize, op, "dsize")
    numbers = transform.ravel().tolist()
    if device:
        on, y, channels = _images_on(device, src, op, height, width)
        options = _options(op, interpolation, border_mode, border_value, channels)
        device.kernels.warp_projective(device.stream, op, on.view, numbers, *options, y.view)
        return device.give(y)
    x = as_numpy(src, op, "src", ("uint8", "float32"))
    images, channels = _images(x, op)
    options = _options(op, interpolation, border_mode, border_value, channels)
    result = _core.warp_projective(images, numbers, height, width, *options, op)
    return result_like(_as_given(result, x), src)


def _warp_by(
    op: str,
    src: Array,
    matrix: Array,
    rows: int,
    dsize: tuple[int, int],
    interpolation: str,
    inverted: bool,
    border_mode: str,
    border_value: float | Sequence[float],
) -> Array:
    """With a transform on the device, which is not read back."""
    device = device_of(op, src=src, M=matrix)
    assert device is not None, "both lie on one"
    m = device.take(matrix, op, "M", ("float32", "float64"))
    if m.shape != (rows, 3):
        raise ValueError(f"[{op}] expected M of shape ({rows}, 3), got {m.shape}")
    width, height = pair(dsize, op, "dsize")
    x, y, channels = _images_on(device, src, op, height, width)
    options = _options(op, interpolation, border_mode, border_value, channels)
    workspace = device.workspace(device.kernels.TRANSFORM_BYTES)
    device.kernels.warp_projective_by(
        device.stream, op, x.view, m.view, inverted, *options, workspace.view, y.view
    )
    return device.give(y)


def _remap_on(
    device: Device,
    src: Array,
    map1: Array,
    map2: Array | None,
    interpolation: str,
    border_mode: str,
    border_value: float | Sequence[float],
) -> Array:
    op = "remap"
    a = device.take(map1, op, "map1", ("float32",))
    b = device.take_optional(map2, op, "map2", ("float32",))
    if b is None and (len(a.shape) != 3 or a.shape[2] != 2):
        raise ValueError(f"[{op}] expected map1 of shape (H, W, 2), or map2 as well, got {a.shape}")
    if b is not None and (len(a.shape) != 2 or a.shape != b.shape):
        raise ValueError(f"[{op}] expected map1 and map2 of one shape (H, W), got {a.shape} and {b.shape}")
    if 0 in a.shape:
        raise ValueError(f"[{op}] expected map1 of at least 1 x 1 pixels, got {a.shape}")
    x, y, channels = _images_on(device, src, op, *a.shape[:2])
    options = _options(op, interpolation, border_mode, border_value, channels)
    device.kernels.remap(device.stream, x.view, a.view, view_of(b), *options, y.view)
    return device.give(y)


def _images_on(device: Device, src: Array, op: str, height: int, width: int) -> tuple[Operand, Operand, int]:
    """The images and their result, which kernels see as (N, H, W, C), and C."""
    x = device.take(src, op, "src", ("uint8", "float32"))
    if len(x.shape) not in (2, 3, 4):
        raise ValueError(f"[{op}] expected src of shape (H, W), (H, W, C) or (N, H, W, C), got {x.shape}")
    if height < 1 or width < 1:
        raise ValueError(f"[{op}] expected dsize of at least 1 x 1 pixels, got ({width}, {height})")
    batch, channels = x.shape[:-3], x.shape[2:] if len(x.shape) < 4 else x.shape[3:]
    y = device.empty((*batch, height, width, *channels), x.dtype)

    def as_images(a: Operand) -> Operand:
        extents = a.shape[len(batch) : len(batch) + 2]
        return replace(a, view=device.seen_as(a, (*(batch or (1,)), *extents, *(channels or (1,)))))

    return as_images(x), as_images(y), channels[0] if channels else 1


def _images(x: np.ndarray, op: str) -> tuple[np.ndarray, int]:
    """As (N, H, W, C) with contiguous rows, and C."""
    if x.ndim not in (2, 3, 4):
        raise ValueError(f"[{op}] expected src of shape (H, W), (H, W, C) or (N, H, W, C), got {x.shape}")
    images = x.reshape(1, *x.shape, 1) if x.ndim == 2 else x.reshape(1, *x.shape) if x.ndim == 3 else x
    size = x.itemsize
    dense = images.strides[3] == size and images.strides[2] == size * images.shape[3]
    return (images if dense else np.ascontiguousarray(images)), images.shape[3]


def _as_given(y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return y[0, :, :, 0] if x.ndim == 2 else y[0] if x.ndim == 3 else y


def _options(
    op: str, interpolation: str, border_mode: str, border_value: float | Sequence[float], channels: int
) -> tuple[str, str, list[float]]:
    for name, text in (("interpolation", interpolation), ("border_mode", border_mode)):
        if not isinstance(text, str):
            raise TypeError(f"[{op}] expected {name} to be a string, got {text!r}")
    if isinstance(border_value, Sequence):
        values = [real(value, op, "border_value") for value in border_value]
    else:
        values = [real(border_value, op, "border_value")] * channels
    return interpolation, border_mode, values


def _grid_on(
    device: Device,
    op: str,
    input: Array,
    grid: Array,
    mode: str,
    padding_mode: str,
    align_corners: bool | None,
    layout: str,
) -> tuple[Operand, Operand, str, tuple[str, str, bool], bool]:
    """Input as (N, H, W, C), grid as float32, its dtype, options, and whether the input lay channels last."""
    options = _grid_options(op, mode, padding_mode, align_corners)
    x, channels_last = device.nhwc(input, layout, op, "input", CUDA_FLOATS)
    g = device.take(grid, op, "grid", tuple({x.dtype: None, "float32": None}))
    if len(g.shape) != 4:
        raise ValueError(f"[{op}] expected grid of shape (N, H, W, 2), got {g.shape}")
    return x, device.astype(g, "float32"), g.dtype, options, channels_last


def _grid_options(op: str, mode: str, padding_mode: str, align_corners: bool | None) -> tuple[str, str, bool]:
    for name, text in (("mode", mode), ("padding_mode", padding_mode)):
        if not isinstance(text, str):
            raise TypeError(f"[{op}] expected {name} to be a string, got {text!r}")
    return (
        mode,
        padding_mode,
        flag(align_corners, op, "align_corners") if align_corners is not None else False,
    )


def _grid_arguments(
    op: str, input: Array, grid: Array, mode: str, padding_mode: str, align_corners: bool | None, layout: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, str, bool]]:
    check_layout(layout, op)
    x = as_numpy(input, op, "input", ("float32", "float64"))
    nhwc = to_nhwc(x, layout, op, "input")
    g = np.ascontiguousarray(as_numpy(grid, op, "grid", (dtype_name(x.dtype),)))
    if g.ndim != 4:
        raise ValueError(f"[{op}] expected grid of shape (N, H, W, 2), got {g.shape}")
    return x, nhwc, g, _grid_options(op, mode, padding_mode, align_corners)
