# SPDX-License-Identifier: Apache-2.0
# Arrays are NumPy's, C-contiguous float32 and (N, H, W, C) unless said otherwise; wrong ones raise.
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Pair = Sequence[int]

__version__: str

# CPU dispatch and threads
def isa() -> str: ...
def isa_reason() -> str: ...
def set_isa(name: str, extensions: bool = True) -> None: ...
def active_extensions() -> list[str]: ...
def supported_isas() -> list[str]: ...
def kernel_isas() -> dict[str, str]: ...
def num_threads() -> int: ...
def num_threads_reason() -> str: ...
def set_num_threads(count: int) -> None: ...

# Convolutions
class Conv2d:
    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: _Pair = ...,
        padding: Sequence[int] = ...,
        dilation: _Pair = ...,
        groups: int = 1,
        activation: str = "none",
        slope: float = ...,
        algorithm: str = "auto",
        input_size: _Pair = ...,
        allow_winograd: bool = True,
        precision: str = "f32",
        op: str = "conv2d",
    ) -> None: ...
    def run(  # with precision "bf16" the maps may be bf16 too, seen as uint16
        self, input: np.ndarray, residual: np.ndarray | None = None, out: np.ndarray | None = None
    ) -> np.ndarray: ...
    def run_nchw(self, input: np.ndarray, residual: np.ndarray | None = None) -> _Floats: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def kernel_isa(self) -> str: ...
    @property
    def packed_bytes(self) -> int: ...

class Conv2dInt8:
    def __init__(
        self,
        weight: np.ndarray,  # int8
        weight_scale: np.ndarray,
        input_scale: float,
        input_zero_point: int,
        bias: np.ndarray | None = None,  # int32
        stride: _Pair = ...,
        padding: Sequence[int] = ...,
        dilation: _Pair = ...,
        groups: int = 1,
        output_scale: float | None = None,
        output_zero_point: int = 0,
        activation: str = "none",
        slope: float = ...,
    ) -> None: ...
    def run(self, input: np.ndarray) -> np.ndarray: ...  # uint8 to uint8, or to float32 without output_scale
    def run_nchw(self, input: np.ndarray) -> np.ndarray: ...
    @property
    def kernel_isa(self) -> str: ...

class SeparableConv2d:
    def __init__(
        self,
        depthwise_weight: np.ndarray,
        pointwise_weight: np.ndarray,
        depthwise_bias: np.ndarray | None,
        pointwise_bias: np.ndarray | None,
        stride: _Pair,
        padding: Sequence[int],
        dilation: _Pair,
        in_channels: int,
        depthwise_activation: str = "none",
        depthwise_slope: float = ...,
        activation: str = "none",
        slope: float = ...,
    ) -> None: ...
    def run(self, input: np.ndarray) -> _Floats: ...
    def run_nchw(self, input: np.ndarray) -> _Floats: ...
    @property
    def packed_bytes(self) -> int: ...

class InvertedResidual:
    def __init__(
        self,
        expand_weight: np.ndarray,
        depthwise_weight: np.ndarray,
        project_weight: np.ndarray,
        expand_bias: np.ndarray | None,
        depthwise_bias: np.ndarray | None,
        project_bias: np.ndarray | None,
        stride: _Pair,
        padding: Sequence[int],
        dilation: _Pair,
        expand_activation: str = "none",
        expand_slope: float = ...,
        depthwise_activation: str = "none",
        depthwise_slope: float = ...,
        activation: str = "none",
        slope: float = ...,
    ) -> None: ...
    def run(self, input: np.ndarray, residual: np.ndarray | None = None) -> _Floats: ...
    def run_nchw(self, input: np.ndarray, residual: np.ndarray | None = None) -> _Floats: ...
    @property
    def packed_bytes(self) -> int: ...

class ConvTranspose2d:
    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: _Pair = ...,
        padding: _Pair = ...,
        output_padding: _Pair = ...,
        groups: int = 1,
        dilation: _Pair = ...,
        activation: str = "none",
        slope: float = ...,
        input_size: _Pair = ...,
        allow_winograd: bool = True,
    ) -> None: ...
    def run(self, input: np.ndarray) -> _Floats: ...
    def run_nchw(self, input: np.ndarray) -> _Floats: ...
    @property
    def packed_bytes(self) -> int: ...

