# SPDX-License-Identifier: Apache-2.0
"""Calls whose results have a known size neither wait for the device nor read it: graphs can hold them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.cuda_device import Cuda
from tests.helpers import random

BOXES = np.array([[0, 0.5, 0.5, 4, 5], [0, 2, 1, 5.5, 4]], np.float32)
SIZES = np.array([[3, 4], [2, 2]])

Arguments = Callable[..., Any]


def _map(on: Arguments) -> Any:
    return on(1, 6, 7, 8)


def _bins(on: Arguments) -> Any:
    return on(2, 2, 2, 8)


def _boxes(on: Arguments) -> Any:
    return on(BOXES)


def _attention(on: Arguments) -> tuple[Any, ...]:
    return on(1, 16, 2, 4), on(SIZES), on(1, 3, 2, 2, 2, 2), on(1, 3, 2, 2, 2)


def _deformed(on: Arguments) -> tuple[Any, ...]:
    return _map(on), on(1, 4, 5, 18), on(8, 8, 3, 3)


def _sampled(on: Arguments) -> tuple[Any, ...]:
    return _map(on), on(1, 6, 7, 2 * 9 * 2), on(1, 6, 7, 2 * 9)


def _prepared(*arguments: Any) -> Any:
    """Without the transform, which is on the host."""
    return ops.prepare_image(*arguments)[0]


NHWC = {"layout": "NHWC"}
DCN = 3, 1, 1, 1, 2  # kernel_size, stride, padding, dilation, groups

# on: an array on the device, of a shape or of given values. What is returned is called with no arguments.
CALLS: dict[str, Callable[[Arguments], tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]]] = {
    "conv2d": lambda on: (ops.conv2d, (_map(on), on(8, 8, 3, 3)), NHWC),
    "conv2d, NCHW": lambda on: (ops.conv2d, (on(1, 8, 6, 7), on(8, 8, 3, 3), on(8)), {}),
    "conv2d, split": lambda on: (ops.conv2d, (on(1, 3, 4, 96), on(8, 96, 3, 3)), NHWC),
    "conv2d, tf32": lambda on: (ops.conv2d, (_map(on), on(8, 8, 3, 3)), {**NHWC, "precision": "tf32"}),
    "conv2d_backward": lambda on: (
        ops.conv2d_backward, (on(1, 4, 5, 8), _map(on), on(8, 8, 3, 3)), NHWC),
    "depthwise_conv2d": lambda on: (ops.depthwise_conv2d, (_map(on), on(8, 1, 3, 3)), NHWC),
    "depthwise_conv2d_backward": lambda on: (
        ops.depthwise_conv2d_backward, (on(1, 4, 5, 8), _map(on), on(8, 1, 3, 3)), NHWC),
    "separable_conv2d": lambda on: (
        ops.separable_conv2d, (_map(on), on(8, 1, 3, 3), on(4, 8, 1, 1)), NHWC),
    "conv_transpose2d": lambda on: (ops.conv_transpose2d, (_map(on), on(8, 4, 3, 3), None, 2), NHWC),
    "deform_conv2d": lambda on: (ops.deform_conv2d, _deformed(on), NHWC),
    "deform_conv2d_backward": lambda on: (
        ops.deform_conv2d_backward, (on(1, 4, 5, 8), *_deformed(on)), NHWC),
    "deform_conv3": lambda on: (ops.deform_conv3, (*_sampled(on), *DCN), {}),
    "deform_conv3_backward": lambda on: (ops.deform_conv3_backward, (_map(on), *_sampled(on), *DCN), {}),
    "multi_scale_deformable_attention": lambda on: (
        ops.multi_scale_deformable_attention, _attention(on), {}),
    "multi_scale_deformable_attention_backward": lambda on: (
        ops.multi_scale_deformable_attention_backward, (on(1, 3, 8), *_attention(on)), {}),
    "roi_align": lambda on: (ops.roi_align, (_map(on), _boxes(on), 2), NHWC),
    "roi_align_backward": lambda on: (
        ops.roi_align_backward, (_bins(on), _boxes(on), (1, 6, 7, 8)), NHWC),
    "roi_pool": lambda on: (ops.roi_pool, (_map(on), _boxes(on), 2), NHWC),
    "ps_roi_align": lambda on: (ops.ps_roi_align, (_map(on), _boxes(on), 2), NHWC),
    "prroi_pool_backward": lambda on: (ops.prroi_pool_backward, (_bins(on), _map(on), _boxes(on)), NHWC),
    "deform_roi_pool_backward": lambda on: (
        ops.deform_roi_pool_backward, (_bins(on), _map(on), _boxes(on), on(2, 2, 2, 2)), NHWC),
    "nms_padded": lambda on: (ops.nms_padded, (on(BOXES[:, 1:]), on(2), 0.5, 4), {}),
    "max_pool2d": lambda on: (ops.max_pool2d, (_map(on), 2), NHWC),
    "max_unpool2d": lambda on: (ops.max_unpool2d, (_map(on), on(np.zeros((1, 6, 7, 8), np.int64)), 2), NHWC),
    "pixel_shuffle": lambda on: (ops.pixel_shuffle, (_map(on), 2), NHWC),
    "interpolate": lambda on: (ops.interpolate, (_map(on), (9, 5)), {**NHWC, "mode": "bilinear"}),
    "interpolate_backward": lambda on: (
        ops.interpolate_backward, (_map(on), (1, 9, 5, 8), (6, 7)), {**NHWC, "mode": "bicubic"}),
    "grid_sample": lambda on: (ops.grid_sample, (_map(on), on(1, 4, 5, 2)), NHWC),
    "grid_sample_backward": lambda on: (
        ops.grid_sample_backward, (on(1, 4, 5, 8), _map(on), on(1, 4, 5, 2)), NHWC),
    "warp_affine": lambda on: (
        ops.warp_affine, (on(np.ones((6, 7, 3), np.uint8)), np.eye(2, 3), (5, 4)), {}),
    "warp_perspective, its transform on the device": lambda on: (
        ops.warp_perspective, (on(np.ones((6, 7, 3), np.uint8)), on(np.eye(3)), (5, 4)), {}),
    "prepare_image": lambda on: (_prepared, (on(np.ones((6, 7, 3), np.uint8)), (5, 4)), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_nothing_waits(cuda: Cuda, name: str) -> None:
    def on(*of: Any) -> Any:
        return cuda.array(random(of) if isinstance(of[0], int) else of[0])

    function, arguments, options = CALLS[name](on)
    known = function(*arguments, **options)
    found = cuda.captured(lambda: function(*arguments, **options))
    for a, b in zip(*(y if isinstance(y, tuple) else (y,) for y in (found, known)), strict=True):
        if a is not None:
            np.testing.assert_array_equal(cuda.numpy(a), cuda.numpy(b))


def test_reading_is_seen(emulated_cuda: Cuda) -> None:
    boxes, scores = emulated_cuda.array(BOXES[:, 1:]), emulated_cuda.array(np.ones(2, np.float32))
    with pytest.raises(pytest.fail.Exception, match="the device is read"):
        emulated_cuda.captured(lambda: ops.nms(boxes, scores, 0.5))
