# SPDX-License-Identifier: Apache-2.0
from collections.abc import Sequence
from typing import type_check_only

import numpy as np
import numpy.typing as npt

class Stream:
    def __init__(self, device: int, handle: int) -> None: ...

class DeviceArray:
    def __init__(
        self,
        address: int,
        shape: Sequence[int],
        dtype: str,
        device: int,
        strides: Sequence[int] | None = None,  # in items; dense without
    ) -> None: ...

def device_count() -> int: ...
def device_info(device: int) -> tuple[str, int, int]: ...
def transpose(stream: Stream, input: DeviceArray, output: DeviceArray) -> None: ...
def nms_workspace(
    stream: Stream,
    boxes: DeviceArray,
    scores: DeviceArray,
    idxs: DeviceArray | None,
    image_idxs: DeviceArray | None,
) -> int: ...
def nms(
    stream: Stream,
    boxes: DeviceArray,
    scores: DeviceArray,
    idxs: DeviceArray | None,
    image_idxs: DeviceArray | None,
    iou_threshold: float,
    max_output: int | None,
    workspace: DeviceArray,
    keep: DeviceArray,
    count: DeviceArray,
) -> None: ...
def corner_response(
    stream: Stream,
    op: str,
    image: DeviceArray,
    harris: bool,
    k: float,
    block_size: int,
    response: DeviceArray,
) -> None: ...
def corners(
    stream: Stream,
    op: str,
    image: DeviceArray,
    mask: DeviceArray | None,
    harris: bool,
    k: float,
    block_size: int,
    quality: float,
) -> Search: ...
def keep_apart_workspace(stream: Stream, op: str, xy: DeviceArray, response: DeviceArray) -> int: ...
def keep_apart(
    stream: Stream,
    op: str,
    xy: DeviceArray,
    response: DeviceArray,
    distance: float,
    max_output: int,
    workspace: DeviceArray,
    keep: DeviceArray,
    count: DeviceArray,
) -> None: ...
def to_grey(stream: Stream, op: str, image: DeviceArray, grey: DeviceArray) -> None: ...