# Weights are channels last, (C_out, kernel_h, kernel_w, C_in / groups), in what follows.
def conv2d_f64(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: _Pair,
    padding: Sequence[int],
    dilation: _Pair,
    groups: int,
    op: str,
) -> NDArray[np.float64]: ...
def conv_transpose2d_f64(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    stride: _Pair,
    padding: _Pair,
    output_padding: _Pair,
    groups: int,
    dilation: _Pair,
) -> NDArray[np.float64]: ...

# Of the input, the weight and the bias, as the mask asks for; float32 or float64.
_Gradients = tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]

def conv2d_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    stride: _Pair,
    padding: Sequence[int],
    dilation: _Pair,
    groups: int,
    output_mask: Sequence[bool],
    allow_winograd: bool = True,
    op: str = "conv2d_backward",
    nchw: bool = False,  # of the maps, and of the input's gradient
) -> _Gradients: ...
def conv_transpose2d_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    weight: np.ndarray,
    stride: _Pair,
    padding: _Pair,
    output_padding: _Pair,
    groups: int,
    dilation: _Pair,
    output_mask: Sequence[bool],
    nchw: bool = False,
) -> _Gradients: ...

# Deformable ops: float32 or float64. Input and result are NHWC, offset and mask (N, C, H, W) of any strides.
def deform_conv2d(
    input: np.ndarray,
    offset: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    mask: np.ndarray | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
) -> np.ndarray: ...
def deform_conv2d_nchw(
    input: np.ndarray,
    offset: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None,
    mask: np.ndarray | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
) -> np.ndarray: ...
def deform_conv2d_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    offset: np.ndarray,
    weight: np.ndarray,
    mask: np.ndarray | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]: ...
def deform_conv3(
    input: np.ndarray,
    offset: np.ndarray,
    mask: np.ndarray | None,  # None: DCNv4, whose offsets hold it
    kernel_size: _Pair,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    offset_scale: float,
    remove_center: bool,
) -> np.ndarray: ...
def deform_conv3_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    offset: np.ndarray,
    mask: np.ndarray | None,
    kernel_size: _Pair,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
    offset_scale: float,
    remove_center: bool,
) -> tuple[np.ndarray, ...]: ...  # of input, offset and, where there is one, mask
def multi_scale_deformable_attention(
    value: np.ndarray,
    spatial_shapes: np.ndarray,
    sampling_locations: np.ndarray,
    attention_weights: np.ndarray,
) -> np.ndarray: ...
def multi_scale_deformable_attention_backward(
    grad_output: np.ndarray,
    value: np.ndarray,
    spatial_shapes: np.ndarray,
    sampling_locations: np.ndarray,
    attention_weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]: ...

