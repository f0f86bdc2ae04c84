# SPDX-License-Identifier: Apache-2.0
"""Inputs that crashed or corrupted well-known libraries: a matrix of op x kind of bad input x dtype.

Each op has one good call; those of pyvision.postprocess are named after it. A bad case changes some of the
arguments and must be refused with a ValueError or TypeError that begins with the op's name, names the
argument, and leaves every input as it was; the number of a case is its row in the list of such inputs that
this project keeps:

 1 negative counts or sizes                     10 indices out of range
 2 huge or infinite coordinates                 12 not an array; capsules that are spent, foreign or elsewhere
 3 NaN coordinates                              13 kernels larger than the image, 1x1 images
 4 indices of images that there are not
 5 shapes that contradict each other            14 SIMD tails next to unmapped memory
 6 everything empty                             16 lists of the wrong length
 7 stride, dilation, groups of 0 or less        17 strides, alignment, byte order, read-only
 8 sizes that overflow int64 or memory          18 output that aliases an input
 9 wrong rank or last dimension                 22 allocation failure
11 counts beyond 2^31
"""

from __future__ import annotations

import ctypes
import inspect
import itertools
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from pyvision import ops, postprocess
from tests._guard import guarded
from tests._process import output_of
from tests.helpers import random

Arguments = dict[str, Any]

BOXES = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [50, 50, 60, 70]], np.float32)
SCORES = np.array([0.9, 0.8, 0.7], np.float32)
ROTATED = np.array([[5, 5, 10, 10, 0], [6, 6, 10, 9, 30], [50, 60, 10, 20, -400]], np.float32)

# The image's index first; each row's first three numbers are such indices too.
ROIS = np.array([[0, 1, 0, 17, 9], [1, 1, 0, 30, 25], [1, 0, 1, 3, 4]], np.float32)
ROTATED_ROIS = np.array([[0, 1, 0, 17, 9, 30], [1, 1, 0, 9, 8, -200], [1, 0, 1, 3, 4, 0]], np.float32)
_RLES = ops.rle_encode(np.eye(3, 9, dtype=bool)[:, None].repeat(7, 1))  # of 7 x 9 pixels
_COUNTS = _RLES[1]["counts"]
_SIZE = {"height": 7, "width": 9}
_POLYGONS = [[1, 1, 5, 1, 5, 5], [[2, 2], [6, 2], [6, 6]]]

_ROI_POOLING = {"output_size": (2, 3), "spatial_scale": 0.5}
_ROI_GRADIENT = {"input_shape": (2, 4, 7, 9)}

_DEFORMABLE = {"kernel_size": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 2}

_CONVOLUTIONS = ("conv2d", "depthwise_conv2d", "separable_conv2d", "inverted_residual")

