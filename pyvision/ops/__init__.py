# SPDX-License-Identifier: Apache-2.0
"""Operators on arrays, with torch's and torchvision's names and semantics."""

from __future__ import annotations

from pyvision.ops.boxes import (
    batched_nms,
    box_area,
    box_convert,
    box_iou,
    clip_boxes_to_image,
    nms,
    remove_small_boxes,
)
from pyvision.ops.conv import conv2d, conv_transpose2d, depthwise_conv2d, linear
from pyvision.ops.image import ImageTransform, prepare_image
from pyvision.ops.softmax import softmax

__all__ = [
    "ImageTransform",
    "batched_nms",
    "box_area",
    "box_convert",
    "box_iou",
    "clip_boxes_to_image",
    "conv2d",
    "conv_transpose2d",
    "depthwise_conv2d",
    "linear",
    "nms",
    "prepare_image",
    "remove_small_boxes",
    "softmax",
]