# Maps
def nchw_to_nhwc(input: np.ndarray) -> _Floats: ...
def nhwc_to_nchw(input: np.ndarray) -> _Floats: ...
def max_pool2d(
    input: np.ndarray,
    kernel_size: _Pair,
    stride: _Pair,
    padding: Sequence[int],
    dilation: _Pair,
    ceil_mode: bool,
    return_indices: bool,
    out: np.ndarray | None = None,
) -> Any: ...  # the maxima, or (maxima, int64 indices) with return_indices
def avg_pool2d(
    input: np.ndarray,
    kernel_size: _Pair,
    stride: _Pair,
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
    out: np.ndarray | None = None,
) -> _Floats: ...
def adaptive_avg_pool2d(input: np.ndarray, output_size: _Pair, out: np.ndarray | None = None) -> _Floats: ...
def max_pool2d_backward(  # (N, H, W, C), as the following
    grad_output: np.ndarray,
    indices: np.ndarray,
    input_size: _Pair,
    kernel_size: _Pair,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    ceil_mode: bool,
) -> np.ndarray: ...
def avg_pool2d_backward(
    grad_output: np.ndarray,
    input_size: _Pair,
    kernel_size: _Pair,
    stride: _Pair,
    padding: _Pair,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> np.ndarray: ...
def adaptive_avg_pool2d_backward(grad_output: np.ndarray, input_size: _Pair) -> np.ndarray: ...
def pyr_down(image: np.ndarray) -> _Floats: ...  # (H, W, C)
def pyr_up(image: np.ndarray, height: int, width: int) -> _Floats: ...
def clahe(image: np.ndarray, clip_limit: float, tiles: _Pair) -> NDArray[np.uint8]: ...  # uint8 (H, W)
def horn_schunck_terms(  # (H, W) each
    a: np.ndarray, b: np.ndarray, u: np.ndarray, v: np.ndarray
) -> tuple[_Floats, _Floats, _Floats]: ...
def horn_schunck(  # (H, W) each
    ix: np.ndarray,
    iy: np.ndarray,
    it: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    alpha: float,
    iterations: int,
) -> tuple[_Floats, _Floats]: ...
def lucas_kanade(  # one level; shifted, found (uint8) and errors are written in place
    a: np.ndarray,
    b: np.ndarray,
    points: np.ndarray,
    shifted: np.ndarray,
    found: np.ndarray,
    errors: np.ndarray,
    window: int,
    max_iterations: int,
    epsilon: float,
    min_eigenvalue: float,
    finest: bool,
) -> None: ...
def warp_projective(  # uint8 or float32 (N, H, W, C) with contiguous rows, and the same back; op: in messages
    src: np.ndarray,
    transform: Sequence[float],
    height: int,
    width: int,
    mode: str,
    border_mode: str,
    border_value: Sequence[float],
    op: str = "warp_perspective",
) -> np.ndarray: ...
def remap(
    src: np.ndarray,
    map_x: np.ndarray,
    map_y: np.ndarray,
    mode: str,
    border_mode: str,
    border_value: Sequence[float],
) -> np.ndarray: ...
def grid_sample(  # float32 or float64
    input: np.ndarray, grid: np.ndarray, mode: str, padding_mode: str, align_corners: bool
) -> np.ndarray: ...
def grid_sample_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    grid: np.ndarray,
    mode: str,
    padding_mode: str,
    align_corners: bool,
) -> tuple[np.ndarray, np.ndarray]: ...
def interpolate(
    input: np.ndarray,
    size: _Pair,
    mode: str,
    align_corners: bool,
    antialias: bool = ...,
    scale: Sequence[float] = ...,
    addend: np.ndarray | None = None,
    out: np.ndarray | None = None,
) -> _Floats: ...
def max_unpool2d(input: np.ndarray, indices: np.ndarray, size: _Pair) -> _Floats: ...
def max_unpool2d_backward(grad_output: np.ndarray, indices: np.ndarray) -> _Floats: ...
def pixel_shuffle(input: np.ndarray, factor: int, nchw: bool) -> np.ndarray: ...
def pixel_unshuffle(input: np.ndarray, factor: int, nchw: bool) -> np.ndarray: ...
def interpolate_backward(
    grad_output: np.ndarray,
    input_size: _Pair,
    mode: str,
    align_corners: bool,
    antialias: bool = ...,
    scale: Sequence[float] = ...,
) -> _Floats: ...
def activate(
    input: np.ndarray, activation: str, slope: float = ..., out: np.ndarray | None = None
) -> _Floats: ...
def add(
    a: np.ndarray,
    b: np.ndarray,
    activation: str = "none",
    slope: float = ...,
    out: np.ndarray | None = None,
) -> _Floats: ...
def mul(
    a: np.ndarray,
    b: np.ndarray,
    activation: str = "none",
    slope: float = ...,
    out: np.ndarray | None = None,
) -> _Floats: ...
def mul_add(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    activation: str = "none",
    slope: float = ...,
    out: np.ndarray | None = None,
) -> _Floats: ...
def concat(tensors: Sequence[np.ndarray], dim: int) -> _Floats: ...
def split(input: np.ndarray, sizes: Sequence[int], dim: int) -> list[_Floats]: ...
def softmax(input: np.ndarray, dim: int) -> _Floats: ...