GOOD: dict[str, Callable[[], Arguments]] = {
    "conv2d": lambda: {
        "input": random((2, 4, 7, 9)),
        "weight": random((6, 2, 3, 3)),
        "bias": random((6,)),
        "padding": 1,
        "groups": 2,
        "residual": random((2, 6, 7, 9)),
    },
    "conv2d_int8": lambda: {
        "input": _integers((2, 4, 7, 9), np.uint8),
        "weight": _integers((6, 2, 3, 3), np.int8),
        "weight_scale": np.full(6, 0.01, np.float32),
        "input_scale": 0.1,
        "input_zero_point": 100,
        "bias": _integers((6,), np.int32),
        "padding": 1,
        "groups": 2,
        "output_scale": 0.2,
    },
    "depthwise_conv2d": lambda: {
        "input": random((2, 5, 7, 9)),
        "weight": random((5, 1, 3, 3)),
        "bias": random((5,)),
    },
    "separable_conv2d": lambda: {
        "input": random((2, 5, 7, 9)),
        "depthwise_weight": random((5, 1, 3, 3)),
        "pointwise_weight": random((6, 5, 1, 1)),
        "depthwise_bias": random((5,)),
        "pointwise_bias": random((6,)),
    },
    "inverted_residual": lambda: {
        "input": random((2, 4, 7, 9)),
        "expand_weight": random((5, 4, 1, 1)),
        "depthwise_weight": random((5, 1, 3, 3)),
        "project_weight": random((6, 5, 1, 1)),
        "expand_bias": random((5,)),
        "depthwise_bias": random((5,)),
        "project_bias": random((6,)),
        "residual": random((2, 6, 5, 7)),
    },
    "conv_transpose2d": lambda: {
        "input": random((2, 4, 5, 6)),
        "weight": random((4, 3, 3, 3)),
        "bias": random((6,)),
        "stride": 2,
        "groups": 2,
    },
    "conv2d_backward": lambda: {
        "grad_output": random((2, 6, 7, 9)),
        "input": random((2, 4, 7, 9)),
        "weight": random((6, 2, 3, 3)),
        "padding": 1,
        "groups": 2,
    },
    "depthwise_conv2d_backward": lambda: {
        "grad_output": random((2, 5, 5, 7)),
        "input": random((2, 5, 7, 9)),
        "weight": random((5, 1, 3, 3)),
    },
    "conv_transpose2d_backward": lambda: {
        "grad_output": random((2, 6, 11, 13)),
        "input": random((2, 4, 5, 6)),
        "weight": random((4, 3, 3, 3)),
        "stride": 2,
        "groups": 2,
    },
    "separable_conv2d_backward": lambda: {
        "grad_output": random((2, 7, 4, 5)),
        "input": random((2, 5, 7, 9)),
        "depthwise_weight": random((10, 1, 3, 3)),
        "pointwise_weight": random((7, 10, 1, 1)),
        "depthwise_bias": random((10,)),
        "stride": 2,
        "padding": 1,
    },
    "inverted_residual_backward": lambda: {
        "grad_output": random((2, 7, 4, 5)),
        "input": random((2, 4, 7, 9)),
        "expand_weight": random((5, 4, 1, 1)),
        "depthwise_weight": random((10, 1, 3, 3)),
        "project_weight": random((7, 10, 1, 1)),
        "expand_bias": random((5,)),
        "depthwise_bias": random((10,)),
        "stride": 2,
        "padding": 1,
    },
    "deform_conv2d": lambda: {
        "input": random((2, 4, 5, 6)),
        "offset": random((2, 36, 5, 6)),
        "weight": random((6, 2, 3, 3)),
        "bias": random((6,)),
        "padding": 1,
        "mask": random((2, 18, 5, 6)),
    },
    "deform_conv2d_backward": lambda: {
        "grad_output": random((2, 6, 5, 6)),
        "input": random((2, 4, 5, 6)),
        "offset": random((2, 36, 5, 6)),
        "weight": random((6, 2, 3, 3)),
        "mask": random((2, 18, 5, 6)),
        "padding": 1,
    },
    "deform_conv3": lambda: {
        "input": random((2, 5, 6, 4)),
        "offset": random((2, 5, 6, 36)),
        "mask": random((2, 5, 6, 18)),
        **_DEFORMABLE,
    },
    "deform_conv3_backward": lambda: {"grad_output": random((2, 5, 6, 4)), **GOOD["deform_conv3"]()},
    "deform_conv4": lambda: {
        "input": random((2, 5, 6, 4)),
        "offset_mask": random((2, 5, 6, 56)),
        **_DEFORMABLE,
    },
    "deform_conv4_backward": lambda: {"grad_output": random((2, 5, 6, 4)), **GOOD["deform_conv4"]()},
    "multi_scale_deformable_attention": lambda: {
        "value": random((2, 24, 2, 5)),
        "spatial_shapes": np.array([[3, 4], [3, 4]]),
        "sampling_locations": random((2, 3, 2, 2, 4, 2)),
        "attention_weights": random((2, 3, 2, 2, 4)),
    },
    "multi_scale_deformable_attention_backward": lambda: {
        "grad_output": random((2, 3, 10)),
        **GOOD["multi_scale_deformable_attention"](),
    },
    "roi_align": lambda: {
        "input": random((2, 4, 7, 9)),
        "boxes": ROIS.copy(),
        "sampling_ratio": 2,
        **_ROI_POOLING,
    },
    "roi_align_backward": lambda: {
        "grad_output": random((3, 4, 2, 3)),
        "boxes": ROIS.copy(),
        "spatial_scale": 0.5,
        **_ROI_GRADIENT,
    },
    "multi_scale_roi_align": lambda: {
        "features": [random((2, 4, 16, 16)), random((2, 4, 8, 8))],
        "boxes": ROIS.copy(),
        "output_size": (2, 3),
        "spatial_scales": [0.5, 0.25],
    },
    "multi_scale_roi_align_backward": lambda: {
        "grad_output": random((3, 4, 2, 3)),
        "boxes": ROIS.copy(),
        "input_shapes": [(2, 4, 16, 16), (2, 4, 8, 8)],
        "spatial_scales": [0.5, 0.25],
    },
    "roi_pool": lambda: {"input": random((2, 4, 7, 9)), "boxes": ROIS.copy(), **_ROI_POOLING},
    "roi_pool_backward": lambda: {
        "grad_output": random((3, 4, 2, 3)),
        "boxes": ROIS.copy(),
        "argmax": (np.arange(72, dtype=np.int32) % 64 - 1).reshape(3, 4, 2, 3),
        **_ROI_GRADIENT,
    },
    "ps_roi_align": lambda: {"input": random((2, 12, 7, 9)), "boxes": ROIS.copy(), **_ROI_POOLING},
    "ps_roi_align_backward": lambda: {
        "grad_output": random((3, 2, 2, 3)),
        "boxes": ROIS.copy(),
        "input_shape": (2, 12, 7, 9),
    },
    "ps_roi_pool": lambda: {"input": random((2, 12, 7, 9)), "boxes": ROIS.copy(), **_ROI_POOLING},
    "ps_roi_pool_backward": lambda: {
        "grad_output": random((3, 2, 2, 3)),
        "boxes": ROIS.copy(),
        "input_shape": (2, 12, 7, 9),
    },
    "roi_align_rotated": lambda: {
        "input": random((2, 4, 7, 9)),
        "boxes": ROTATED_ROIS.copy(),
        **_ROI_POOLING,
    },
    "roi_align_rotated_backward": lambda: {
        "grad_output": random((3, 4, 2, 3)),
        "boxes": ROTATED_ROIS.copy(),
        **_ROI_GRADIENT,
    },
    "deform_roi_pool": lambda: {
        "input": random((2, 4, 7, 9)),
        "boxes": ROIS.copy(),
        "offset": random((3, 2, 2, 3)),
        "mask": random((3, 1, 2, 3)),
        **_ROI_POOLING,
    },
    "deform_roi_pool_backward": lambda: {
        "grad_output": random((3, 4, 2, 3)),
        "input": random((2, 4, 7, 9)),
        "boxes": ROIS.copy(),
        "offset": random((3, 2, 2, 3)),
        "mask": random((3, 1, 2, 3)),
    },
    "prroi_pool": lambda: {"input": random((2, 4, 7, 9)), "boxes": ROIS.copy(), **_ROI_POOLING},
    "prroi_pool_backward": lambda: {
        "grad_output": random((3, 4, 2, 3)),
        "input": random((2, 4, 7, 9)),
        "boxes": ROIS.copy(),
    },
    "linear": lambda: {"input": random((3, 7)), "weight": random((5, 7)), "bias": random((5,))},
    "max_pool2d": lambda: {"input": random((2, 3, 7, 9)), "kernel_size": 3},
    "avg_pool2d": lambda: {"input": random((2, 3, 7, 9)), "kernel_size": 3},
    "adaptive_avg_pool2d": lambda: {"input": random((2, 3, 7, 9)), "output_size": (2, 3)},
    "max_pool2d_backward": lambda: {
        "grad_output": random((2, 3, 2, 3)),
        "indices": np.zeros((2, 3, 2, 3), np.int64),
        "input_shape": (2, 3, 7, 9),
        "kernel_size": 3,
    },
    "avg_pool2d_backward": lambda: {
        "grad_output": random((2, 3, 2, 3)),
        "input_shape": (2, 3, 7, 9),
        "kernel_size": 3,
    },
    "adaptive_avg_pool2d_backward": lambda: {
        "grad_output": random((2, 3, 2, 3)),
        "input_shape": (2, 3, 7, 9),
    },
    "interpolate": lambda: {"input": random((2, 3, 7, 9)), "size": (5, 6), "mode": "bilinear"},
    "max_unpool2d": lambda: {
        "input": random((2, 3, 2, 3)),
        "indices": np.zeros((2, 3, 2, 3), np.int64),
        "kernel_size": 3,
    },
    "max_unpool2d_backward": lambda: {
        "grad_output": random((2, 3, 6, 9)),
        "indices": np.zeros((2, 3, 2, 3), np.int64),
    },
    "pixel_shuffle": lambda: {"input": random((2, 12, 3, 5)), "upscale_factor": 2},
    "pixel_unshuffle": lambda: {"input": random((2, 3, 6, 10)), "downscale_factor": 2},
    "interpolate_backward": lambda: {
        "grad_output": random((2, 3, 5, 6)),
        "input_shape": (2, 3, 7, 9),
        "size": (5, 6),
        "mode": "bicubic",
    },
    "add": lambda: {"a": random((2, 3, 4, 5)), "b": random((1, 3, 1, 1))},
    "mul": lambda: {"a": random((2, 3, 4, 5)), "b": random((2, 3, 4, 5))},
    "relu": lambda: {"input": random((3, 7))},
    "gelu": lambda: {"input": random((3, 7))},
    "split": lambda: {"input": random((2, 6, 3, 3)), "sizes": [2, 4], "dim": 1},
    "softmax": lambda: {"input": random((3, 7)), "dim": 1},
    "nms": lambda: {"boxes": BOXES.copy(), "scores": SCORES.copy(), "iou_threshold": 0.5},
    "batched_nms": lambda: {
        "boxes": BOXES.copy(),
        "scores": SCORES.copy(),
        "idxs": np.array([0, 0, 1]),
        "iou_threshold": 0.5,
    },
    "box_iou": lambda: {"boxes1": BOXES.copy(), "boxes2": BOXES[:2].copy()},
    **{
        op: lambda: {"boxes1": BOXES.copy(), "boxes2": BOXES[:2].copy()}
        for op in ("complete_box_iou", "box_iof", "generalized_box_iou", "distance_box_iou")
    },
    "box_area": lambda: {"boxes": BOXES.copy()},
    "remove_small_boxes": lambda: {"boxes": BOXES.copy(), "min_size": 1.0},
    "boxes_to_distances": lambda: {"points": random((3, 2)), "boxes": BOXES.copy()},
    "point_grid": lambda: {"size": (3, 4), "stride": 8, "offset": 0.5},
    "anchor_grid": lambda: {"size": (3, 4), "stride": 8, "sizes": [32, 64], "aspect_ratios": [0.5, 1]},
    "prior_grid": lambda: {
        "size": (3, 4),
        "image_size": (300, 300),
        "scale": 0.2,
        "next_scale": 0.3,
        "aspect_ratios": [2, 3],
    },
    "box_iou_rotated": lambda: {"boxes1": ROTATED.copy(), "boxes2": ROTATED[:2].copy()},
    "nms_padded": lambda: {**GOOD["batched_nms"](), "max_output": 4},
    "nms_rotated": lambda: {"boxes": ROTATED.copy(), "scores": SCORES.copy(), "iou_threshold": 0.5},
    "batched_nms_rotated": lambda: {**GOOD["nms_rotated"](), "idxs": np.array([0, 0, 1])},
    "soft_nms": lambda: {"boxes": BOXES.copy(), "scores": SCORES.copy()},
    "matrix_nms": lambda: {
        "boxes": BOXES.copy(),
        "scores": SCORES.copy(),
        "idxs": np.array([0, 0, 1]),
    },
    "mask_nms": lambda: {
        "masks": random((3, 7, 9)) > 0,
        "scores": SCORES.copy(),
        "iou_threshold": 0.5,
        "idxs": np.array([0, 0, 1]),
    },
    "mask_matrix_nms": lambda: {
        "masks": random((3, 7, 9)) > 0,
        "scores": SCORES.copy(),
        "idxs": np.array([0, 0, 1]),
    },
    "weighted_boxes_fusion": lambda: {
        "boxes_list": [BOXES.copy(), BOXES.copy()],
        "scores_list": [SCORES.copy(), SCORES.copy()],
        "labels_list": [np.array([0, 0, 1]), np.array([0, 1, 1])],
        "weights": [1.0, 2.0],
    },
    "paste_masks": lambda: {
        "masks": np.abs(random((3, 5, 5))),
        "boxes": BOXES.copy(),
        "img_shape": (40, 55),
    },
    "masks_to_boxes": lambda: {"masks": random((3, 7, 9)) > 0},
    "rle_encode": lambda: {"masks": random((3, 7, 9)) > 0},
    **{op: lambda: {"rles": list(_RLES)} for op in ("rle_decode", "rle_area", "rle_to_bbox", "rle_merge")},
    "rle_iou": lambda: {"dt": list(_RLES), "gt": list(_RLES[:2]), "iscrowd": np.array([0, 1])},
    **{
        op: lambda: {"polygons": list(_POLYGONS), "size": (9, 9)}
        for op in ("rle_from_polygons", "polygons_to_mask")
    },
    "encode_boxes": lambda: {"reference_boxes": BOXES.copy(), "proposals": BOXES[::-1].copy()},
    "decode_boxes": lambda: {"rel_codes": random((3, 8)), "boxes": BOXES.copy()},
    "distances_to_boxes": lambda: {"points": random((3, 2)), "distances": random((3, 4))},
    "box_convert": lambda: {"boxes": BOXES.copy(), "in_fmt": "xyxy", "out_fmt": "cxcywh"},
    "clip_boxes_to_image": lambda: {"boxes": BOXES.copy(), "size": (40, 55)},
    "prepare_image": lambda: {"image": _image((9, 11, 3)), "size": (5, 6)},
    "clahe": lambda: {"image": _image((9, 11)), "clip_limit": 2.0, "tile_grid_size": (2, 3)},
    "subtract_local_mean": lambda: {"image": random((9, 11, 3)), "size": 3},
    "warp_perspective": lambda: {
        "src": _image((9, 11, 3)),
        "M": np.array([[1.1, 0.1, 2], [0, 0.9, -1], [1e-3, 0, 1]]),
        "dsize": (6, 5),
        "inverse_map": True,
    },
    "warp_affine": lambda: {
        "src": _image((9, 11, 3)),
        "M": np.array([[1.1, 0.1, 2], [0, 0.9, -1]]),
        "dsize": (6, 5),
        "inverse_map": True,
    },
    "remap": lambda: {"src": _image((9, 11, 3)), "map1": random((5, 6)), "map2": random((5, 6), seed=1)},
    "grid_sample": lambda: {"input": random((2, 3, 7, 9)), "grid": random((2, 4, 5, 2))},
    "grid_sample_backward": lambda: {"grad_output": random((2, 3, 4, 5)), **GOOD["grid_sample"]()},
    **{
        f"postprocess.{op}": lambda op=op: GOOD[op]()
        for op in ("nms", "batched_nms", "box_iou", "decode_boxes")
    },
    "postprocess.decode_dfl": lambda: {
        "scores": np.abs(random((6, 3))),
        "distances": random((6, 32)),
        "stride": 8,
        "width": 3,
        "score_threshold": 0.2,
    },
    "postprocess.paste_masks": lambda: {
        "masks": np.abs(random((3, 5, 5))),
        "boxes": BOXES.copy(),
        "height": 40,
        "width": 55,
    },
    "postprocess.rle_encode": lambda: {"mask": np.eye(7, 9, dtype=np.uint8)},
    "postprocess.rle_decode": lambda: {"counts": _COUNTS, **_SIZE},
    "postprocess.rle_area": lambda: {"counts": _COUNTS, **_SIZE},
    "postprocess.rle_iou": lambda: {"dt": _COUNTS, "gt": _COUNTS, **_SIZE},
}
_HALF_TOO = ("float16", "bfloat16", "float32", "float64")
# Each array argument and the dtypes it takes.
ARRAYS: dict[str, dict[str, tuple[str, ...]]] = {
    **{
        op: dict.fromkeys(names, ("float32",))
        for op, names in {
            "linear": ("input", "weight", "bias"),
            "add": ("a", "b"),
            "mul": ("a", "b"),
            "relu": ("input",),
            "gelu": ("input",),
            "split": ("input",),
            "softmax": ("input",),
        }.items()
    },
    "conv2d_int8": {
        "input": ("uint8",),
        "weight": ("int8",),
        "weight_scale": ("float32",),
        "bias": ("int32",),
    },
    # The first decides the dtype of the others, float32 here.
    **{
        op: dict.fromkeys(names, ("float32",))
        | ({first: ("float32", "float64")} if op.endswith("_backward") and first != "grad_output" else {})
        | {next(iter(inspect.signature(getattr(ops, op)).parameters)): _HALF_TOO}
        | exact
        for op, first, names, exact in (
            ("conv2d", "input", ("input", "weight", "bias", "residual"), {}),
            ("depthwise_conv2d", "input", ("input", "weight", "bias"), {}),
            (
                "separable_conv2d",
                "input",
                ("input", "depthwise_weight", "pointwise_weight", "depthwise_bias", "pointwise_bias"),
                {},
            ),
            (
                "inverted_residual",
                "input",
                (
                    "input",
                    "expand_weight",
                    "depthwise_weight",
                    "project_weight",
                    "expand_bias",
                    "depthwise_bias",
                    "project_bias",
                    "residual",
                ),
                {},
            ),
            ("conv_transpose2d", "input", ("input", "weight", "bias"), {}),
            ("conv2d_backward", "grad_output", ("grad_output", "input", "weight"), {}),
            ("depthwise_conv2d_backward", "grad_output", ("grad_output", "input", "weight"), {}),
            ("conv_transpose2d_backward", "grad_output", ("grad_output", "input", "weight"), {}),
            (
                "separable_conv2d_backward",
                "grad_output",
                ("grad_output", "input", "depthwise_weight", "pointwise_weight", "depthwise_bias"),
                {},
            ),
            (
                "inverted_residual_backward",
                "grad_output",
                (
                    "grad_output",
                    "input",
                    "expand_weight",
                    "depthwise_weight",
                    "project_weight",
                    "expand_bias",
                    "depthwise_bias",
                ),
                {},
            ),
            ("deform_conv2d", "input", ("input", "offset", "weight", "bias", "mask"), {}),
            ("deform_conv2d_backward", "input", ("input", "grad_output", "offset", "weight", "mask"), {}),
            ("deform_conv3", "input", ("input", "offset", "mask"), {}),
            ("deform_conv3_backward", "input", ("input", "grad_output", "offset", "mask"), {}),
            ("deform_conv4", "input", ("input", "offset_mask"), {}),
            ("deform_conv4_backward", "input", ("input", "grad_output", "offset_mask"), {}),
            *(
                (
                    op,
                    "value",
                    ("value", "sampling_locations", "attention_weights", *more),
                    {"spatial_shapes": ("int64",)},
                )
                for op, more in (
                    ("multi_scale_deformable_attention", ()),
                    ("multi_scale_deformable_attention_backward", ("grad_output",)),
                )
            ),
        )
    },
    **{
        op: dict.fromkeys(names, ("float32",)) | {names[0]: _HALF_TOO}
        for op, names in {
            "roi_align": ("input", "boxes"),
            "roi_align_backward": ("grad_output", "boxes"),
            "multi_scale_roi_align_backward": ("grad_output", "boxes"),
            "roi_pool": ("input", "boxes"),
            "ps_roi_align": ("input", "boxes"),
            "ps_roi_align_backward": ("grad_output", "boxes"),
            "ps_roi_pool": ("input", "boxes"),
            "ps_roi_pool_backward": ("grad_output", "boxes"),
            "roi_align_rotated": ("input", "boxes"),
            "roi_align_rotated_backward": ("grad_output", "boxes"),
            "deform_roi_pool": ("input", "boxes", "offset", "mask"),
            "deform_roi_pool_backward": ("input", "grad_output", "boxes", "offset", "mask"),
            "prroi_pool": ("input", "boxes"),
            "prroi_pool_backward": ("input", "grad_output", "boxes"),
        }.items()
    },
    "roi_pool_backward": {
        "grad_output": _HALF_TOO,
        "boxes": ("float32",),
        "argmax": ("int32",),
    },
    # Scores and second boxes must have the dtype of the boxes, which is float32 here.
    "nms": {"boxes": ("float32", "float64"), "scores": ("float32",)},
    "batched_nms": {"boxes": ("float32", "float64"), "scores": ("float32",), "idxs": ("int32", "int64")},
    "box_iou_rotated": {"boxes1": ("float32", "float64"), "boxes2": ("float32",)},
    **{
        op: {
            "boxes1": ("float16", "bfloat16", "float32", "float64", "int32", "int64"),
            "boxes2": ("float16", "bfloat16", "float32"),
        }
        for op in (
            "box_iou",
            "box_iof",
            "generalized_box_iou",
            "distance_box_iou",
            "complete_box_iou",
        )
    },
    "box_area": {"boxes": ("float16", "bfloat16", "float32", "float64", "int32", "int64")},
    "remove_small_boxes": {"boxes": _HALF_TOO},
    "boxes_to_distances": {"points": ("float32", "float64"), "boxes": ("float32",)},
    "multi_scale_roi_align": {"boxes": ("float32",)},
    "nms_padded": {"boxes": ("float32", "float64"), "scores": ("float32",), "idxs": ("int32", "int64")},
    "nms_rotated": {"boxes": ("float32", "float64"), "scores": ("float32",)},
    "batched_nms_rotated": {
        "boxes": ("float32", "float64"),
        "scores": ("float32",),
        "idxs": ("int32", "int64"),
    },
    "soft_nms": {"boxes": ("float32", "float64"), "scores": ("float32",)},
    "matrix_nms": {"boxes": ("float32", "float64"), "scores": ("float32",), "idxs": ("int32", "int64")},
    **{
        op: {"masks": ("bool", "uint8"), "scores": ("float32", "float64"), "idxs": ("int32", "int64")}
        for op in ("mask_nms", "mask_matrix_nms")
    },
    "paste_masks": {"masks": ("float32",), "boxes": ("float32",)},
    "masks_to_boxes": {
        "masks": (
            *("bool", "uint8", "int8", "int16", "int32", "int64"),
            *_HALF_TOO,
        )
    },
    "rle_encode": {"masks": ("bool", "uint8")},
    "encode_boxes": {"reference_boxes": ("float32", "float64"), "proposals": ("float32",)},
    "decode_boxes": {"rel_codes": ("float32", "float64"), "boxes": ("float32",)},
    "distances_to_boxes": {"points": ("float32", "float64"), "distances": ("float32",)},
    "box_convert": {"boxes": _HALF_TOO},
    "clip_boxes_to_image": {"boxes": _HALF_TOO},
    "prepare_image": {"image": ("uint8",)},
    "clahe": {"image": ("uint8", "float32")},
    "subtract_local_mean": {"image": ("uint8", "float32")},
    **{
        op: {"src": ("uint8", "float32"), "M": ("float32", "float64")}
        for op in ("warp_perspective", "warp_affine")
    },
    "remap": {"src": ("uint8", "float32"), "map1": ("float32",), "map2": ("float32",)},
    **{
        op: {name: _HALF_TOO}
        for name, names in {
            "input": ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "interpolate"),
            "grad_output": ("avg_pool2d_backward", "adaptive_avg_pool2d_backward", "interpolate_backward"),
        }.items()
        for op in names
    },
    **{
        op: {name: _HALF_TOO, "indices": ("int64",)}
        for op, name in (
            ("max_pool2d_backward", "grad_output"),
            ("max_unpool2d", "input"),
            ("max_unpool2d_backward", "grad_output"),
        )
    },
    "grid_sample": {"input": _HALF_TOO, "grid": ("float32",)},
    "grid_sample_backward": {
        "input": ("float32", "float64"),
        "grid": ("float32",),
        "grad_output": _HALF_TOO,
    },
    **{
        f"postprocess.{op}": dict.fromkeys(names, ("float32",)) | others
        for op, names, others in (
            ("nms", ("boxes", "scores"), {}),
            ("batched_nms", ("boxes", "scores"), {"idxs": ("int64",)}),
            ("box_iou", ("boxes1", "boxes2"), {}),
            ("decode_boxes", ("rel_codes", "boxes"), {}),
            ("decode_dfl", ("scores", "distances"), {}),
            ("paste_masks", ("masks", "boxes"), {}),
            ("rle_encode", (), {"mask": ("uint8", "bool")}),
        )
    },
}
OPTIONAL = {"idxs", "bias", "residual", "mask", "map2"} | {
    f"{stage}_bias" for stage in ("expand", "depthwise", "pointwise", "project")
}
ARRAY_ARGUMENTS = [(op, name) for op, names in ARRAYS.items() for name in names]
DTYPES = (
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int32",
    "int64",
    "bool",
    "complex64",
    "object",
    "U4",
)