class Detection:
    @property
    def room(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def descriptor_length(self) -> int: ...
    def run(
        self,
        workspace: DeviceArray,
        columns: Sequence[DeviceArray],
        count: DeviceArray,
        descriptors: DeviceArray | None,
    ) -> None: ...

class Description:
    @property
    def workspace_bytes(self) -> int: ...
    @property
    def descriptor_length(self) -> int: ...
    def run(
        self, workspace: DeviceArray, kept: DeviceArray, count: DeviceArray, descriptors: DeviceArray
    ) -> None: ...

def brief(
    stream: Stream,
    image: DeviceArray,
    xy: DeviceArray,
    size: DeviceArray,
    angle: DeviceArray,
    pattern: npt.NDArray[np.float32],
    turned: bool,
) -> Description: ...
def fast(
    stream: Stream,
    image: DeviceArray,
    mask: DeviceArray | None,
    circle: int,
    threshold: int,
    suppress: bool,
    max_features: int,
) -> Detection: ...
def orb(
    stream: Stream,
    image: DeviceArray,
    mask: DeviceArray | None,
    max_features: int,
    scale_factor: float,
    levels: int,
    edge_threshold: int,
    threshold: int,
) -> Detection: ...

class Sift:
    @property
    def search_bytes(self) -> int: ...
    def rate_bytes(self, extrema: int) -> int: ...
    def search(self, found: DeviceArray, count: DeviceArray) -> None: ...
    def rate(self, found: DeviceArray, extrema: int, rated: DeviceArray, count: DeviceArray) -> None: ...
    def put(
        self,
        found: DeviceArray,
        extrema: int,
        rated: DeviceArray,
        columns: Sequence[DeviceArray],
        count: DeviceArray,
        descriptors: DeviceArray | None,
        root: bool,
    ) -> None: ...

def sift(
    stream: Stream,
    image: DeviceArray,
    mask: DeviceArray | None,
    max_features: int,
    layers: int,
    contrast_threshold: float,
    edge_threshold: float,
    sigma: float,
) -> Sift: ...
def sift_describe(
    stream: Stream,
    image: DeviceArray,
    xy: DeviceArray,
    size: DeviceArray,
    angle: DeviceArray,
    layers: int,
    sigma: float,
    root: bool,
) -> Description: ...

class Search:
    @property
    def search_bytes(self) -> int: ...
    @property
    def descriptor_length(self) -> int: ...
    def put_bytes(self, number: int) -> int: ...
    def search(self, found: DeviceArray, count: DeviceArray) -> None: ...
    def put(
        self,
        found: DeviceArray,
        number: int,
        workspace: DeviceArray,
        columns: Sequence[DeviceArray],
        count: DeviceArray,
        descriptors: DeviceArray | None,
    ) -> None: ...

def surf(
    stream: Stream,
    image: DeviceArray,
    mask: DeviceArray | None,
    threshold: float,
    octaves: int,
    upright: bool,
    extended: bool,
) -> Search: ...
def surf_describe(
    stream: Stream,
    image: DeviceArray,
    xy: DeviceArray,
    size: DeviceArray,
    angle: DeviceArray,
    extended: bool,
) -> Description: ...
def brisk(
    stream: Stream, image: DeviceArray, mask: DeviceArray | None, threshold: int, octaves: int
) -> Search: ...
def brisk_describe(
    stream: Stream,
    image: DeviceArray,
    xy: DeviceArray,
    size: DeviceArray,
    angle: DeviceArray,
    angles: DeviceArray,
) -> Description: ...
def orb_describe(
    stream: Stream,
    image: DeviceArray,
    xy: DeviceArray,
    size: DeviceArray,
    angle: DeviceArray,
    octave: DeviceArray,
    scale_factor: float,
    levels: int,
) -> Description: ...

class TransformSearch:
    def __init__(
        self,
        stream: Stream,
        src: DeviceArray,
        dst: DeviceArray,
        affine: bool,
        robust: bool,
        threshold: float,
        max_iterations: int,
        confidence: float,
        seed: int,
    ) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    def run(
        self, workspace: DeviceArray, matrix: DeviceArray, inliers: DeviceArray, status: DeviceArray
    ) -> None: ...

def match_workspace(stream: Stream, a: DeviceArray, b: DeviceArray, metric: str, k: int) -> int: ...
def match(
    stream: Stream,
    a: DeviceArray,
    b: DeviceArray,
    metric: str,
    k: int,
    workspace: DeviceArray,
    distances: DeviceArray,
    indices: DeviceArray,
) -> None: ...
def match_filter_workspace(rows: int, taken: int) -> int: ...
def filter_matches(
    stream: Stream,
    distances: DeviceArray,
    indices: DeviceArray,
    taken: int,
    ratio: float,
    back: DeviceArray | None,
    max_distance: float,
    workspace: DeviceArray,
    pairs: DeviceArray,
    pair_distances: DeviceArray,
    count: DeviceArray,
) -> None: ...
def soft_nms_workspace(stream: Stream, boxes: DeviceArray, scores: DeviceArray) -> int: ...
def soft_nms(
    stream: Stream,
    boxes: DeviceArray,
    scores: DeviceArray,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    method: str,
    max_output: int | None,
    workspace: DeviceArray,
    keep: DeviceArray,
    kept_scores: DeviceArray,
    count: DeviceArray,
) -> None: ...
def matrix_nms_workspace(
    stream: Stream, op: str, items: DeviceArray, scores: DeviceArray, idxs: DeviceArray | None
) -> int: ...
def matrix_nms(
    stream: Stream,
    op: str,
    items: DeviceArray,
    scores: DeviceArray,
    idxs: DeviceArray | None,
    method: str,
    sigma: float,
    score_threshold: float,
    max_output: int | None,
    workspace: DeviceArray,
    keep: DeviceArray,
    kept_scores: DeviceArray,
    count: DeviceArray,
) -> None: ...
def mask_nms_workspace(
    stream: Stream, masks: DeviceArray, scores: DeviceArray, idxs: DeviceArray | None
) -> int: ...
def mask_nms(
    stream: Stream,
    masks: DeviceArray,
    scores: DeviceArray,
    idxs: DeviceArray | None,
    iou_threshold: float,
    max_output: int | None,
    workspace: DeviceArray,
    keep: DeviceArray,
    count: DeviceArray,
) -> None: ...
def join_boxes(
    stream: Stream, op: str, boxes: DeviceArray, image: int, begin: int, joined: DeviceArray
) -> None: ...
def roi_align(
    stream: Stream,
    op: str,
    kind: str,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    level: tuple[int, float, float, float, float] | None,
    places: DeviceArray | None,
) -> None: ...
def roi_align_backward(
    stream: Stream,
    op: str,
    kind: str,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    level: tuple[int, float, float, float, float] | None,
    places: DeviceArray | None,
) -> None: ...
def roi_pool(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
    argmax: DeviceArray,
) -> None: ...
def roi_pool_backward_workspace(count: int, bins: int) -> int: ...
def roi_pool_backward(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    argmax: DeviceArray,
    workspace: DeviceArray,
) -> None: ...
def ps_roi_pool(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
) -> None: ...
def ps_roi_pool_backward(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
) -> None: ...
def prroi_pool(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
) -> None: ...
def prroi_pool_backward(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    grad: DeviceArray,
    spatial_scale: float,
    grad_map: DeviceArray,
    grad_boxes: DeviceArray,
) -> None: ...
def deform_roi_pool(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
    offset: DeviceArray | None,
    mask: DeviceArray | None,
) -> None: ...
def deform_roi_pool_backward_workspace(count: int) -> int: ...
def deform_roi_pool_backward(
    stream: Stream,
    map: DeviceArray,
    boxes: DeviceArray,
    grad: DeviceArray,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
    offset: DeviceArray | None,
    mask: DeviceArray | None,
    workspace: DeviceArray,
    grad_map: DeviceArray,
    grad_offset: DeviceArray | None,
    grad_mask: DeviceArray | None,
) -> None: ...
def roi_align_rotated_workspace(count: int) -> int: ...
def roi_align_rotated(
    stream: Stream,
    op: str,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    workspace: DeviceArray,
) -> None: ...
def roi_align_rotated_backward(
    stream: Stream,
    op: str,
    map: DeviceArray,
    boxes: DeviceArray,
    bins: DeviceArray,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    workspace: DeviceArray,
) -> None: ...

@type_check_only
class _Launchable:
    @property
    def output_shape(self) -> list[int]: ...
    @property
    def workspace_bytes(self) -> int: ...
    def run(self, workspace: DeviceArray, output: DeviceArray) -> None: ...

class Conv2d(_Launchable):
    def __init__(
        self,
        stream: Stream,
        op: str,
        input: DeviceArray,
        weight: DeviceArray,
        bias: DeviceArray | None,
        residual: DeviceArray | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        activation: str,
        slope: float,
        tf32: bool,
        depthwise: bool,
    ) -> None: ...

class SeparableConv2d(_Launchable):
    def __init__(
        self,
        stream: Stream,
        op: str,
        input: DeviceArray,
        depthwise_weight: DeviceArray,
        pointwise_weight: DeviceArray,
        depthwise_bias: DeviceArray | None,
        pointwise_bias: DeviceArray | None,
        residual: DeviceArray | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        depthwise_activation: str,
        depthwise_slope: float,
        activation: str,
        slope: float,
    ) -> None: ...

class ConvTranspose2d(_Launchable):
    def __init__(
        self,
        stream: Stream,
        op: str,
        input: DeviceArray,
        weight: DeviceArray,
        bias: DeviceArray | None,
        stride: Sequence[int],
        padding: Sequence[int],
        output_padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        activation: str,
        slope: float,
        output_size: Sequence[int] | None,
        depthwise: bool,
    ) -> None: ...

class Conv2dWeightGradient(_Launchable):
    def __init__(
        self,
        stream: Stream,
        op: str,
        grad_output: DeviceArray,
        input: DeviceArray,
        weight: DeviceArray,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        depthwise: bool,
    ) -> None: ...

class RowSum(_Launchable):
    def __init__(self, stream: Stream, op: str, input: DeviceArray) -> None: ...

class DeformConv2d(_Launchable):
    def __init__(
        self,
        stream: Stream,
        op: str,
        input: DeviceArray,
        offset: DeviceArray,
        weight: DeviceArray,
        bias: DeviceArray | None,
        mask: DeviceArray | None,
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        channels_last: bool,
    ) -> None: ...
    @property
    def backward_workspace_bytes(self) -> int: ...
    def backward(
        self,
        grad_output: DeviceArray,
        workspace: DeviceArray,
        grad_input: DeviceArray,
        grad_offset: DeviceArray,
        grad_weight: DeviceArray,
        grad_bias: DeviceArray,
        grad_mask: DeviceArray | None,
    ) -> None: ...

class DeformConv3(_Launchable):
    def __init__(
        self,
        stream: Stream,
        op: str,
        input: DeviceArray,
        offset: DeviceArray,
        mask: DeviceArray | None,
        kernel_size: Sequence[int],
        stride: Sequence[int],
        padding: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        offset_scale: float,
        remove_center: bool,
    ) -> None: ...
    @property
    def backward_workspace_bytes(self) -> int: ...
    def backward(
        self,
        grad_output: DeviceArray,
        workspace: DeviceArray,
        grad_input: DeviceArray,
        grad_offset: DeviceArray,
        grad_mask: DeviceArray | None,
    ) -> None: ...

class MultiScaleDeformableAttention(_Launchable):
    def __init__(
        self,
        stream: Stream,
        op: str,
        value: DeviceArray,
        spatial_shapes: DeviceArray,
        sampling_locations: DeviceArray,
        attention_weights: DeviceArray,
    ) -> None: ...
    @property
    def backward_workspace_bytes(self) -> int: ...
    def backward(
        self,
        grad_output: DeviceArray,
        workspace: DeviceArray,
        grad_value: DeviceArray,
        grad_locations: DeviceArray,
        grad_weights: DeviceArray,
    ) -> None: ...

class Pool2d:
    @property
    def output_shape(self) -> list[int]: ...
    def run(self, output: DeviceArray, places: DeviceArray | None) -> None: ...

def max_pool2d(
    stream: Stream,
    input: DeviceArray,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Pool2d: ...
def avg_pool2d(
    stream: Stream,
    input: DeviceArray,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Pool2d: ...
def adaptive_avg_pool2d(stream: Stream, input: DeviceArray, output_size: Sequence[int]) -> Pool2d: ...
def max_pool2d_backward(
    stream: Stream,
    grad_output: DeviceArray,
    indices: DeviceArray,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    grad_input: DeviceArray,
) -> None: ...
def avg_pool2d_backward(
    stream: Stream,
    grad_output: DeviceArray,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    grad_input: DeviceArray,
) -> None: ...
def adaptive_avg_pool2d_backward(
    stream: Stream, grad_output: DeviceArray, grad_input: DeviceArray
) -> None: ...
def max_unpool2d_workspace(stream: Stream, indices: DeviceArray, output: DeviceArray) -> int: ...
def max_unpool2d(
    stream: Stream,
    input: DeviceArray,
    indices: DeviceArray,
    workspace: DeviceArray,
    output: DeviceArray,
) -> None: ...
def max_unpool2d_backward(
    stream: Stream, grad_output: DeviceArray, indices: DeviceArray, grad_input: DeviceArray
) -> None: ...
def pixel_shuffle_shape(to_fine: bool, input: DeviceArray, factor: int, nchw: bool) -> list[int]: ...
def pixel_shuffle(
    to_fine: bool, stream: Stream, input: DeviceArray, factor: int, nchw: bool, output: DeviceArray
) -> None: ...
def prepare_image(
    stream: Stream,
    image: DeviceArray,  # of any strides
    region: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    bgr: bool,
    pad_value: float,
    output: DeviceArray,
) -> None: ...

class Interpolation:
    @property
    def workspace_bytes(self) -> int: ...
    def run(self, workspace: DeviceArray, output: DeviceArray) -> None: ...

def interpolation(
    backward: bool,
    stream: Stream,
    input: DeviceArray,
    size: Sequence[int],
    mode: str,
    align_corners: bool,
    antialias: bool,
    scale: Sequence[float],
) -> Interpolation: ...

TRANSFORM_BYTES: int

def warp_projective_by(
    stream: Stream,
    op: str,
    src: DeviceArray,
    matrix: DeviceArray,
    inverted: bool,
    mode: str,
    border_mode: str,
    border_value: list[float],
    workspace: DeviceArray,
    output: DeviceArray,
) -> None: ...
def warp_projective(
    stream: Stream,
    op: str,
    src: DeviceArray,
    transform: Sequence[float],
    mode: str,
    border_mode: str,
    border_value: Sequence[float],
    output: DeviceArray,
) -> None: ...
def remap(
    stream: Stream,
    src: DeviceArray,
    map1: DeviceArray,
    map2: DeviceArray | None,
    mode: str,
    border_mode: str,
    border_value: Sequence[float],
    output: DeviceArray,
) -> None: ...
def grid_sample(
    stream: Stream,
    input: DeviceArray,
    grid: DeviceArray,
    mode: str,
    padding_mode: str,
    align_corners: bool,
    output: DeviceArray,
) -> None: ...
def grid_sample_backward_workspace(
    stream: Stream,
    input: DeviceArray,
    grid: DeviceArray,
    mode: str,
    padding_mode: str,
    align_corners: bool,
) -> int: ...
def grid_sample_backward(
    stream: Stream,
    grad_output: DeviceArray,
    input: DeviceArray,
    grid: DeviceArray,
    mode: str,
    padding_mode: str,
    align_corners: bool,
    workspace: DeviceArray,
    grad_input: DeviceArray,
    grad_grid: DeviceArray,
) -> None: ...