# Boxes: float32 or float64
def nms(
    boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, max_output: int | None = None
) -> NDArray[np.int64]: ...
def batched_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    idxs: np.ndarray,
    iou_threshold: float,
    image_idxs: np.ndarray | None = None,
    max_output: int | None = None,
) -> NDArray[np.int64]: ...
def box_iou(
    boxes1: np.ndarray, boxes2: np.ndarray, aligned: bool = False, eps: float = ...
) -> np.ndarray: ...
def box_iof(
    boxes1: np.ndarray, boxes2: np.ndarray, aligned: bool = False, eps: float = ...
) -> np.ndarray: ...
def generalized_box_iou(
    boxes1: np.ndarray, boxes2: np.ndarray, aligned: bool = False, eps: float = ...
) -> np.ndarray: ...
def distance_box_iou(
    boxes1: np.ndarray, boxes2: np.ndarray, aligned: bool = False, eps: float = ...
) -> np.ndarray: ...
def complete_box_iou(
    boxes1: np.ndarray, boxes2: np.ndarray, aligned: bool = False, eps: float = ...
) -> np.ndarray: ...
def box_iou_rotated(boxes1: np.ndarray, boxes2: np.ndarray, aligned: bool = False) -> np.ndarray: ...
def nms_rotated(
    boxes: np.ndarray,
    scores: np.ndarray,
    idxs: np.ndarray | None,
    iou_threshold: float,
    max_output: int | None = None,
) -> NDArray[np.int64]: ...
def soft_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    sigma: float,
    score_threshold: float,
    method: str,
    max_output: int | None = None,
) -> tuple[NDArray[np.int64], np.ndarray]: ...
def matrix_nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    idxs: np.ndarray | None,
    method: str,
    sigma: float,
    score_threshold: float,
    max_output: int | None = None,
) -> tuple[NDArray[np.int64], np.ndarray]: ...
def mask_nms(
    masks: np.ndarray,  # uint8
    scores: np.ndarray,
    iou_threshold: float,
    idxs: np.ndarray | None = None,
    max_output: int | None = None,
) -> NDArray[np.int64]: ...
def mask_matrix_nms(
    masks: np.ndarray,  # uint8
    scores: np.ndarray,
    idxs: np.ndarray | None,
    method: str,
    sigma: float,
    score_threshold: float,
    max_output: int | None = None,
) -> tuple[NDArray[np.int64], np.ndarray]: ...
def weighted_boxes_fusion(
    boxes: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    models: np.ndarray,
    weights: Sequence[float],
    iou_thr: float,
    skip_box_thr: float,
    conf_type: str,
    allows_overflow: bool,
) -> tuple[np.ndarray, np.ndarray, NDArray[np.int64]]: ...
def encode_boxes(
    reference_boxes: np.ndarray, proposals: np.ndarray, weights: Sequence[float]
) -> np.ndarray: ...
def decode_boxes(
    rel_codes: np.ndarray, boxes: np.ndarray, weights: Sequence[float], bbox_xform_clip: float
) -> np.ndarray: ...
def box_convert(boxes: np.ndarray, in_fmt: str, out_fmt: str) -> np.ndarray: ...
def box_area(boxes: np.ndarray) -> np.ndarray: ...
def clip_boxes_to_image(boxes: np.ndarray, height: int, width: int) -> np.ndarray: ...

# Masks: bytes, of which any but 0 is set; an _Rle is {"size": [height, width], "counts": bytes}
_Rle = dict[str, Any]

def masks_to_boxes(masks: np.ndarray) -> _Floats: ...
def paste_masks(
    masks: np.ndarray,
    boxes: np.ndarray,
    height: int,
    width: int,
    padding: int,
    threshold: float | None = None,
) -> np.ndarray: ...  # bool with a threshold, else float32
def rle_encode(masks: np.ndarray) -> list[_Rle]: ...
def rle_decode(rles: list[_Rle]) -> NDArray[np.bool_]: ...
def rle_area(rles: list[_Rle]) -> NDArray[np.int64]: ...
def rle_to_bbox(rles: list[_Rle]) -> NDArray[np.float64]: ...
def rle_merge(rles: list[_Rle], intersect: bool) -> _Rle: ...
def rle_iou(dt: list[_Rle], gt: list[_Rle], iscrowd: np.ndarray) -> NDArray[np.float64]: ...
def rle_from_polygons(polygons: Sequence[np.ndarray], height: int, width: int, op: str) -> list[_Rle]: ...

_C_API: object  # a capsule: the functions of pyvision_c_api.h

# Images
def prepare_image(
    image: np.ndarray,
    size: _Pair,
    region: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    bgr: bool,
    pad_value: float,
    out: np.ndarray | None = None,
) -> _Floats: ...

# Features: images are uint8 (H, W) with contiguous rows
_Bytes = NDArray[np.uint8]
_Keypoints = tuple[_Floats, _Floats, _Floats, _Floats, NDArray[np.int32]]  # xy, size, angle, response, octave