def _integers(shape: tuple[int, ...], dtype: type[np.integer]) -> np.ndarray:
    """Of every size that int8 and uint8 have."""
    bits = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return bits.view(np.int8).astype(dtype) if np.issubdtype(dtype, np.signedinteger) else bits


def _image(shape: tuple[int, ...]) -> np.ndarray:
    return _integers(shape, np.uint8)


def _ones(shape: tuple[int, ...]) -> np.ndarray:
    return np.ones(shape, np.float32)


_FIRST_OF_SEVERAL = ("prepare_image", "nms_padded", "soft_nms", "weighted_boxes_fusion", "decode_dfl")


def call(op: str, arguments: Arguments) -> Any:
    module, _, name = op.rpartition(".")
    result = getattr(postprocess if module else ops, name)(**arguments)
    if name.endswith("matrix_nms") or name in _FIRST_OF_SEVERAL:
        return result[0]
    if isinstance(result, dict | list) and "rle" in name:
        rles = [result] if isinstance(result, dict) else result
        return np.frombuffer(b"".join(rle["counts"] for rle in rles), np.uint8)
    if isinstance(result, bytes):
        return np.frombuffer(result, np.uint8)
    if op.endswith("_backward"):
        return np.concatenate([gradient.ravel() for gradient in result])
    return np.concatenate(result, axis=arguments["dim"]) if op == "split" else result


def speaks(op: str, message: str, start: str = "") -> bool:
    return message.startswith(f"[{op.rpartition('.')[2]}] {start}")


def refuse(op: str, argument: str, overrides: Arguments, error: type[Exception] | None = None) -> None:
    arguments = GOOD[op]() | overrides
    before = {name: np.array(value) for name, value in arguments.items() if isinstance(value, np.ndarray)}
    with pytest.raises(error or (ValueError, TypeError)) as caught:
        call(op, arguments)
    message = str(caught.value)
    assert speaks(op, message), message
    assert re.search(rf"\b({argument})\b", message), message
    assert "expected" in message, message
    for name, value in before.items():
        np.testing.assert_array_equal(arguments[name], value)


def test_the_good_calls_are_good() -> None:
    for op, arguments in GOOD.items():
        assert np.isfinite(call(op, arguments())).all(), op


# ---- refused: (row, op, the argument that the message names, what changes)

_WIDE = 2**31  # one more than an int32 holds
_HUGE = 2**62
_POOLS = ("max_pool2d", "avg_pool2d")
_WINDOW_GRADIENTS = tuple(f"{op}_backward" for op in _POOLS)
_POOL_GRADIENTS = (*_WINDOW_GRADIENTS, "adaptive_avg_pool2d_backward")
_ONE_WEIGHT = ("conv2d_backward", "depthwise_conv2d_backward", "conv_transpose2d_backward")
_CONV_GRADIENTS = (*_ONE_WEIGHT, "separable_conv2d_backward", "inverted_residual_backward")

_DEFORM_CONV2D = ("deform_conv2d", "deform_conv2d_backward")
_DEFORM_CONV3 = ("deform_conv3", "deform_conv3_backward", "deform_conv4", "deform_conv4_backward")
_ATTENTION = ("multi_scale_deformable_attention", "multi_scale_deformable_attention_backward")
_ROI_FORWARD = (
    "roi_align",
    "roi_pool",
    "ps_roi_align",
    "ps_roi_pool",
    "roi_align_rotated",
    "deform_roi_pool",
    "prroi_pool",
)
_ROI_BACKWARD = tuple(f"{op}_backward" for op in _ROI_FORWARD)
_ROI = _ROI_FORWARD + _ROI_BACKWARD
_PYRAMID = ("multi_scale_roi_align", "multi_scale_roi_align_backward")


def _bad_rois(op: str, column: int, value: float) -> Arguments:
    boxes = GOOD[op]()["boxes"]
    boxes[1, column] = value
    return {"boxes": boxes}