def to_grey(image: np.ndarray) -> _Bytes: ...  # (H, W, 3 or 4)
def resize_grey(image: np.ndarray, height: int, width: int) -> _Bytes: ...
def blur_grey(image: np.ndarray) -> _Bytes: ...
def fast(image: np.ndarray, circle: int, threshold: int, suppress: bool) -> tuple[_Floats, _Floats]: ...
def corner_response(image: np.ndarray, harris: bool, k: float, block_size: int) -> _Floats: ...
def corners(
    image: np.ndarray,
    mask: np.ndarray | None,
    harris: bool,
    k: float,
    block_size: int,
    quality: float,
    min_distance: float,
    max_features: int,
) -> tuple[_Floats, _Floats]: ...
def refine_corners(
    image: np.ndarray, xy: np.ndarray, window: int, max_iterations: int, epsilon: float
) -> _Floats: ...
def select_even(xy: np.ndarray, count: int) -> NDArray[np.int64]: ...
def orb_detect(
    image: np.ndarray,
    mask: np.ndarray | None,
    max_features: int,
    scale_factor: float,
    levels: int,
    edge_threshold: int,
    threshold: int,
    describe: bool,
) -> tuple[_Keypoints, _Bytes]: ...

# which of the keypoints have a descriptor, and those descriptors
def orb_compute(
    image: np.ndarray,
    xy: np.ndarray,
    angle: np.ndarray,
    octave: np.ndarray,
    scale_factor: float,
    levels: int,
) -> tuple[NDArray[np.bool_], _Bytes]: ...
def sift_detect(
    image: np.ndarray,
    mask: np.ndarray | None,
    max_features: int,
    layers: int,
    contrast_threshold: float,
    edge_threshold: float,
    sigma: float,
    describe: bool,
) -> tuple[_Keypoints, _Floats]: ...
def sift_compute(
    image: np.ndarray, xy: np.ndarray, size: np.ndarray, angle: np.ndarray, layers: int, sigma: float
) -> tuple[NDArray[np.bool_], _Floats]: ...
def surf_detect(
    image: np.ndarray,
    mask: np.ndarray | None,
    max_features: int,
    threshold: float,
    octaves: int,
    upright: bool,
    extended: bool,
    describe: bool,
) -> tuple[_Keypoints, _Floats]: ...
def surf_compute(
    image: np.ndarray, xy: np.ndarray, size: np.ndarray, angle: np.ndarray, extended: bool
) -> tuple[NDArray[np.bool_], _Floats]: ...
def brisk_detect(
    image: np.ndarray,
    mask: np.ndarray | None,
    max_features: int,
    threshold: int,
    octaves: int,
    describe: bool,
) -> tuple[_Keypoints, _Bytes]: ...

# which of the keypoints have a descriptor, their angles, and those descriptors
def brisk_compute(
    image: np.ndarray, xy: np.ndarray, size: np.ndarray, angle: np.ndarray
) -> tuple[NDArray[np.bool_], _Floats, _Bytes]: ...
def brief(
    image: np.ndarray, xy: np.ndarray, angle: np.ndarray, pattern: np.ndarray
) -> tuple[NDArray[np.bool_], _Bytes]: ...

# distances and indices, (N_a, k) each
def match(a: np.ndarray, b: np.ndarray, metric: str, k: int) -> tuple[_Floats, NDArray[np.int64]]: ...
def match_bits_isa() -> str: ...

# src and dst are float64; the matrix is (3, 3), or None; and which pairs are inliers
def find_transform(
    src: np.ndarray,
    dst: np.ndarray,
    affine: bool,
    robust: bool,
    threshold: float,
    max_iterations: int,
    confidence: float,
    seed: int,
) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_]]: ...

# The engine: pyvision.nn records graphs and runs executables
_Attribute = int | float | str | Sequence[int]

class _Node(TypedDict):
    op: str
    fused: str
    name: str
    inputs: list[int]
    outputs: list[int]
    attributes: dict[str, int | float | str | list[int]]
    constants: dict[str, tuple[int, ...]]

class _Step(TypedDict):
    name: str
    op: str
    shape: tuple[int, int, int]
    gflop: float
    parameters: int
    algorithm: str
    packed_bytes: int

class Graph:
    def __init__(self) -> None: ...
    def add_input(self, h: int, w: int, c: int) -> int: ...
    def add_node(
        self,
        op: str,
        inputs: Sequence[int],
        attributes: Mapping[str, _Attribute] = ...,
        constants: Mapping[str, np.ndarray] = ...,
        name: str = "",
    ) -> list[int]: ...
    def set_attribute(self, node: int, key: str, value: _Attribute) -> None: ...
    def set_outputs(self, outputs: Sequence[int]) -> None: ...
    def outputs(self) -> list[int]: ...
    def shape(self, value: int) -> tuple[int, int, int]: ...
    def nodes(self) -> list[_Node]: ...
    def copy(self) -> Graph: ...
    def run_pass(self, name: str) -> None: ...
    def optimize(self) -> None: ...