def _map(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


_WARPS = ("warp_perspective", "warp_affine")
_SAMPLERS = (*_WARPS, "remap")
_GRIDS = ("grid_sample", "grid_sample_backward")


def _bad_matrix(op: str, value: float) -> Arguments:
    matrix = GOOD[op]()["M"]
    matrix[1, 1] = value
    return {"M": matrix}


_SUPPRESSIONS = (
    "nms",
    "batched_nms",
    "nms_padded",
    "nms_rotated",
    "batched_nms_rotated",
    "mask_nms",
    "soft_nms",
    "matrix_nms",
    "mask_matrix_nms",
)
_OVERLAPS = ("box_iof", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
_ROTATED_NMS = ("nms_rotated", "batched_nms_rotated")

REFUSED: list[tuple[int, str, str, Arguments]] = [
    # regions of interest
    *[
        (row, op, "boxes", _bad_rois(op, column, value))
        for op in _ROI
        for column in range(1, GOOD[op]()["boxes"].shape[1])
        for row, value in ((2, float("inf")), (2, float("-inf")), (3, float("nan")))
    ],
    *[
        (4, op, "boxes", _bad_rois(op, 0, value))
        for op in _ROI
        for value in (-1, 2, 0.5, 3e38, float("inf"), float("nan"))
    ],
    *[
        (9, op, "boxes", {"boxes": _ones(shape)})
        for op in _ROI
        for shape in ((), (5,), (3, 4), (3, 7), (1, 3, 5))
    ],
    *[
        (9, op, name, {name: _ones(shape)})
        for op in _ROI
        for name in ("input", "grad_output")
        for shape in ((), (5,), (3, 4), (1, 2, 3, 4, 5))
        if name in GOOD[op]()
    ],
    *[(6, op, "input", {"input": _map(2, 12, 0, 9)}) for op in _ROI_FORWARD],
    *[(1, op, "output_size", {"output_size": size}) for op in _ROI_FORWARD for size in (0, -1, (2, 0))],
    *[
        (8, op, "output_size|output|input", {"output_size": (n, n)})
        for op in _ROI_FORWARD
        for n in (_WIDE, _HUGE)
    ],
    *[
        (16, op, "output_size", {"output_size": value})
        for op in _ROI_FORWARD
        for value in ((3,), (3, 3, 3), 1.5, "3", True)
    ],
    *[
        (row, op, "spatial_scale", {"spatial_scale": value})
        for op in _ROI
        for row, value in (
            (2, float("inf")),
            (3, float("nan")),
            (1, 0),
            (1, -1.0),
            (16, "1"),
            (16, None),
            (16, True),
        )
        if op != "roi_pool_backward"
    ],
    *[
        (row, op, "sampling_ratio", {"sampling_ratio": value})
        for op in _ROI
        for row, value in ((8, 1025), (8, _HUGE), (8, 2**64), (16, 1.5), (16, None))
        if "align" in op or "deform" in op
    ],
    *[(16, op, "layout", {"layout": value}) for op in _ROI for value in ("NCWH", None, np.zeros(3))],
    *[(16, op, "aligned", {"aligned": v}) for op in _ROI if op.startswith("roi_align") for v in (1, None)],
    *[
        (16, op, "mode", {"mode": v})
        for op in ("roi_align", "roi_align_backward")
        for v in ("min", np.zeros(3))
    ],
    (16, "roi_pool", "return_argmax", {"return_argmax": 1}),
    (5, "roi_align_backward", "input", {"mode": "max"}),
    (5, "roi_align_backward", "input", {"input": random((2, 4, 7, 9))}),
    (5, "roi_align_backward", "input", {"mode": "max", "input": random((2, 4, 7, 8))}),
    *[
        (5, op, "grad_output|input", {"grad_output": random(shape)})
        for op in _ROI_BACKWARD
        for shape in ((2, *GOOD[op]()["grad_output"].shape[1:]), (3, 5, 2, 3))
    ],
    *[
        (16, op, "input_shape", {"input_shape": value})
        for op in _ROI_BACKWARD
        for value in ((2, 4, 7), (2, 4, 7, 9, 1), 3, None, (2, 4, 7, 1.5), (-2, 4, 7, 9))
        if "input_shape" in GOOD[op]()
    ],
    *[
        (row, op, "input|output|grad_output", {"input_shape": shape})
        for op in _ROI_BACKWARD
        for row, shape in ((5, (2, 5, 7, 9)), (8, (_HUGE, 4, 7, 9)))
        if "input_shape" in GOOD[op]()
    ],
    *[
        (row, op, "input_shape", {"input_shape": shape})
        for op in _ROI_BACKWARD
        for row, shape in ((6, (2, 4, 0, 9)), (11, (2, 4, _WIDE, 9)), (11, (2, 0, 9, _HUGE)))
        if "input_shape" in GOOD[op]()
    ],
    *[
        (6, op, "grad_output", {"grad_output": _map(3, 4, 0, 3)})
        for op in _ROI_BACKWARD
        if op != "roi_pool_backward"
    ],
    *[
        (5, op, "input", {"input": random((2, channels, 7, 9))})
        for op in ("ps_roi_align", "ps_roi_pool")
        for channels in (4, 11, 13)
    ],
    *[
        (5, op, name, {name: random(shape)})
        for op in ("deform_roi_pool", "deform_roi_pool_backward")
        for name, shape in (
            ("offset", (3, 1, 2, 3)),
            ("offset", (2, 2, 2, 3)),
            ("mask", (3, 2, 2, 3)),
            ("mask", (3, 1, 3, 2)),
        )
    ],
    *[
        (row, op, "gamma", {"gamma": value})
        for op in ("deform_roi_pool", "deform_roi_pool_backward")
        for row, value in ((2, float("inf")), (3, float("nan")), (16, "1"))
    ],
    *[
        (10, "roi_pool_backward", "argmax", {"argmax": np.full((3, 4, 2, 3), value, np.int32)})
        for value in (-2, 63, 2**31 - 1)
    ],
    (5, "roi_pool_backward", "argmax", {"argmax": np.zeros((3, 4, 3, 2), np.int32)}),
    *[
        (2, op, "boxes", _bad_rois(op, column, value))
        for op in ("roi_align_rotated", "roi_align_rotated_backward")
        for column, value in ((3, 3e38), (4, 1e7))
    ],
    *[
        (5, op, "input_shape|grad_output", {"grad_output": random((3, 2, 3, 3))})
        for op in ("ps_roi_align_backward", "ps_roi_pool_backward")
    ],
    # gradients of poolings
    *[
        (row, op, "input_shape", {"input_shape": shape})
        for op in _POOL_GRADIENTS
        for row, shape in (
            (5, (2, 4, 7, 9)),
            (5, (3, 3, 7, 9)),
            (6, (2, 3, 0, 9)),
            (9, (2, 3, 7)),
            (16, (2, 3, 7.0, 9)),
            (16, None),
        )
    ],
    *[
        (row, op, "grad_output|input_shape", {"input_shape": shape})
        for op in _WINDOW_GRADIENTS
        for row, shape in ((5, (2, 3, 7, 5)), (11, (2, 3, _WIDE, 9)))
    ],
    *[
        (10, op, "indices", {"indices": np.full((2, 3, 2, 3), index)})
        for op, index in itertools.product(
            ("max_pool2d_backward", "max_unpool2d", "max_unpool2d_backward"), (63, -2, _HUGE)
        )
    ],
    *[(5, op, "indices", {"indices": np.zeros((2, 3, 3, 2), np.int64)}) for op in ("max_unpool2d",)],
    (5, "max_unpool2d", "output_size", {"output_size": (9, 9)}),
    *[(7, "max_unpool2d", name, {name: value}) for name in ("kernel_size", "stride") for value in (0, -1)],
    (1, "max_unpool2d", "padding", {"padding": -1}),
    (8, "max_unpool2d", "output", {"kernel_size": _HUGE}),
    *[(7, "pixel_shuffle", "upscale_factor", {"upscale_factor": r}) for r in (0, -1, _HUGE)],
    *[(7, "pixel_unshuffle", "downscale_factor", {"downscale_factor": r}) for r in (0, -1, _HUGE)],
    (5, "pixel_shuffle", "channels", {"upscale_factor": 4}),
    (5, "pixel_unshuffle", "extents", {"downscale_factor": 4}),
    *[(16, op, "layout", {"layout": "HWC"}) for op in ("pixel_shuffle", "pixel_unshuffle", "max_unpool2d")],
    (5, "interpolate_backward", "grad_output", {"size": (6, 6)}),
    (6, "interpolate_backward", "input_shape", {"input_shape": (2, 3, 0, 9)}),
    (9, "interpolate_backward", "input_shape", {"input_shape": (2, 3, 7)}),
    (8, "interpolate_backward", "output", {"input_shape": (2, 3, _HUGE, 9)}),
    (8, "adaptive_avg_pool2d_backward", "output", {"input_shape": (2, 3, _HUGE, 9)}),
    (8, "adaptive_avg_pool2d_backward", "output", {"input_shape": (2, 3, _WIDE, _WIDE)}),
    *[
        (7, op, name, {name: value})
        for op, name in (
            *itertools.product(_WINDOW_GRADIENTS, ("kernel_size", "stride")),
            ("max_pool2d_backward", "dilation"),
        )
        for value in (0, -1, _HUGE)
    ],
    *[(5, op, "padding", {"padding": 2}) for op in _WINDOW_GRADIENTS],
    *[(16, op, "layout", {"layout": value}) for op in _POOL_GRADIENTS for value in ("NCWH", "", None, 3)],
    *[
        (9, op, name, {name: np.ones(shape, np.float32 if name == "grad_output" else np.int64)})
        for op in _POOL_GRADIENTS
        for name in ("grad_output", "indices")
        for shape in ((), (5,), (3, 4), (1, 2, 3, 4, 5))
        if name in GOOD[op]()
    ],
    (5, "max_pool2d_backward", "indices", {"indices": np.zeros((2, 3, 3, 2), np.int64)}),
    # warps
    *[(1, op, "dsize", {"dsize": size}) for op in _WARPS for size in ((0, 5), (5, 0), (-1, 5))],
    *[(8, op, "dsize|output", {"dsize": (n, n)}) for op in _WARPS for n in (_WIDE, _HUGE, 2**64)],
    *[
        (16, op, "dsize", {"dsize": value})
        for op in _WARPS
        for value in ((3,), (3, 3, 3), 1.5, (1, 1.5), "33", None)
    ],
    *[
        (row, op, "M", _bad_matrix(op, value))
        for op in _WARPS
        for row, value in ((2, np.inf), (2, -np.inf), (3, np.nan))
    ],
    *[(5, op, "M", {"M": GOOD[op]()["M"] * 0, "inverse_map": False}) for op in _WARPS],
    *[
        (9, op, "M", {"M": np.ones(shape)})
        for op in _WARPS
        for shape in ((), (9,), (3, 4), (1, 3, 3), (2, 2))
    ],
    (9, "warp_perspective", "M", {"M": np.ones((2, 3))}),
    (9, "warp_affine", "M", {"M": np.ones((3, 3))}),
    *[(16, op, "inverse_map", {"inverse_map": value}) for op in _WARPS for value in (1, None)],
    *[
        (9, op, "src", {"src": _image(shape)})
        for op in _SAMPLERS
        for shape in ((), (5,), (1, 2, 3, 4, 5), (0, 4, 3), (4, 0, 3), (4, 4, 0))
    ],
    *[
        (16, op, name, {name: value})
        for op in _SAMPLERS
        for name in ("interpolation", "border_mode")
        for value in ("linear", "", None, 1)
    ],
    *[
        (row, op, "border_value", {"border_value": value})
        for op in _SAMPLERS
        for row, value in (
            (2, float("inf")),
            (3, float("nan")),
            (16, "1"),
            (16, None),
            (16, (1, 2)),
            (16, (1, 2, "3")),
        )
    ],
    *[(9, "remap", "map1", {"map1": _ones(s)}) for s in ((), (5,), (5, 6, 2), (5, 7), (1, 5, 6))],
    *[(9, "remap", "map1", {"map1": _ones(s), "map2": None}) for s in ((), (5, 6), (5, 6, 3), (0, 6, 2))],
    *[
        (5, op, "grid", {"grid": _ones(shape)})
        for op in _GRIDS
        for shape in ((), (2, 4, 5), (1, 4, 5, 2), (2, 4, 5, 3), (2, 4, 5, 2, 2))
    ],
    *[
        (9, op, "input", {"input": _ones(s)})
        for op in _GRIDS
        for s in ((), (3, 4), (2, 3, 4), (1, 2, 3, 4, 5))
    ],
    *[(6, op, "input", {"input": _map(2, 3, 0, 9)}) for op in _GRIDS],
    *[
        (16, op, name, {name: value})
        for op in _GRIDS
        for name, values in (
            ("mode", ("trilinear", None, 1)),
            ("padding_mode", ("reflect", None, 1)),
            ("align_corners", (1, "no")),
            ("layout", ("NCWH", None)),
        )
        for value in values
    ],
    *[
        (5, "grid_sample_backward", "grad_output", {"grad_output": _ones(s)})
        for s in ((2, 3, 5, 4), (2, 4, 4, 5), (1, 3, 4, 5))
    ],
    (
        8,
        "roi_align_backward",
        "output",
        {"input_shape": (2, 0, 2**31 - 2, 2**31 - 2), "grad_output": _map(3, 0, 2, 3)},
    ),
    *[
        (row, op, "spatial_scales", {"spatial_scales": value})
        for op in _PYRAMID
        for row, value in (
            (1, [0.5, 0.0]),
            (2, [float("inf"), 0.5]),
            (2, [1e300, 1.0]),
            (3, [0.5, float("nan")]),
            (5, [0.5, 0.125]),
            (5, [0.25, 0.5]),
            (5, [0.6, 0.3]),
            (5, [0.5]),
            (16, ["0.5", "0.25"]),
            (16, 0.5),
        )
    ],
    *[(16, op, "layout", {"layout": np.zeros(3)}) for op in _PYRAMID],
    *[(1, op, "canonical_scale", {"canonical_scale": value}) for op in _PYRAMID for value in (0, -1)],
    *[
        (row, "multi_scale_roi_align", "features", {"features": value})
        for row, value in (
            (6, []),
            (6, [_map(2, 4, 16, 0), _map(2, 4, 8, 8)]),
            (5, [_map(2, 4, 16, 16), _map(2, 3, 8, 8)]),
            (5, [_map(2, 4, 16, 16), _map(1, 4, 8, 8)]),
            (9, [_map(2, 4, 16, 16), _map(4, 8, 8)]),
            (12, None),
            (12, [_map(2, 4, 16, 16), None]),
            (12, [_map(2, 4, 16, 16), np.zeros((2, 4, 8, 8))]),
        )
    ],
    *[
        (row, "multi_scale_roi_align_backward", "input_shapes", {"input_shapes": value})
        for row, value in (
            (6, []),
            (6, [(2, 4, 16, 0), (2, 4, 8, 8)]),
            (5, [(2, 4, 16, 16), (2, 3, 8, 8)]),
            (9, [(2, 4, 16, 16), (4, 8, 8)]),
            (11, [(2, 4, 16, _WIDE), (2, 4, 8, 8)]),
            (16, [(2, 4, 16, 16.0), (2, 4, 8, 8)]),
            (16, None),
        )
    ],
    # entry points for one image
    *[
        (row, f"postprocess.{op}", "iou_threshold", {"iou_threshold": value})
        for op in ("nms", "batched_nms")
        for row, value in (
            *((1, -0.5), (2, 1.5), (2, float("inf")), (2, 10**400), (3, float("nan"))),
            *((16, True), (16, "0.5"), (16, None), (16, (0.5,))),
        )
    ],
    *[
        (row, f"postprocess.{op}", "max_output", {"max_output": value})
        for op in ("nms", "batched_nms")
        for row, value in ((1, 0), (1, -1), (8, 2**63), (16, 1.5), (16, "1"), (16, True))
    ],
    *[
        (9, op, name, {name: np.ones((*shape, *GOOD[op]()[name].shape[1:]), GOOD[op]()[name].dtype)[0]})
        for op in ("postprocess.nms", "postprocess.batched_nms", "postprocess.box_iou")
        for name in GOOD[op]()
        if name != "iou_threshold"
        for shape in ((1,), (1, 1, 3))
    ],
    *[
        (5, f"postprocess.{op}", name, {name: value})
        for op, name, value in (
            ("nms", "boxes", _ones((3, 5))),
            ("nms", "scores", _ones((2,))),
            ("batched_nms", "boxes", _ones((3, 3))),
            ("batched_nms", "scores", _ones((4,))),
            ("batched_nms", "idxs", np.zeros(2, np.int64)),
            ("box_iou", "boxes2", _ones((3, 5))),
            ("decode_boxes", "rel_codes", _ones((3, 7))),
            ("decode_boxes", "boxes", _ones((2, 4))),
            ("decode_dfl", "distances", _ones((5, 32))),
            ("paste_masks", "masks", _ones((3, 5, 4))),
            ("paste_masks", "boxes", _ones((2, 4))),
        )
    ],
    *[
        (row, op, "weights", {"weights": value})
        for op in ("postprocess.decode_boxes", "encode_boxes", "decode_boxes")
        for row, value in (
            *(
                (1, (1, 1, 1, 0)),
                (2, (1, 1, 1, 1e300)),
                (2, (1, 1, 1, 10**400)),
                (3, (1, 1, 1, float("nan"))),
            ),
            *(
                (16, {1, 2, 3, 4}),
                (16, (1, 1, 1)),
                (16, np.ones((4, 1))),
                (16, (1, 1, 1, True)),
                (16, "1234"),
            ),
        )
    ],
    *[
        (row, op, "bbox_xform_clip", {"bbox_xform_clip": value})
        for op in ("postprocess.decode_boxes", "decode_boxes")
        for row, value in ((2, float("-inf")), (3, float("nan")), (16, "4"), (16, True), (16, None))
    ],
    *[
        (row, "postprocess.decode_dfl", name, {name: value})
        for name in ("stride", "width")
        for row, value in ((1, 0), (1, -1), (8, 2**64), (16, 8.0), (16, True), (16, None))
    ],
    *[
        (row, "postprocess.decode_dfl", "score_threshold", {"score_threshold": value})
        for row, value in ((3, float("nan")), (2, 10**400), (16, "0.2"), (16, True))
    ],
    *[
        (row, f"postprocess.{op}", name, {name: value})
        for op in ("paste_masks", "rle_decode", "rle_area", "rle_iou")
        for name in ("height", "width")
        for row, value in (
            *((1, -1), (8, 2**40), (8, _HUGE), (8, 2**64), (8, 10**400)),
            *((16, 7.9), (16, True), (16, float("inf")), (16, "7"), (16, None), (16, np.zeros(3))),
        )
    ],
    *[
        (row, "postprocess.paste_masks", "padding", {"padding": value})
        for row, value in ((1, -1), (8, 2**20 + 1), (8, 2**64), (16, 1.5), (16, True), (16, None))
    ],
    *[
        (row, "postprocess.paste_masks", "threshold", {"threshold": value})
        for row, value in ((1, -0.5), (2, 1.5), (3, float("nan")), (2, 10**400), (16, "0.5"), (16, True))
    ],
    *[
        (row, "postprocess.paste_masks", "boxes", {"boxes": np.full((3, 4), value, np.float32)})
        for row, value in ((2, np.inf), (2, 3e38), (3, np.nan))
    ],
    *[
        (12, f"postprocess.{op}", name, {name: value})
        for op, names in (("rle_decode", ("counts",)), ("rle_area", ("counts",)), ("rle_iou", ("dt", "gt")))
        for name in names
        for value in (None, "d0", 3, bytearray(b"d0"), [63], b"\xff", b"o")
    ],
    *[
        (row, "postprocess.rle_iou", "iscrowd", {"iscrowd": value})
        for row, value in ((10, 2), (10, -1), (3, float("nan")), (16, "no"), (16, {1}), (16, None), (16, 0.0))
    ],
    # run-length encodings
    *[
        (row, op, name, {name: value * 2 if isinstance(value, list) else value})
        for op, names in (
            *((op, ("rles",)) for op in ("rle_decode", "rle_area", "rle_to_bbox", "rle_merge")),
            ("rle_iou", ("dt", "gt")),
        )
        for name in names
        for row, value in (
            (1, [{"size": [-7, 9], "counts": [63]}]),
            (8, [{"size": [2**40, 2**40], "counts": [63]}]),
            (8, [{"size": [2**64, 9], "counts": [63]}]),
            (5, [{"size": [7, 9], "counts": [62]}]),
            (5, [{"size": [7, 9, 1], "counts": [63]}]),
            (10, [{"size": [7, 9], "counts": [-1, 64]}]),
            (12, [{"size": [7, 9], "counts": None}]),
            (12, [None]),
            (12, "d0"),
            (16, [{"size": [7.0, 9.0], "counts": [63]}]),
            (16, [{"size": [True, True], "counts": [1]}]),
        )
    ],
    *[
        (row, "rle_iou", "iscrowd", {"iscrowd": value})
        for row, value in (
            *((10, [0, 2]), (10, np.array([-7, 0])), (5, [0]), (9, np.zeros((2, 1), bool))),
            *((16, [0, 1.0]), (12, None), (12, "no"), (12, np.zeros(2, np.float32))),
        )
    ],
    *[(16, "rle_merge", "intersect", {"intersect": value}) for value in (1, None)],
    *[
        (row, op, "polygons", {"polygons": value})
        for op in ("rle_from_polygons", "polygons_to_mask")
        for row, value in (
            *(
                (2, [[1, 1, float("inf"), 2, 3, 3]]),
                (2, [[1, 1, 2**31, 2, 3, 3]]),
                (3, [[1, 1, np.nan, 2, 3, 3]]),
            ),
            *(
                (5, [[1, 1, 2, 2]]),
                (5, [[1, 1, 2, 2, 3, 3, 4]]),
                (9, [np.zeros((3, 3))]),
                (9, [[[1, 1], [2]]]),
            ),
            *((12, None), (12, "abc"), (12, [None]), (12, [["a"] * 6]), (12, [[10**400] * 6])),
        )
    ],
    *[
        (row, op, "size", {"size": value})
        for op in ("rle_from_polygons", "polygons_to_mask")
        for row, value in (
            (1, (-1, 9)),
            (8, (_WIDE, _WIDE)),
            (8, (2**64, 1)),
            (16, (9, 9.0)),
            (16, (9, 9, 9)),
        )
    ],
    # grids
    *[
        (row, op, name, {name: value})
        for op, names in (
            ("point_grid", ("size", "stride")),
            ("anchor_grid", ("size", "stride")),
            ("prior_grid", ("size", "image_size")),
        )
        for name in names
        for row, value in (
            *((1, -1), (8, _HUGE), (8, 2**64)),
            *((16, 1.5), (16, (3,)), (16, "3"), (16, None), (16, (3, True))),
        )
    ],
    *[
        (row, op, name, {name: wrap(value)})
        for op, name, wrap in (
            ("point_grid", "offset", lambda value: value),
            ("anchor_grid", "sizes", lambda value: [32, value]),
            ("anchor_grid", "aspect_ratios", lambda value: [value, 1]),
            ("prior_grid", "scale", lambda value: value),
            ("prior_grid", "next_scale", lambda value: value),
            ("prior_grid", "aspect_ratios", lambda value: [value]),
        )
        for row, value in (
            *((2, float("inf")), (2, 1e300), (2, 10**400), (3, float("nan"))),
            *((16, "1"), (16, True), (16, None)),
        )
    ],
    *[
        (row, op, name, {name: value})
        for op, names in (("anchor_grid", ("sizes", "aspect_ratios")), ("prior_grid", ("aspect_ratios",)))
        for name in names
        for row, value in ((1, [0]), (1, [-1.0]), (2, [1e-300]), (9, np.ones((2, 2))), (12, 3.0), (12, "12"))
    ],
    # fusion
    *[
        (row, "weighted_boxes_fusion", rf"{name}\[1", {name: [good, value]})
        for name, good, bad in (
            ("boxes_list", BOXES, ((9, _ones((3, 5))), (12, BOXES.astype(np.float64)))),
            ("scores_list", SCORES, ((5, _ones((2,))), (9, _ones((3, 1))), (12, SCORES.astype(np.float64)))),
            ("labels_list", np.zeros(3, np.int64), ((5, np.zeros(2, np.int64)), (12, _ones((3,))))),
        )
        for row, value in (*bad, (12, None))
    ],
    *[
        (12, "weighted_boxes_fusion", name, {name: None})
        for name in ("boxes_list", "scores_list", "labels_list")
    ],
    *[
        (row, "weighted_boxes_fusion", name, {name: value})
        for name, row, value in (
            *(
                ("weights", row, value)
                for row, value in ((1, [1, -1]), (3, [1, np.nan]), (5, [1]), (16, {1, 2}))
            ),
            *(("iou_thr", row, value) for row, value in ((2, 1.5), (3, float("nan")), (16, None))),
            *(("skip_box_thr", row, value) for row, value in ((2, float("inf")), (16, "0"))),
            *(
                ("max_output", row, value)
                for row, value in ((1, 0), (1, -1), (8, 2**64), (16, 1.5), (16, True))
            ),
            ("conf_type", 16, "mean"),
            ("allows_overflow", 16, 1),
        )
    ],
    # boxes
    *[
        (row, op, "eps", {"eps": value})
        for op in ("distance_box_iou", "complete_box_iou")
        for row, value in ((1, -1.0), (2, float("inf")), (3, float("nan")), (16, "0"), (16, None))
    ],
    *[
        (3, "remove_small_boxes", "min_size", {"min_size": value})
        for value in (float("nan"), "1", None, True)
    ],
    *[
        (9, op, "boxes", {"boxes": _ones(s)})
        for op in ("box_area", "remove_small_boxes")
        for s in ((), (3, 5))
    ],
    *[(16, op, "fmt", {"fmt": v}) for op in ("box_area", "box_iou") for v in ("xxyy", None, np.zeros(3))],
    (5, "boxes_to_distances", "boxes", {"boxes": _ones((2, 4))}),
    (9, "boxes_to_distances", "points", {"points": _ones((3, 3))}),
    *[
        (16, "box_convert", "out_fmt", {"boxes": ROTATED, "in_fmt": "cxcywhr", "out_fmt": v})
        for v in ("foo", "xyxy")
    ],
    (8, "nms_padded", "max_output", {"max_output": _HUGE}),
    # suppression and boxes
    *[(1, op, "max_output", {"max_output": count}) for op in _SUPPRESSIONS for count in (0, -1, 2**63)],
    *[(16, op, "max_output", {"max_output": v}) for op in _SUPPRESSIONS for v in (1.5, "1", True, (1,))],
    *[(5, op, "scores", {"scores": random((2,))}) for op in _SUPPRESSIONS],
    *[
        (5, op, "idxs", {"idxs": np.zeros(2, np.int64)})
        for op in ("nms_padded", "batched_nms_rotated", "matrix_nms", "mask_nms", "mask_matrix_nms")
    ],
    *[
        (row, op, "iou_threshold", {"iou_threshold": value})
        for op in ("nms_padded", *_ROTATED_NMS, "mask_nms", "soft_nms")
        for row, value in ((2, float("inf")), (2, 1.5), (1, -0.5), (3, float("nan")), (16, "0.5"), (16, None))
    ],
    *[
        (row, op, "sigma", {"sigma": value})
        for op in ("soft_nms", "matrix_nms", "mask_matrix_nms")
        for row, value in ((1, 0), (1, -1), (2, float("inf")), (3, float("nan")), (16, "1"))
    ],
    *[
        (row, op, "score_threshold", {"score_threshold": value})
        for op in ("soft_nms", "matrix_nms", "mask_matrix_nms")
        for row, value in ((2, float("inf")), (3, float("nan")), (16, None))
    ],
    *[
        (16, op, "method", {"method": value})
        for op in ("soft_nms", "matrix_nms", "mask_matrix_nms")
        for value in ("naive", None, 1)
    ],
    *[
        (9, op, "boxes", {"boxes": _ones(shape)})
        for op in (*_ROTATED_NMS, "nms_padded", "soft_nms", "matrix_nms")
        for shape in ((), (4,), (3, 6), (3, 3), (1, 3, 4))
    ],
    *[
        (9, op, "masks", {"masks": np.ones(s, bool)})
        for op in ("mask_nms", "mask_matrix_nms")
        for s in ((), (3,), (3, 7), (3, 1, 7, 9))
    ],
    *[
        (9, op, name, {name: _ones(shape)})
        for op in (*_OVERLAPS, "box_iou_rotated")
        for name in ("boxes1", "boxes2")
        for shape in ((), (4,), (2, 6))
    ],
    # masks
    *[(1, "paste_masks", "padding", {"padding": value}) for value in (-1, 2**20 + 1, 2**63)],
    *[(1, "paste_masks", "img_shape", {"img_shape": size}) for size in ((-1, 5), (5, -1))],
    *[
        (row, "paste_masks", "threshold", {"threshold": value})
        for row, value in ((1, -0.5), (2, 1.5), (2, float("inf")), (3, float("nan")), (16, "0.5"), (16, True))
    ],
    *[
        (row, "paste_masks", "boxes", {"boxes": np.full((3, 4), value, np.float32)})
        for row, value in ((2, np.inf), (2, 3e38), (2, 2**31), (3, np.nan))
    ],
    *[(5, "paste_masks", "boxes", {"boxes": _ones((2, 4))})],
    *[(8, "paste_masks", "output|shape", {"img_shape": (n, n)}) for n in (_WIDE, _HUGE)],
    *[(9, "paste_masks", "boxes", {"boxes": _ones(s)}) for s in ((), (4,), (3, 5), (3, 1, 4))],
    *[
        (9, "paste_masks", "masks", {"masks": _ones(s)})
        for s in ((), (3,), (3, 5), (3, 5, 4), (3, 2, 5, 5), (3, 0, 0), (3, 1, 1, 5, 5))
    ],
    *[
        (9, op, "masks", {"masks": np.ones(s, bool)})
        for op in ("masks_to_boxes", "rle_encode")
        for s in ((), (3,))
    ],
    *[(9, op, "masks", {"masks": np.ones((3, 1, 7, 9), bool)}) for op in ("masks_to_boxes", "rle_encode")],
    *[(16, "paste_masks", "img_shape", {"img_shape": v}) for v in ((3,), (3, 3, 3), 1.5, "3", None)],
    *[(16, "paste_masks", "padding", {"padding": v}) for v in (1.5, "1", None, True)],
    *[(9, "encode_boxes", n, {n: _ones((3, 5))}) for n in ("reference_boxes", "proposals")],
    *[(5, "encode_boxes", "proposals", {"proposals": _ones((2, 4))})],
    *[(5, "decode_boxes", "boxes", {"boxes": _ones((2, 4))})],
    *[(9, "decode_boxes", "rel_codes", {"rel_codes": _ones(s)}) for s in ((), (3,), (3, 7), (3, 1, 4))],
    *[
        (16, op, "weights", {"weights": value})
        for op in ("encode_boxes", "decode_boxes")
        for value in ((1, 1, 1), 1, None, (1, 1, 1, -1), (1, 1, 1, float("nan")), (1, 1, 1, "1"))
    ],
    (5, "distances_to_boxes", "distances", {"distances": _ones((2, 4))}),
    (9, "distances_to_boxes", "points", {"points": _ones((3, 3))}),
    # deformable ops
    *[(1, op, "padding", {"padding": -1}) for op in (*_DEFORM_CONV2D, *_DEFORM_CONV3)],
    *[
        (1, op, "kernel|kernel_size", {"kernel_size": size})
        for op in _DEFORM_CONV3
        for size in (0, -1, (3, 0))
    ],
    *[
        (1, op, "spatial_shapes", {"spatial_shapes": np.array(shapes)})
        for op in _ATTENTION
        for shapes in ([[0, 4], [3, 4]], [[-3, -4], [3, 4]], [[3, 4], [2**62, 2**62]], [[2**25, 1], [3, 4]])
    ],
    *[
        (row, op, "offset_scale", {"offset_scale": value})
        for op in _DEFORM_CONV3
        for row, value in ((2, float("inf")), (3, float("nan")), (16, "1"), (16, None), (16, True))
    ],
    *[
        (5, op, argument, {argument: _map(*shape)})
        for op in _DEFORM_CONV2D
        for argument, shape in (
            ("offset", (2, 35, 5, 6)),
            ("offset", (2, 54, 5, 6)),  # three offset groups for four channels
            ("offset", (2, 36, 5, 5)),
            ("offset", (1, 36, 5, 6)),
            ("offset", (2, 17, 5, 6)),
            ("mask", (2, 9, 5, 6)),
            ("mask", (2, 18, 4, 6)),
            ("weight", (6, 3, 3, 3)),
            ("weight", (6, 5, 3, 3)),
        )
    ],
    (5, "deform_conv2d", "bias", {"bias": _map(5)}),
    *[
        (5, "deform_conv2d_backward", "grad_output", {"grad_output": _map(*s)})
        for s in ((2, 6, 5, 5), (2, 5, 5, 6))
    ],
    *[
        (5, op, argument, {argument: _map(*shape)})
        for op in _DEFORM_CONV3
        for argument, shape in (
            ("offset", (2, 5, 6, 35)),
            ("offset", (2, 5, 5, 36)),
            ("mask", (2, 5, 6, 36)),
            ("mask", (1, 5, 6, 18)),
            ("offset_mask", (2, 5, 6, 55)),
            ("offset_mask", (2, 5, 6, 64)),
            ("offset_mask", (2, 4, 6, 54)),
            ("grad_output", (2, 5, 6, 6)),
            ("grad_output", (2, 5, 7, 4)),
        )
        if argument in GOOD[op]()
    ],
    *[(5, op, "kernel_size", {"kernel_size": (2, 3), "remove_center": True}) for op in _DEFORM_CONV3],
    *[
        (5, op, argument, {argument: _map(*shape)})
        for op in _ATTENTION
        for argument, shape in (
            ("value", (2, 23, 2, 5)),
            ("sampling_locations", (2, 3, 2, 2, 4, 3)),
            ("sampling_locations", (1, 3, 2, 2, 4, 2)),
            ("sampling_locations", (2, 3, 2, 3, 4, 2)),
            ("attention_weights", (2, 3, 2, 2, 5)),
            ("attention_weights", (2, 3, 1, 2, 4)),
        )
    ],
    (5, _ATTENTION[1], "grad_output", {"grad_output": _map(2, 3, 9)}),
    *[(6, op, "image|input", {"input": _map(2, 4, 0, 6)}) for op in _DEFORM_CONV2D],
    *[(6, op, "image", {"input": _map(2, 0, 6, 4)}) for op in _DEFORM_CONV3],
    *[
        (7, op, name, {name: value})
        for op in (*_DEFORM_CONV2D, *_DEFORM_CONV3)
        for name in ("stride", "dilation", "groups")
        for value in (0, -1)
        if name != "groups" or op in _DEFORM_CONV3
    ],
    *[(7, op, "groups", {"groups": 3}) for op in _DEFORM_CONV3],
    *[
        (8, op, "padding|offset|offset_mask", {"padding": n})
        for op in (*_DEFORM_CONV2D, *_DEFORM_CONV3)
        for n in (_WIDE - 1, _WIDE, _HUGE)
    ],
    *[
        (8, op, "kernel_size|kernel|offset|offset_mask", {"kernel_size": n, "padding": n})
        for op in _DEFORM_CONV3
        for n in (2**30, _WIDE - 1, _HUGE)
    ],
    *[
        (9, op, name, {name: _ones(shape)})
        for op in (*_DEFORM_CONV2D, *_DEFORM_CONV3, *_ATTENTION)
        for name in ARRAYS[op]
        for shape in ((), (5,), (1, 2, 3, 4, 5, 6, 7))
        if name not in ("bias", "spatial_shapes")
    ],
    *[
        (9, op, "spatial_shapes", {"spatial_shapes": np.ones(s, np.int64)})
        for op in _ATTENTION
        for s in ((), (2,), (2, 3))
    ],
    *[
        (16, op, name, {name: value})
        for op in (*_DEFORM_CONV2D, *_DEFORM_CONV3)
        for name in ("stride", "padding", "dilation", "kernel_size")
        for value in ((3,), (3, 3, 3), 1.5, "3", True)
        if name != "kernel_size" or op in _DEFORM_CONV3
    ],
    *[(16, op, "layout", {"layout": value}) for op in _DEFORM_CONV2D for value in ("NCWH", None)],
    *[(16, op, "remove_center", {"remove_center": value}) for op in _DEFORM_CONV3 for value in (1, None)],
    # 1: counts and sizes
    *[
        (1, op, "padding", {"padding": -1})
        for op in (*_CONVOLUTIONS, "conv2d_int8", "conv_transpose2d", *_CONV_GRADIENTS, *_POOLS)
    ],
    *[(1, op, "kernel_size", {"kernel_size": size}) for op in _POOLS for size in (0, -1, (3, 0))],
    *[(1, "adaptive_avg_pool2d", "output_size", {"output_size": size}) for size in (0, -1, (2, 0))],
    *[(1, "interpolate", "size|output", {"size": size}) for size in (0, -1, (4, 0))],
    *[(1, "interpolate", "scale_factor", {"size": None, "scale_factor": factor}) for factor in (0.0, -1.0)],
    *[(1, "prepare_image", "size", {"size": size}) for size in ((0, 5), (5, 0), (-1, 5))],
    (1, "clip_boxes_to_image", "size", {"size": (-1, 5)}),
    (1, "conv_transpose2d", "output_padding", {"output_padding": -1}),
    # 2 and 3: numbers that are not finite
    *[
        (row, "interpolate", "scale_factor", {"size": None, "scale_factor": factor})
        for row, factor in ((2, float("inf")), (2, 1e300), (3, float("nan")))
    ],
    *[
        (row, op, "iou_threshold", {"iou_threshold": value})
        for op in ("nms", "batched_nms")
        for row, value in ((2, float("inf")), (2, 1.5), (1, -0.5), (3, float("nan")))
    ],
    *[(3, "prepare_image", "mean", {"mean": (float("nan"), 0, 0)})],
    *[(row, "prepare_image", "std", {"std": (1, value, 1)}) for row, value in ((3, float("nan")), (1, 0))],
    # 5: contradictions
    (5, "conv2d", "weight|input", {"weight": random((6, 3, 3, 3))}),
    (5, "conv2d", "bias", {"bias": random((5,))}),
    (5, "conv2d", "residual", {"residual": random((2, 6, 7, 8))}),
    (5, "conv2d", "residual", {"residual": random((1, 6, 7, 9))}),
    # quantised
    *[
        (row, "conv2d_int8", name, {name: value})
        for name in ("input_scale", "output_scale")
        for row, value in ((1, 0.0), (1, -0.1), (2, float("inf")), (2, 1e300), (3, float("nan")), (16, "1"))
    ],
    *[
        (row, "conv2d_int8", "weight_scale", {"weight_scale": np.array([1, 1, 1, 1, 1, value], np.float32)})
        for row, value in ((1, 0), (1, -1), (2, np.inf), (2, 1e-45), (3, np.nan))
    ],
    *[
        (row, "conv2d_int8", name, {name: value})
        for name in ("input_zero_point", "output_zero_point")
        for row, value in ((1, -1), (1, 256), (11, _WIDE), (8, 2**64), (16, 1.5), (16, "1"), (16, True))
    ],
    (5, "conv2d_int8", "weight_scale", {"weight_scale": _ones((5,))}),
    (5, "conv2d_int8", "bias", {"bias": np.zeros(5, np.int32)}),
    (5, "conv2d_int8", "channels|input", {"input": np.zeros((2, 6, 7, 9), np.uint8)}),
    (5, "conv2d_int8", "output_zero_point", {"output_scale": None, "output_zero_point": 3}),
    (6, "conv2d_int8", "image", {"input": np.zeros((2, 4, 0, 9), np.uint8)}),
    (
        11,
        "conv2d_int8",
        "weight",
        {
            "input": np.zeros((1, 65537, 1, 1), np.uint8),
            "weight": np.zeros((6, 65537, 1, 1), np.int8),
            "groups": 1,
        },
    ),
    *[
        (7, "conv2d_int8", name, {name: value})
        for name in ("stride", "dilation", "groups")
        for value in (0, -1)
    ],
    (8, "conv2d_int8", "padding", {"padding": _WIDE}),
    *[(9, "conv2d_int8", "weight", {"weight": np.ones(shape, np.int8)}) for shape in ((), (6,), (6, 2, 3))],
    *[(9, "conv2d_int8", "input", {"input": np.ones(shape, np.uint8)}) for shape in ((), (6,), (6, 2, 3))],
    *[(9, "conv2d_int8", "weight_scale", {"weight_scale": _ones(shape)}) for shape in ((), (6, 1))],
    *[(9, "conv2d_int8", "bias", {"bias": np.ones(shape, np.int32)}) for shape in ((), (6, 1))],
    (13, "conv2d_int8", "input|kernel", {"padding": 0, "input": np.zeros((2, 4, 2, 2), np.uint8)}),
    *[(16, "conv2d_int8", "stride", {"stride": value}) for value in ((1, 2, 3), 1.5)],
    *[(16, "conv2d_int8", "layout", {"layout": value}) for value in ("NCWH", None)],
    (5, "separable_conv2d", "depthwise_weight", {"depthwise_weight": random((5, 2, 3, 3))}),
    (5, "separable_conv2d", "depthwise_weight", {"depthwise_weight": random((6, 1, 3, 3))}),
    *[
        (5, "separable_conv2d", "pointwise_weight", {"pointwise_weight": random(shape)})
        for shape in ((6, 4, 1, 1), (6, 5, 1, 3), (0, 5, 1, 1))
    ],
    (5, "separable_conv2d", "depthwise_bias", {"depthwise_bias": random((6,))}),
    (5, "separable_conv2d", "pointwise_bias", {"pointwise_bias": random((5,))}),
    (6, "separable_conv2d", "input", {"input": np.zeros((1, 0, 7, 9), np.float32)}),
    *[
        (5, "inverted_residual", name, {name: random(shape)})
        for name, shapes in {
            "input": ((2, 3, 7, 9),),
            "expand_weight": ((5, 4, 1, 3), (0, 4, 1, 1)),
            "depthwise_weight": ((5, 2, 3, 3), (6, 1, 3, 3)),
            "project_weight": ((6, 4, 1, 1), (6, 5, 3, 1), (0, 5, 1, 1)),
            "expand_bias": ((4,),),
            "depthwise_bias": ((6,),),
            "project_bias": ((5,),),
            "residual": ((2, 6, 7, 9), (1, 6, 5, 7)),
        }.items()
        for shape in shapes
    ],
    (6, "inverted_residual", "input|expand_weight", {"input": np.zeros((1, 0, 7, 9), np.float32)}),
    (5, "conv_transpose2d", "weight|input|channels", {"weight": random((3, 3, 3, 3))}),
    (5, "conv_transpose2d", "bias", {"bias": random((3,))}),
    (5, "conv_transpose2d", "output_padding", {"output_padding": 2}),
    *[
        (5, op, "grad_output", {"grad_output": random(shape)})
        for op in _ONE_WEIGHT
        for shape in ((1, 6, 7, 9), (2, 5, 7, 9), (2, 6, 6, 9), (2, 6, 7, 8))
    ],
    *[(5, op, "weight|input|channels", {"weight": random((5, 3, 3, 3))}) for op in _ONE_WEIGHT],
    *[
        (5, "separable_conv2d_backward", name, {name: random(shape)})
        for name, shape in (
            ("grad_output", (2, 7, 4, 4)),
            ("grad_output", (2, 8, 4, 5)),
            ("depthwise_weight", (11, 1, 3, 3)),
            ("depthwise_weight", (10, 2, 3, 3)),
            ("pointwise_weight", (7, 9, 1, 1)),
            ("pointwise_weight", (7, 10, 3, 3)),
        )
    ],
    (5, "separable_conv2d_backward", "depthwise_bias", {"depthwise_bias": random((5,))}),
    *[
        (5, "inverted_residual_backward", name, {name: random(shape)})
        for name, shape in (
            ("grad_output", (2, 7, 4, 4)),
            ("grad_output", (2, 8, 4, 5)),
            ("input", (2, 3, 7, 9)),
            ("expand_weight", (5, 4, 1, 3)),
            ("expand_weight", (0, 4, 1, 1)),
            ("depthwise_weight", (11, 1, 3, 3)),
            ("depthwise_weight", (10, 2, 3, 3)),
            ("project_weight", (7, 9, 1, 1)),
            ("project_weight", (7, 10, 3, 3)),
            ("expand_bias", (4,)),
            ("depthwise_bias", (5,)),
        )
    ],
    (5, "conv_transpose2d_backward", "output_padding", {"output_padding": 2}),
    (5, "linear", "weight|input", {"weight": random((5, 8))}),
    (5, "linear", "bias", {"bias": random((7,))}),
    (5, "nms", "scores", {"scores": random((2,))}),
    (5, "batched_nms", "scores", {"scores": random((4,))}),
    (5, "batched_nms", "idxs", {"idxs": np.zeros(2, np.int64)}),
    *[
        (5, op, "b", {"b": random(s)})
        for op in ("add", "mul")
        for s in ((4,), (2, 4, 4, 5), (3, 3, 4, 5), (3, 4))
    ],
    *[(5, "split", "sizes", {"sizes": sizes}) for sizes in ([2, 3], [6, 1], [], [-1, 7])],
    (5, "avg_pool2d", "padding", {"padding": 2}),
    (5, "max_pool2d", "padding", {"padding": 2}),
    (5, "interpolate", "size|scale_factor", {"scale_factor": 2.0}),
    (5, "interpolate", "size|scale_factor", {"size": None}),
    (5, "interpolate", "align_corners", {"mode": "nearest", "align_corners": True}),
    # 6: nothing to work on where a result needs something
    *[(6, op, "input", {"input": np.zeros((1, 3, 0, 4), np.float32)}) for op in _POOLS],
    (6, "adaptive_avg_pool2d", "input", {"input": np.zeros((1, 3, 0, 4), np.float32)}),
    (6, "interpolate", "input", {"input": np.zeros((1, 3, 4, 0), np.float32)}),
    *[
        (6, "prepare_image", "image", {"image": np.zeros(s, np.uint8)})
        for s in ((0, 4, 3), (4, 0, 3), (4, 4, 0))
    ],
    # 7: steps
    *[
        (7, op, name, {name: value})
        for op, name in [
            *itertools.product(_CONVOLUTIONS, ("stride", "dilation")),
            *itertools.product(("conv_transpose2d",), ("stride", "dilation", "groups")),
            *itertools.product(_CONV_GRADIENTS, ("stride", "dilation")),
            ("conv2d", "groups"),
            ("conv2d_backward", "groups"),
            ("conv_transpose2d_backward", "groups"),
            ("max_pool2d", "stride"),
            ("max_pool2d", "dilation"),
            ("avg_pool2d", "stride"),
        ]
        for value in (0, -1)
    ],
    (7, "conv2d", "groups|input", {"groups": 3}),
    (7, "conv2d", "groups", {"groups": 4}),
    (7, "conv_transpose2d", "groups", {"groups": 3}),
    # 8: sizes that overflow
    *[(8, "interpolate", "size|output", {"size": (size, size)}) for size in (_WIDE, _HUGE)],
    *[(8, "adaptive_avg_pool2d", "output_size|output", {"output_size": (n, n)}) for n in (_WIDE, _HUGE)],
    *[(8, "prepare_image", "size|output", {"size": (n, n)}) for n in (_WIDE, _HUGE)],
    *[(8, "conv2d", "padding|output", {"padding": n, "residual": None}) for n in (_WIDE, _HUGE)],
    *[(8, "conv2d", "stride", {"stride": n, "residual": None}) for n in (2**64, -(2**64))],
    *[(8, "conv2d", "dilation|weight|kernel|input", {"dilation": n}) for n in (_HUGE, 2**63 - 1)],
    *[
        (8, op, "padding|grad_output|output", {"padding": n})
        for op in ("conv2d_backward", "depthwise_conv2d_backward")
        for n in (_WIDE, _HUGE)
    ],
    *[(8, "conv_transpose2d_backward", "stride|grad_output|output", {"stride": n}) for n in (_HUGE, 2**40)],
    *[(8, "separable_conv2d", "padding|output", {"padding": n}) for n in (_WIDE, _HUGE)],
    *[(8, "inverted_residual", "padding|output", {"padding": n, "residual": None}) for n in (_WIDE, _HUGE)],
    *[(8, "conv_transpose2d", "stride|output", {"stride": n}) for n in (_HUGE, 2**40)],
    *[(8, op, "padding|kernel_size", {"kernel_size": _HUGE, "padding": _HUGE // 2}) for op in _POOLS],
    (8, "max_pool2d", "dilation|kernel_size|window|input", {"dilation": _HUGE}),
    # 9: rank and last dimension
    *[
        (9, op, "input", {"input": _ones(shape)})
        for op in (
            *_CONVOLUTIONS,
            "conv_transpose2d",
            *_POOLS,
            "adaptive_avg_pool2d",
            "interpolate",
        )
        for shape in ((), (5,), (3, 4), (1, 2, 3, 4, 5))
    ],
    *[
        (9, op, name, {name: _ones(shape)})
        for op in _CONV_GRADIENTS
        for name in GOOD[op]()
        if name in ("grad_output", "input") or name.endswith("weight")
        for shape in ((), (5,), (3, 4), (1, 2, 3, 4, 5))
    ],
    *[(9, "conv2d", "weight", {"weight": _ones(shape)}) for shape in ((), (6,), (6, 2, 3), (6, 2, 3, 3, 1))],
    *[(9, "conv2d", "bias", {"bias": _ones(shape)}) for shape in ((), (6, 1))],
    *[(9, "conv2d", "residual", {"residual": _ones(shape)}) for shape in ((), (6,), (6, 7, 9))],
    *[
        (9, op, name, {name: _ones(shape)})
        for op, name in (
            ("separable_conv2d", "depthwise_weight"),
            ("separable_conv2d", "pointwise_weight"),
            ("inverted_residual", "expand_weight"),
            ("inverted_residual", "depthwise_weight"),
            ("inverted_residual", "project_weight"),
        )
        for shape in ((), (5,), (5, 1, 3), (5, 1, 3, 3, 1))
    ],
    *[
        (9, op, name, {name: _ones(shape)})
        for op, name in (
            ("separable_conv2d", "depthwise_bias"),
            ("separable_conv2d", "pointwise_bias"),
            ("inverted_residual", "expand_bias"),
            ("inverted_residual", "depthwise_bias"),
            ("inverted_residual", "project_bias"),
        )
        for shape in ((), (5, 1))
    ],
    *[(9, "linear", "input", {"input": _ones(())})],
    *[(9, "linear", "weight", {"weight": _ones(shape)}) for shape in ((), (7,), (5, 7, 1))],
    (9, "softmax", "input|dim", {"input": _ones(()), "dim": 0}),
    *[
        (9, op, "boxes", {"boxes": _ones(shape)})
        for op in ("nms", "batched_nms")
        for shape in ((), (4,), (3, 5), (3, 3), (1, 3, 4))
    ],
    *[
        (9, op, "boxes", {"boxes": _ones(s)})
        for op in ("box_convert", "clip_boxes_to_image")
        for s in ((), (3, 5))
    ],
    *[(9, "nms", "scores", {"scores": _ones(shape)}) for shape in ((), (3, 1), (1, 3))],
    *[(9, "box_iou", name, {name: _ones(s)}) for name in ("boxes1", "boxes2") for s in ((), (4,), (2, 5))],
    *[
        (9, "prepare_image", "image", {"image": _image(s)})
        for s in ((), (4,), (4, 5, 2), (4, 5, 5), (1, 4, 5, 3))
    ],
    # 10: indices
    *[(10, "softmax", "dim", {"dim": dim}) for dim in (2, -3, 2**40)],
    *[(10, "split", "dim", {"dim": dim}) for dim in (4, -5, 2**40)],
    *[(1, "split", "sizes", {"sizes": size}) for size in (0, -1)],
    # 13: kernels larger than the image
    (13, "conv2d", "weight|kernel|input", {"input": random((1, 4, 2, 2)), "padding": 0, "residual": None}),
    (13, "conv2d", "weight|kernel|input", {"dilation": 9, "residual": None}),
    (13, "separable_conv2d", "kernel|input", {"dilation": 9}),
    (13, "inverted_residual", "kernel|input", {"dilation": 9}),
    *[(13, op, "kernel", {"kernel_size": 8}) for op in _POOLS],
    # 16: lists of the wrong length, and values of the wrong type
    *[
        (16, op, name, {name: value})
        for op, name in [
            *itertools.product(
                (*_CONVOLUTIONS, "conv_transpose2d", *_CONV_GRADIENTS), ("stride", "padding", "dilation")
            ),
            ("conv_transpose2d", "output_padding"),
            *itertools.product(_POOLS, ("kernel_size", "stride", "padding")),
            ("max_pool2d", "dilation"),
            ("adaptive_avg_pool2d", "output_size"),
            ("interpolate", "size"),
            ("clip_boxes_to_image", "size"),
            ("prepare_image", "size"),
        ]
        for value in ((3,), (3, 3, 3), (), 1.5, (1, 1.5), "3", {1, 2}, True)
    ],
    *[
        (16, "prepare_image", name, {name: v})
        for name in ("mean", "std")
        for v in ((1,), (1, 1, 1, 1), 1.0, "abc")
    ],
    *[
        (16, op, "groups", {"groups": v})
        for op in ("conv2d", "conv_transpose2d")
        for v in (1.5, "1", None, (1,))
    ],
    *[(16, op, "dim", {"dim": value}) for op in ("softmax", "split") for value in (1.0, "1", None, (0,))],
    *[(16, "split", "sizes", {"sizes": value}) for value in (1.5, "2", None, [2.0, 4.0])],
    *[
        (16, op, "iou_threshold", {"iou_threshold": v})
        for op in ("nms", "batched_nms")
        for v in ("0.5", None, (0.5,))
    ],
    # 16: names that do not exist
    *[
        (16, op, "layout", {"layout": value})
        for op in (
            "conv2d",
            "conv_transpose2d",
            *_CONV_GRADIENTS,
            *_POOLS,
            "adaptive_avg_pool2d",
            "interpolate",
            "add",
            "mul",
        )
        for value in ("NCWH", "", None, 3)
    ],
    *[
        (16, op, "activation", {"activation": value})
        for op in ("conv2d", "depthwise_conv2d", "conv_transpose2d", "linear", "add", "mul")
        for value in ("swish9", 3, ("relu",))
    ],
    *[(16, "conv2d", "precision", {"precision": value}) for value in ("f16", None)],
    *[
        (16, op, "output_mask", {"output_mask": value})
        for op in _CONV_GRADIENTS
        for value in ((True, True), (), None, True, "yes", (1, 0, 1), (1, 0, 1, 1, 1))
    ],
    *[(16, "interpolate", "mode", {"mode": value}) for value in ("cubic9", "", None)],
    *[(16, "box_convert", name, {name: v}) for name in ("in_fmt", "out_fmt") for v in ("xxyy", "", None, 3)],
    *[
        (16, "prepare_image", name, {name: v})
        for name in ("mode", "channel_order")
        for v in ("crop", "", None)
    ],
    # contrast and local means
    *[(1, "clahe", "tile_grid_size", {"tile_grid_size": v}) for v in ((0, 8), (8, -1), (8, 257), _HUGE)],
    *[(3, "clahe", "clip_limit", {"clip_limit": float(v)}) for v in ("nan", "inf", "-1")],
    *[(3, "clahe", "image", {"image": np.full((4, 5), v, np.float32)}) for v in (np.nan, np.inf)],
    *[(9, "clahe", "image", {"image": _image(s)}) for s in ((), (4,), (4, 4, 0), (2, 4, 4, 2))],
    *[(16, "clahe", "tile_grid_size", {"tile_grid_size": v}) for v in ((1, 2, 3), 1.5, None)],
    (12, "clahe", "clip_limit", {"clip_limit": "2"}),
    *[(1, "subtract_local_mean", "size", {"size": v}) for v in (0, -1, 2, (3, 23), (19, 3))],
    *[
        (3, "subtract_local_mean", "image", {"image": np.full((4, 5), v, np.float32)})
        for v in (np.nan, np.inf)
    ],
    *[(9, "subtract_local_mean", "image", {"image": _image(s)}) for s in ((), (4,), (1, 4, 4, 2))],
    *[(16, "subtract_local_mean", "size", {"size": v}) for v in ((3, 3, 3), 1.5, None)],
]


@pytest.mark.parametrize(
    ("row", "op", "argument", "overrides"),
    REFUSED,
    ids=[f"row{row}-{op}-{argument.split('|')[0]}" for row, op, argument, _ in REFUSED],
)
def test_is_refused(row: int, op: str, argument: str, overrides: Arguments) -> None:
    refuse(op, argument, overrides)


# ---- concat takes a list of arrays, which the matrix cannot hold


@pytest.mark.parametrize(
    ("row", "tensors", "dim"),
    [
        (1, [], 0),
        (5, [random((2, 3)), random((2, 4))], 0),
        (5, [random((2, 3)), random((2, 3, 1))], 0),
        (9, [_ones(()), _ones(())], 0),
        (10, [random((2, 3))], 2),
        (10, [random((2, 3))], -3),
        (12, [random((2, 3)), None], 0),
        (12, [random((2, 3)), [[1.0, 2.0, 3.0]]], 0),
        (12, [random((2, 3)), np.zeros((2, 3))], 0),
        (12, random((2, 3)), 0),
        (12, None, 0),
        (16, [random((2, 3))], 0.5),
        (16, [random((2, 3))], None),
    ],
)
def test_concat_refuses(row: int, tensors: object, dim: object) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        ops.concat(tensors, dim)
    assert re.match(r"\[concat\] expected .*(tensors|arrays?|dim)", str(caught.value)), caught.value


# ---- 12: not an array, or not one of ours


class Capsule:
    """A DLPack producer that hands out what it was given."""

    def __init__(self, capsule: object, device: tuple[int, int] = (1, 0)) -> None:
        self.capsule, self.device = capsule, device

    def __dlpack__(self, **_: object) -> object:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device


class CudaArray:
    __cuda_array_interface__ = {"shape": (3,), "typestr": "<f4", "data": (4096, False), "version": 3}  # noqa: RUF012


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype, _new_capsule.argtypes = (
    ctypes.py_object,
    (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p),
)
# DLManagedTensorVersioned opens with its version: this one says 99.0.
_FROM_THE_FUTURE = (ctypes.c_uint32 * 64)(99, 0)


def _spent(array: np.ndarray) -> Capsule:
    capsule = array.__dlpack__()
    np.from_dlpack(Capsule(capsule))
    return Capsule(capsule)


NOT_ARRAYS: dict[str, Callable[[np.ndarray], object]] = {
    "None": lambda _: None,
    "list": lambda array: array.tolist(),
    "string": lambda _: "array",
    "number": lambda _: 1.0,
    "NumPy scalar": lambda _: np.float32(1),
    "class": lambda _: np.ndarray,
    "bytes": lambda array: array.tobytes(),
    "CUDA array": lambda _: CudaArray(),
    "capsule used twice": _spent,
    "capsule on another device": lambda array: Capsule(array.__dlpack__(), (2, 0)),
    "capsule of another name": lambda _: Capsule(
        _new_capsule(ctypes.addressof(_FROM_THE_FUTURE), b"other", None)
    ),
    "capsule of another version": lambda _: Capsule(
        _new_capsule(ctypes.addressof(_FROM_THE_FUTURE), b"dltensor_versioned", None)
    ),
    "no capsule": lambda _: Capsule(None),
}


@pytest.mark.parametrize("kind", NOT_ARRAYS)
@pytest.mark.parametrize(("op", "name"), ARRAY_ARGUMENTS)
def test_row12_what_is_no_array_is_refused(op: str, name: str, kind: str) -> None:
    optional = name in OPTIONAL and not op.startswith(("deform_conv3", "batched_nms"))
    if kind == "bytes" and name == "mask" and op.startswith("postprocess."):
        pytest.skip("bytes are a buffer of uint8")
    optional &= not op.startswith("postprocess.")
    optional |= name == "offset" and op.startswith("deform_roi_pool")
    number = (kind in ("number", "NumPy scalar") and name == "b") or (kind, name) == (
        "number",
        "weight_scale",
    )
    if (kind == "None" and optional) or number:
        pytest.skip(f"{name} may be a {kind}")
    refuse(op, name, {name: NOT_ARRAYS[kind](GOOD[op]()[name])}, TypeError)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "name"), ARRAY_ARGUMENTS)
def test_row12_other_dtypes_are_refused_and_named(op: str, name: str, dtype: str) -> None:
    taken = ARRAYS[op][name]
    arguments = GOOD[op]()
    of_dtype = pytest.importorskip("ml_dtypes").bfloat16 if dtype == "bfloat16" else dtype
    if dtype in taken:
        if dtype == arguments[name].dtype:
            call(op, arguments)
        return
    with pytest.raises(TypeError) as caught:
        call(op, arguments | {name: np.zeros(arguments[name].shape, of_dtype)})
    message = str(caught.value)
    assert speaks(op, message, f"expected {name} of dtype "), message
    assert all(name_of in message for name_of in taken), message


# ---- 2, 3: boxes of any values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45])
@pytest.mark.parametrize("column", range(4))
def test_rows_2_3_boxes_of_any_values_have_defined_results(isa: str, value: float, column: int) -> None:
    boxes = BOXES.copy()
    boxes[1, column] = value
    keep = ops.nms(boxes, SCORES, 0.5)
    batched = ops.batched_nms(boxes, SCORES, np.array([7, -7, 7]), 0.5)
    if not np.isfinite(value):
        np.testing.assert_array_equal(keep, [0, 2])
        np.testing.assert_array_equal(batched, [0, 2])
    assert set(keep) <= {0, 1, 2}
    iou = ops.box_iou(boxes, BOXES)
    assert iou[0, 0] == 1
    assert ((iou[[0, 2]] >= 0) & (iou[[0, 2]] <= 1)).all()
    clipped = ops.clip_boxes_to_image(boxes, (40, 55))
    assert np.isnan(clipped[1, column]) == np.isnan(value)
    assert (clipped[[0, 2]] <= 55).all()
    ops.box_convert(boxes, "xyxy", "xywh")


def test_row3_nan_scores_are_never_kept(isa: str) -> None:
    np.testing.assert_array_equal(ops.nms(BOXES, np.array([np.nan, 0.8, 0.7], np.float32), 0.5), [1, 2])


# ---- 6: everything empty

EMPTY = [
    (op, name, axis)
    for op, names in ARRAYS.items()
    for name in names
    for axis in range(np.ndim(GOOD[op]()[name]))
]


@pytest.mark.parametrize(("op", "name", "axis"), EMPTY)
def test_row6_an_empty_axis_has_a_defined_result_or_a_clear_error(op: str, name: str, axis: int) -> None:
    arguments = GOOD[op]()
    shape = list(arguments[name].shape)
    shape[axis] = 0
    try:
        result = call(op, arguments | {name: np.zeros(shape, arguments[name].dtype)})
    except (ValueError, TypeError) as error:
        assert speaks(op, str(error), "expected "), error
    else:
        assert np.isfinite(result).all()


@pytest.mark.parametrize("op", ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d", "interpolate"])
def test_row6_an_empty_batch_gives_an_empty_batch(op: str) -> None:
    arguments = GOOD[op]()
    full = call(op, arguments)
    empty = {name: arguments[name][:0] for name in ("input", "residual") if name in arguments}
    assert call(op, arguments | empty).shape == (0, *full.shape[1:])


def test_row6_no_boxes() -> None:
    none, no_scores = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    keep = ops.nms(none, no_scores, 0.5)
    assert keep.shape == (0,)
    assert keep.dtype == np.int64
    assert ops.batched_nms(none, no_scores, np.zeros(0, np.int64), 0.5).shape == (0,)
    assert ops.box_iou(none, BOXES).shape == (0, 3)
    assert ops.box_convert(none, "xyxy", "xywh").shape == (0, 4)
    assert ops.clip_boxes_to_image(none, (0, 0)).shape == (0, 4)


# ---- 11: beyond 2^31 without the memory for it


def test_row11_more_than_2_31_rows(isa: str) -> None:
    """One row of pixels, seen 2^31 + 8 times through a stride of 0."""
    row = _image((1, 8, 3))
    image = np.broadcast_to(row, (2**31 + 8, 8, 3))
    tensor, _ = ops.prepare_image(image, (4, 8))
    np.testing.assert_allclose(tensor, np.broadcast_to(row.astype(np.float32), (4, 8, 3))[None], atol=1e-3)


# ---- 13: the smallest images


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_row13_one_pixel(isa: str, layout: str) -> None:
    x = random((1, 3, 1, 1)) if layout == "NCHW" else random((1, 1, 1, 3))
    pixel = x.ravel()
    weight = random((2, 3, 5, 5))
    y = ops.conv2d(x, weight, padding=2, layout=layout)
    np.testing.assert_allclose(y.ravel(), weight[:, :, 2, 2] @ pixel, rtol=1e-5)
    for pool in (ops.max_pool2d, ops.avg_pool2d):
        np.testing.assert_array_equal(pool(x, 1, layout=layout), x)
    np.testing.assert_array_equal(ops.max_pool2d(x, 3, padding=1, layout=layout), x)
    np.testing.assert_array_equal(ops.adaptive_avg_pool2d(x, 1, layout=layout), x)
    for mode in ("nearest", "bilinear"):
        enlarged = ops.interpolate(x, size=(3, 2), mode=mode, layout=layout)
        assert enlarged.size == 18
        assert set(enlarged.ravel()) == set(pixel)
    tensor, _ = ops.prepare_image(_image((1, 1, 3)), (3, 3))
    assert len(np.unique(tensor.reshape(9, 3), axis=0)) == 1


# ---- 14: tails next to unmapped memory


def _tail_calls(n: int) -> Iterator[tuple[str, Arguments]]:
    """Every op with `n` channels, columns or boxes."""
    maps = {"layout": "NHWC"}
    x = random((1, 3, 4, n))
    yield "conv2d", {"input": x, "weight": random((n, n, 3, 3)), "bias": random((n,)), "padding": 1} | maps
    yield "conv2d", {"input": x, "weight": random((5, n, 1, 1)), "residual": random((1, 3, 4, 5))} | maps
    yield "conv2d", {"input": random((1, 3, n, 3)), "weight": random((n, 3, 3, 3)), "padding": 1} | maps
    yield (
        "depthwise_conv2d",
        {"input": x, "weight": random((n, 1, 3, 3)), "bias": random((n,)), "padding": 1} | maps,
    )
    yield (
        "depthwise_conv2d",
        {"input": random((1, 2, 3, 40 + n)), "weight": random((2, 1, 3, 3)), "padding": 1},
    )
    weights = {"depthwise_weight": random((n, 1, 3, 3)), "pointwise_weight": random((n, n, 1, 1))}
    biases = {"depthwise_bias": random((n,)), "pointwise_bias": random((n,))}
    yield "separable_conv2d", {"input": x, "padding": 1} | weights | biases | maps
    weights = {
        "project_weight": weights.pop("pointwise_weight"),
        "expand_weight": random((n, n, 1, 1)),
    } | weights
    biases = {"project_bias": biases.pop("pointwise_bias"), "expand_bias": random((n,))} | biases
    yield "inverted_residual", {"input": x, "residual": x, "padding": 1} | weights | biases | maps
    yield "conv_transpose2d", {"input": x, "weight": random((n, n, 2, 2)), "stride": 2} | maps
    yield "conv2d", {"input": random((1, n, 4, 3)), "weight": random((2, n, 3, 3)), "padding": 1}
    gradients = {"grad_output": random((1, 3, 4, n)), "input": x}
    yield "conv2d_backward", gradients | {"weight": random((n, n, 3, 3)), "padding": 1} | maps
    yield "conv2d_backward", gradients | {"weight": random((n, n, 1, 1))} | maps
    yield "depthwise_conv2d_backward", gradients | {"weight": random((n, 1, 3, 3)), "padding": 1} | maps
    yield "conv_transpose2d_backward", gradients | {"weight": random((n, n, 3, 3)), "padding": 1} | maps
    yield "linear", {"input": random((2, n)), "weight": random((n, n)), "bias": random((n,))}
    for op in _POOLS:
        yield op, {"input": x, "kernel_size": 3, "padding": 1} | maps
        yield op, {"input": random((1, 2, 3, n)), "kernel_size": (3, 1)}
    yield "adaptive_avg_pool2d", {"input": x, "output_size": 2} | maps
    for mode in ("nearest", "bilinear"):
        yield "interpolate", {"input": x, "size": (5, 7), "mode": mode} | maps
        yield "interpolate", {"input": random((1, 2, 3, n)), "size": (2, 5), "mode": mode}
    for op in ("add", "mul"):
        yield op, {"a": x, "b": x[:, :1, :1].copy(), "activation": "sigmoid"} | maps
        yield op, {"a": random((1, 2, 3, n)), "b": random((2,))}
    for op in ("relu", "gelu"):
        yield op, {"input": x}
    yield "split", {"input": x, "sizes": (n + 1) // 2, "dim": 3}
    yield "softmax", {"input": random((2, n)), "dim": 1}
    yield "softmax", {"input": random((2, 3, n)), "dim": 1}
    corners = np.abs(random((n, 4)))
    boxes = np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)
    for dtype in (np.float32, np.float64):
        b, s = boxes.astype(dtype), random((n,)).astype(dtype)
        yield "nms", {"boxes": b, "scores": s, "iou_threshold": 0.3}
        yield "batched_nms", {"boxes": b, "scores": s, "idxs": np.arange(n) % 2, "iou_threshold": 0.3}
        yield "box_iou", {"boxes1": b, "boxes2": b[: n // 2 + 1]}
        yield "complete_box_iou", {"boxes1": b, "boxes2": b[: n // 2 + 1]}
        yield "complete_box_iou", {"boxes1": b, "boxes2": b[::-1].copy(), "aligned": True}
        rotated = np.concatenate([b, s[:, None]], axis=1)
        yield "box_iou_rotated", {"boxes1": rotated, "boxes2": rotated[: n // 2 + 1]}
        yield "nms_rotated", {"boxes": rotated, "scores": s, "iou_threshold": 0.3}
        yield "soft_nms", {"boxes": b, "scores": s}
        yield "matrix_nms", {"boxes": b, "scores": s}
        yield "encode_boxes", {"reference_boxes": b, "proposals": b[::-1].copy()}
        yield "decode_boxes", {"rel_codes": b, "boxes": b[::-1].copy()}
        yield "box_convert", {"boxes": b, "in_fmt": "xyxy", "out_fmt": "cxcywh"}
        yield "clip_boxes_to_image", {"boxes": b, "size": (1, 1)}
    yield "mask_nms", {"masks": random((3, 5, n)) > 0, "scores": SCORES, "iou_threshold": 0.3}
    for op in ("masks_to_boxes", "rle_encode"):
        for masks in (random((2, 3, n)) > 0, random((2, n, 3)) > 0):
            yield op, {"masks": masks}
    pasted = {"boxes": BOXES[:2], "img_shape": (5, n)}
    for threshold in (None, 0.5):
        yield "paste_masks", {"masks": np.abs(random((2, n, n))), "threshold": threshold} | pasted
    for channels in (3, 4):
        yield "prepare_image", {"image": _image((3, n, channels)), "size": (4, n)}
        yield "prepare_image", {"image": _image((n, 2, channels)), "size": (5, 7), "mode": "letterbox"}
    yield "prepare_image", {"image": _image((2, n)), "size": (3, 33)}
    yield "clahe", {"image": _image((5, n)), "tile_grid_size": (3, 2)}
    at = {"map1": np.abs(random((2, n))), "map2": np.abs(random((2, n), seed=1))}
    for interpolation in ("nearest", "bilinear", "bicubic"):
        yield "remap", {"src": _image((5, 12, 3)), "interpolation": interpolation} | at
        yield "remap", {"src": random((5, 4, n)), "interpolation": interpolation} | at


@pytest.mark.parametrize("before", [False, True], ids=["page-after", "page-before"])
def test_row14_tails_do_not_touch_their_neighbours(isa: str, before: bool) -> None:
    for n in range(1, 34):
        for op, arguments in _tail_calls(n):
            protected = {
                name: guarded(value, before=before) if isinstance(value, np.ndarray) else value
                for name, value in arguments.items()
            }
            np.testing.assert_array_equal(call(op, protected), call(op, arguments), err_msg=f"{op} {n}")


@pytest.mark.parametrize("before", [False, True], ids=["page-after", "page-before"])
def test_row14_out_is_written_to_its_end_and_not_beyond(isa: str, before: bool) -> None:
    for width in range(1, 34):
        out = guarded(np.full((1, 3, width, 3), np.nan, np.float32), before=before)
        tensor, _ = ops.prepare_image(_image((5, 9, 3)), (3, width), out=out)
        assert tensor is out
        np.testing.assert_array_equal(out, ops.prepare_image(_image((5, 9, 3)), (3, width))[0])


# ---- 17: every way an array can lie in memory


def _misaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _strided(array: np.ndarray) -> np.ndarray:
    memory = np.zeros([2 * extent for extent in array.shape], array.dtype)
    view = memory[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def _reversed(array: np.ndarray) -> np.ndarray:
    every_axis = tuple(slice(None, None, -1) for _ in array.shape)
    return array[every_axis].copy()[every_axis]


def _read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _broadcast(array: np.ndarray) -> np.ndarray:
    """The first entry along the first axis, repeated: other values than `array`, in one entry's memory."""
    return np.broadcast_to(array[:1], array.shape)


def _overlapping(array: np.ndarray) -> np.ndarray:
    """Rows that share all but one element with the next: other values than `array`."""
    flat = array.ravel()[: array.shape[0] + array[0].size - 1].copy()
    inner = np.lib.stride_tricks.sliding_window_view(flat, array[0].size)
    return inner.reshape(array.shape) if array.ndim == 1 else _split_last(inner, array.shape)


def _split_last(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    strides = [rows.strides[0], *np.empty(shape[1:], rows.dtype).strides]
    return np.lib.stride_tricks.as_strided(rows, shape, strides, writeable=False)


LIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "misaligned": _misaligned,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "strided": _strided,
    "reversed": _reversed,
    "Fortran": np.asfortranarray,
    "read-only": _read_only,
    "broadcast": _broadcast,
    "overlapping": _overlapping,
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize(
    ("op", "name"), [case for case in ARRAY_ARGUMENTS if not case[0].startswith("postprocess.")]
)
def test_row17_the_result_does_not_hang_on_how_an_array_lies(op: str, name: str, lie: str) -> None:
    arguments = GOOD[op]()
    odd = LIES[lie](arguments[name])
    plain = np.array(odd, odd.dtype.newbyteorder("="), order="C")
    before = plain.copy()
    result = call(op, arguments | {name: odd})
    np.testing.assert_array_equal(result, call(op, arguments | {name: plain}))
    np.testing.assert_array_equal(odd, before)
    assert not np.may_share_memory(result, odd)


# ---- 18: aliases


def test_row18_operands_may_be_one_array(isa: str) -> None:
    x = random((1, 6, 5, 5))
    weight = random((6, 6, 1, 1))
    for layout in ("NCHW", "NHWC"):
        image = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        once = ops.conv2d(image, weight, residual=image, layout=layout)
        np.testing.assert_array_equal(once, ops.conv2d(image, weight, residual=image.copy(), layout=layout))
    for op in (ops.add, ops.mul):
        np.testing.assert_array_equal(op(x, x), op(x, x.copy()))
    np.testing.assert_array_equal(ops.concat([x, x], 0), np.concatenate([x, x]))
    np.testing.assert_array_equal(np.diag(ops.box_iou(BOXES, BOXES)), 1)
    square = random((4, 4))
    np.testing.assert_array_equal(ops.linear(square, square), ops.linear(square.copy(), square))


def test_row18_an_out_over_the_image_is_refused() -> None:
    memory = np.zeros(4 * 3 * 4 * 3, np.uint8)
    image = memory[: 4 * 4 * 3].reshape(4, 4, 3)
    out = memory.view(np.float32).reshape(1, 3, 4, 3)
    refuse("prepare_image", "out", {"image": image, "size": (3, 4), "out": out}, ValueError)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((1, 5, 6, 3), np.float64),
        np.zeros((1, 5, 6, 4), np.float32),
        np.zeros((5, 6, 3), np.float32),
        np.zeros((1, 5, 6, 6), np.float32)[..., ::2],
        _read_only(np.zeros((1, 5, 6, 3), np.float32)),
        [[0.0]],
    ],
    ids=["dtype", "channels", "rank", "strided", "read-only", "list"],
)
def test_row18_an_out_that_does_not_fit_is_refused(out: object) -> None:
    refuse("prepare_image", "out", {"out": out})


# ---- 22: allocation failure

_SANITIZED = "libasan" in os.environ.get("LD_PRELOAD", "")  # it reserves terabytes of addresses


@pytest.mark.skipif(_SANITIZED, reason="AddressSanitizer cannot run under an address-space limit")
@pytest.mark.parametrize(
    "operation",
    [
        'ops.conv2d(small, np.ones((64, 8, 1, 1), np.float32), padding=6000, layout="NHWC")',
        'ops.interpolate(small, size=(20000, 20000), mode="bilinear", layout="NHWC")',
        'ops.adaptive_avg_pool2d(small, (20000, 20000), layout="NHWC")',
        "ops.box_iou(boxes, boxes)",
        "ops.prepare_image(np.zeros((8, 8, 3), np.uint8), (30000, 30000))",
        "ops.paste_masks(np.ones((9, 8, 8), np.float32), boxes[:9], (20000, 20000))",
        "ops.warp_affine(np.zeros((8, 8), np.uint8), np.eye(3)[:2], (60000, 60000))",
        'ops.rle_decode([{"size": [60000, 60000], "counts": [3600000000]}])',
    ],
)
def test_row22_an_allocation_that_fails_is_a_memory_error(operation: str) -> None:
    script = f"""
import resource
import numpy as np
from pyvision import ops
small = np.ones((1, 8, 8, 8), np.float32)
boxes = np.tile(np.array([[0, 0, 1, 1]], np.float32), (60000, 1))
ops.conv2d(small, np.ones((8, 8, 1, 1), np.float32), layout="NHWC")  # the pool's threads have their stacks
in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (in_use + (1 << 30), resource.RLIM_INFINITY))
for _ in range(3):
    try:
        {operation}
    except MemoryError as error:
        print("MemoryError" if "std::" not in str(error) else error)
print(float(ops.conv2d(small, np.ones((1, 8, 1, 1), np.float32), layout="NHWC")[0, 0, 0, 0]))
"""
    assert output_of(script).split() == ["MemoryError"] * 3 + ["8.0"]