def pass_names() -> list[str]: ...

class Executable:
    def __init__(self, graph: Graph) -> None: ...
    def run(self, inputs: Sequence[np.ndarray]) -> list[_Floats]: ...
    def run_profiled(self, inputs: Sequence[np.ndarray]) -> tuple[list[_Floats], list[int]]: ...
    def summary_rows(self) -> list[_Step]: ...
    def arena_bytes(self, n: int = 1) -> int: ...
    @property
    def isa(self) -> str: ...

# Measuring: FLOP and bytes per second
def run_fma_chains(repetitions: int, threads: int) -> float: ...
def measure_copy_bandwidth(bytes: int, seconds: float, threads: int) -> float: ...

# Regions of interest: boxes are (K, 5), rotated ones (K, 6), the image's index first. Maps are (N, C, H, W)
# if `planar`; `input_shape` is in the same order.
_Shape = Sequence[int]

def roi_align(
    inputs: Sequence[np.ndarray],
    boxes: np.ndarray,
    levels: np.ndarray | None,
    output_size: _Pair,
    spatial_scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    maximum: bool,
    planar: bool,
    op: str = "roi_align",
) -> np.ndarray: ...
def roi_align_backward(
    grad_output: np.ndarray,
    input_shapes: Sequence[_Shape],
    boxes: np.ndarray,
    levels: np.ndarray | None,
    output_size: _Pair,
    spatial_scales: Sequence[float],
    sampling_ratio: int,
    aligned: bool,
    inputs: Sequence[np.ndarray] | None,
    planar: bool,
    op: str = "roi_align_backward",
) -> list[np.ndarray]: ...
def roi_pool(
    input: np.ndarray, boxes: np.ndarray, output_size: _Pair, spatial_scale: float, planar: bool
) -> tuple[np.ndarray, NDArray[np.int32]]: ...
def roi_pool_backward(
    grad_output: np.ndarray, input_shape: _Shape, boxes: np.ndarray, argmax: np.ndarray, planar: bool
) -> np.ndarray: ...
def ps_roi_align(
    input: np.ndarray,
    boxes: np.ndarray,
    output_size: _Pair,
    spatial_scale: float,
    sampling_ratio: int,
    planar: bool,
) -> np.ndarray: ...
def ps_roi_align_backward(
    grad_output: np.ndarray,
    input_shape: _Shape,
    boxes: np.ndarray,
    spatial_scale: float,
    sampling_ratio: int,
    planar: bool,
) -> np.ndarray: ...
def ps_roi_pool(
    input: np.ndarray, boxes: np.ndarray, output_size: _Pair, spatial_scale: float, planar: bool
) -> np.ndarray: ...
def ps_roi_pool_backward(
    grad_output: np.ndarray, input_shape: _Shape, boxes: np.ndarray, spatial_scale: float, planar: bool
) -> np.ndarray: ...
def prroi_pool(
    input: np.ndarray, boxes: np.ndarray, output_size: _Pair, spatial_scale: float, planar: bool
) -> np.ndarray: ...
def prroi_pool_backward(
    grad_output: np.ndarray, input: np.ndarray, boxes: np.ndarray, spatial_scale: float
) -> tuple[np.ndarray, np.ndarray]: ...
def deform_roi_pool(
    input: np.ndarray,
    boxes: np.ndarray,
    offset: np.ndarray | None,
    mask: np.ndarray | None,
    output_size: _Pair,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
    planar: bool,
) -> np.ndarray: ...
def deform_roi_pool_backward(
    grad_output: np.ndarray,
    input: np.ndarray,
    boxes: np.ndarray,
    offset: np.ndarray | None,
    mask: np.ndarray | None,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]: ...
def roi_align_rotated(
    input: np.ndarray,
    boxes: np.ndarray,
    output_size: _Pair,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> np.ndarray: ...
def roi_align_rotated_backward(
    grad_output: np.ndarray,
    input_shape: _Shape,
    boxes: np.ndarray,
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
) -> np.ndarray: ...
