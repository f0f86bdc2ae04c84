# SPDX-License-Identifier: Apache-2.0
"""Our GPU kernels beside cuDNN (through torch, channels_last, its exhaustive search) and torchvision.

Ours and the peer's are called in turn, each between two events of the stream; a round's ratio is of
neighbours in time. A row is timed once its two results agree. What tells most comes first, so that it is
there when time runs out; of the networks' layers every fourth before the next. A row that fails says so and
costs no other; where it leaves the device in an error, a fresh process goes on with the other ops.
Started by gpu_check.py: python -m gpu_timings FILE --seconds S [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from pyvision import features, ops
from pyvision.profile.gpu import search_all_algorithms
from pyvision.profile.networks import load_network
from pyvision.profile.peers import ConvCase

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0", "deeplabv3", "resnext50_32x4d")
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "tf32": torch.float32,
    "float32": torch.float32,
}


@dataclass(frozen=True)
class Enlargement:
    """A transposed convolution of stride 2, as a network has it."""

    network: str
    in_channels: int
    out_channels: int
    extent: int
    kernel: int
    padding: int = 0
    output_padding: int = 0


@dataclass(frozen=True)
class Sizes:
    """Of the problems that are not a network's layers."""

    batch: int = 32
    maps: tuple[int, int] = (64, 112)  # channels, extent
    region_map: tuple[int, int, int] = (256, 200, 304)  # a detector's finest map, a quarter of the image
    regions: tuple[int, ...] = (100, 1000)
    boxes: tuple[int, ...] = (1000, 10_000, 100_000)
    picture: tuple[int, int] = (1080, 1920)
    prepared: int = 640
    descriptors: int = 4096
    pairs: tuple[int, ...] = (500, 50_000)
    # Deformable DETR's encoder on an image of 800 x 1,066
    pyramid: tuple[tuple[int, int], ...] = ((100, 134), (50, 67), (25, 34), (13, 17))
    deformed: tuple[tuple[int, int], ...] = ((256, 56), (512, 28))  # channels, extent
    enlarged: tuple[Enlargement, ...] = (
        Enlargement("U-Net", 128, 64, 112, 2),
        Enlargement("Mask R-CNN", 256, 256, 14, 2),
        Enlargement("DCGAN", 256, 128, 8, 4, padding=1),
        Enlargement("DCGAN", 128, 64, 16, 4, padding=1),
        Enlargement("FCN", 32, 32, 56, 4, padding=1),
        Enlargement("CycleGAN", 256, 128, 64, 3, padding=1, output_padding=1),
    )
    learned: tuple[tuple[int, int, int], ...] = ((64, 56, 1), (256, 14, 1), (128, 28, 2))  # and the stride


SIZES = Sizes()

Call = Callable[[], object]
Row = dict[str, Any]


def normal(*shape: int) -> torch.Tensor:
    """Random values on the device."""
    return torch.randn(shape, device="cuda")


def uniform(*shape: int) -> torch.Tensor:
    """The same in [0, 1)."""
    return torch.rand(shape, device="cuda")


class Clock:
    """Milliseconds of a call on the current stream, with L2 as the call before left it, or flushed."""

    def __init__(self, rounds: int, seconds: float) -> None:
        self._rounds, self._seconds = rounds, seconds  # at most so many, and about so long
        self._flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")  # larger than any L2

    def pair(self, ours: Call, peer: Call, *, cold: bool) -> np.ndarray:
        """(rounds, 2) milliseconds."""
        longest = max(self._warmed(call) for call in (ours, peer))
        repeats = 1 if cold or longest > 1 else 5
        fitting = int(1e3 * self._seconds / (2 * (repeats + 1) * longest))
        rounds = max(3, min(self._rounds, fitting))
        return np.array([[self._once(call, repeats, cold) for call in (ours, peer)] for _ in range(rounds)])

    def agree(self, ours: Call, known: Call, dtype: str) -> None:
        """See :func:`assert_alike`."""
        assert_alike(ours(), known(), dtype)

    def facts(self, call: Call) -> Row:
        """Of a library's call: its longest kernel, which names the algorithm, and the memory it takes beside
        its results."""
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            result = call()
            torch.cuda.synchronize()
        workspace = torch.cuda.max_memory_allocated() - before
        workspace -= moved(*parts(result))
        kernels = sorted(profile.key_averages(), key=lambda event: event.device_time_total)
        algorithm = kernels[-1].key if kernels else "unknown"
        return {"peer_algorithm": algorithm, "peer_workspace_mb": round(workspace / 2**20, 1)}

    @staticmethod
    def _warmed(call: Call) -> float:
        """Milliseconds of the last of up to three calls: the first searches, loads and allocates."""
        for _ in range(3):
            begin = time.perf_counter()
            call()
            torch.cuda.synchronize()
            elapsed = 1e3 * (time.perf_counter() - begin)
            if elapsed > 100:
                break
        return elapsed

    def _once(self, call: Call, repeats: int, cold: bool) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.zero_() if cold else call()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / repeats


# Of the largest value, by which two right results may differ: what operands and storage round, what other
# orders of summation and transforms of other algorithms do. A tile that is wrong differs by the value itself.
TOLERANCES = {"float16": 1e-2, "bfloat16": 6e-2, "tf32": 1e-2, "float32": 1e-3}


def assert_alike(ours: object, known: object, dtype: str) -> None:
    """Raises RuntimeError where a result, or one of several, is not what is known."""
    for a, b in zip(parts(ours), parts(known), strict=True):
        if a.shape != b.shape:
            raise RuntimeError(f"expected a result of shape {tuple(b.shape)}, got {tuple(a.shape)}")
        scale = float(b.abs().max()) if b.numel() else 0.0
        error = float((a.float() - b.float()).abs().max()) if b.numel() else 0.0
        if not error <= TOLERANCES[dtype] * scale:  # a NaN is no agreement either
            raise RuntimeError(f"a result of values up to {scale:.3g} is off by {error:.3g}")


def parts(result: object) -> list[torch.Tensor]:
    """The tensors of a result."""
    several = result if isinstance(result, tuple | list) else (result,)
    return [part for part in several if isinstance(part, torch.Tensor)]


def moved(*tensors: torch.Tensor) -> int:
    """Their bytes."""
    return sum(t.numel() * t.element_size() for t in tensors)


def row(
    clock: Clock, names: tuple[str, str, str, str], calls: tuple[Call, Call], flop: float, size: float
) -> Row:
    """One line of the report; names: op, problem, dtype, peer; size: bytes that have to move."""
    line: Row = dict(zip(("op", "problem", "dtype", "peer"), names, strict=True))
    for state in ("", "_cold"):
        times = clock.pair(*calls, cold=bool(state))
        p10, ratio, p90 = np.percentile(times[:, 1] / times[:, 0], (10, 50, 90))
        ours, peer = np.median(times, axis=0)
        line |= {
            f"ours_ms{state}": ours, f"peer_ms{state}": peer, f"ratio{state}": ratio,
            f"ratio_p10{state}": p10, f"ratio_p90{state}": p90,
        }  # fmt: skip
    return line | {"tflop_s": flop / line["ours_ms"] / 1e9, "gb_s": size / line["ours_ms"] / 1e6}


def conv_row(clock: Clock, case: ConvCase, dtype: str) -> Row:
    """The same convolution by both; the padding of every network here is the same on both sides."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    kind, channels_last = DTYPES[dtype], torch.channels_last
    depthwise = is_depthwise(case)
    shapes = (
        (SIZES.batch, case.in_channels, case.height, case.width),
        (case.out_channels, case.in_channels // case.groups, case.kernel, case.kernel),
    )
    x, weight = (normal(*shape).to(kind).contiguous(memory_format=channels_last) for shape in shapes)
    padding = case.padding[:2]

    def ours() -> object:
        if depthwise:
            return ops.depthwise_conv2d(x, weight, None, case.stride, padding, case.dilation)
        return ops.conv2d(
            x, weight, None, case.stride, padding, case.dilation, case.groups,
            precision="tf32" if dtype == "tf32" else "f32",
        )  # fmt: skip

    def cudnn() -> object:
        return torch.nn.functional.conv2d(x, weight, None, case.stride, padding, case.dilation, case.groups)

    y = cudnn()
    assert isinstance(y, torch.Tensor)
    clock.agree(ours, lambda: y, dtype)
    flop = 2.0 * y.numel() * weight[0].numel()
    size = moved(x, weight, y)
    names = (
        "depthwise_conv2d" if depthwise else "conv2d",
        f"{case.name}, batch {SIZES.batch}",
        dtype,
        "cuDNN",
    )
    return row(clock, names, (ours, cudnn), flop, size) | clock.facts(cudnn)


def separable_row(clock: Clock, case: ConvCase, dtype: str) -> Row:
    """Depthwise and pointwise in one, against cuDNN's two convolutions."""
    kind, channels_last = getattr(torch, dtype), torch.channels_last
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    c, k = case.in_channels, case.kernel
    shapes = (SIZES.batch, c, case.height, case.width), (c, 1, k, k), (case.out_channels, c, 1, 1)
    x, depthwise, pointwise = (
        normal(*shape).to(kind).contiguous(memory_format=channels_last) for shape in shapes
    )
    geometry = case.stride, case.padding[0]
    conv = torch.nn.functional.conv2d
    calls = (
        lambda: ops.separable_conv2d(x, depthwise, pointwise, None, None, *geometry),
        lambda: conv(conv(x, depthwise, None, *geometry, groups=c), pointwise),
    )
    clock.agree(*calls, dtype)
    y = calls[1]()
    flop = 2.0 * y.numel() * c + 2.0 * y.numel() / case.out_channels * c * k * k
    size = moved(x, depthwise, pointwise, y)
    return row(
        clock, ("separable_conv2d", f"{case.name}, batch {SIZES.batch}", dtype, "cuDNN"), calls, flop, size
    )


def conv_backward_row(clock: Clock, case: ConvCase, dtype: str) -> Row:
    """The gradients of input and weight, which autograd asks cuDNN for together."""
    kind, channels_last = DTYPES[dtype], torch.channels_last
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    padding, channels = case.padding[0], case.in_channels // case.groups
    shapes = (
        (SIZES.batch, case.in_channels, case.height, case.width),
        (case.out_channels, channels, case.kernel, case.kernel),
        (SIZES.batch, case.out_channels, *case.out_size),
    )
    x, weight, grad = (normal(*shape).to(kind).contiguous(memory_format=channels_last) for shape in shapes)
    mask = (True, True, False)
    depthwise = is_depthwise(case)
    geometry = case.stride, padding, case.dilation

    def ours() -> object:
        if depthwise:
            return ops.depthwise_conv2d_backward(grad, x, weight, *geometry, output_mask=mask)
        return ops.conv2d_backward(grad, x, weight, *geometry, case.groups, output_mask=mask)

    def cudnn() -> object:
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, *([extent] * 2 for extent in geometry), False, [0, 0], case.groups, mask
        )

    clock.agree(ours, cudnn, dtype)
    flop = 4.0 * grad.numel() * weight[0].numel()
    size = 2.0 * moved(x, weight, grad)
    names = (
        "depthwise_conv2d_backward" if depthwise else "conv2d_backward",
        f"{case.name}, batch {SIZES.batch}",
        dtype,
        "cuDNN",
    )
    return row(clock, names, (ours, cudnn), flop, size) | clock.facts(cudnn)


def transpose_row(clock: Clock, case: Enlargement, dtype: str) -> Row:
    """The same by both; of dtype "tf32" cuDNN alone rounds, for ours has no such kernels."""
    kind, channels_last = DTYPES[dtype], torch.channels_last
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    k, (c_in, c_out) = case.kernel, (case.in_channels, case.out_channels)
    x, weight = (
        normal(*shape).to(kind).contiguous(memory_format=channels_last)
        for shape in ((SIZES.batch, c_in, case.extent, case.extent), (c_in, c_out, k, k))
    )
    geometry = 2, case.padding, case.output_padding
    calls: tuple[Call, Call] = (
        lambda: ops.conv_transpose2d(x, weight, None, *geometry),
        lambda: torch.nn.functional.conv_transpose2d(x, weight, None, *geometry),
    )
    clock.agree(*calls, dtype)
    flop = 2.0 * x.numel() * weight[0].numel()
    size = float(moved(x, weight, *parts(calls[0]())))
    name = f"{case.network} {k}x{k}/2 {case.extent}² {c_in}→{c_out}, batch {SIZES.batch}"
    return row(clock, ("conv_transpose2d", name, dtype, "cuDNN"), calls, flop, size) | clock.facts(calls[1])


def deform_row(clock: Clock, case: ConvCase, dtype: str) -> Row:
    """Version 2 on the problem of a dense convolution, offsets of about a pixel."""
    kind = DTYPES[dtype]
    out_h, out_w = case.out_size
    taps = case.kernel**2
    x, offset, mask, weight = (
        normal(*shape).to(kind)
        for shape in (
            (SIZES.batch, case.in_channels, case.height, case.width),
            (SIZES.batch, 2 * taps, out_h, out_w),
            (SIZES.batch, taps, out_h, out_w),
            (case.out_channels, case.in_channels, case.kernel, case.kernel),
        )
    )
    planar = x, weight  # what torchvision's kernel takes
    x, weight = (t.contiguous(memory_format=torch.channels_last) for t in planar)
    geometry = case.stride, case.padding[0], case.dilation
    calls: tuple[Call, Call] = (
        lambda: ops.deform_conv2d(x, offset, weight, None, *geometry, mask),
        lambda: torchvision.ops.deform_conv2d(planar[0], offset, planar[1], None, *geometry, mask),
    )

    def known() -> object:
        """In float32: of halves torchvision makes halves of positions, too."""
        image, shifts, kernel, factors = (t.float() for t in (planar[0], offset, planar[1], mask))
        return torchvision.ops.deform_conv2d(image, shifts, kernel, None, *geometry, factors)

    clock.agree(calls[0], known, dtype)
    flop = 2.0 * SIZES.batch * out_h * out_w * weight.numel()
    size = moved(x, offset, mask, weight, *parts(calls[0]()))
    return row(
        clock, ("deform_conv2d", f"{case.name}, batch {SIZES.batch}", dtype, "torchvision"), calls, flop, size
    )


def deform_backward_row(clock: Clock, case: ConvCase, dtype: str) -> Row:
    """All gradients of version 2, which autograd asks torchvision for together."""
    kind, taps = DTYPES[dtype], case.kernel**2
    x, offset, mask, weight, grad = (
        normal(*shape).to(kind)
        for shape in (
            (SIZES.batch, case.in_channels, case.height, case.width),
            (SIZES.batch, 2 * taps, *case.out_size),
            (SIZES.batch, taps, *case.out_size),
            (case.out_channels, case.in_channels, case.kernel, case.kernel),
            (SIZES.batch, case.out_channels, *case.out_size),
        )
    )
    leaves = [t.clone().requires_grad_() for t in (x, offset, weight, mask)]
    geometry = case.stride, case.padding[0], case.dilation
    y = torchvision.ops.deform_conv2d(*leaves[:3], None, *geometry, leaves[3])
    x, weight, grad_last = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight, grad))
    calls: tuple[Call, Call] = (
        lambda: ops.deform_conv2d_backward(grad_last, x, offset, weight, mask, *geometry),
        lambda: torch.autograd.grad(y, leaves, grad, retain_graph=True),
    )
    flop = 4.0 * grad.numel() * weight[0].numel()
    size = 2.0 * moved(x, offset, mask, weight) + moved(grad)
    names = ("deform_conv2d_backward", f"{case.name}, batch {SIZES.batch}", dtype, "torchvision")
    return row(clock, names, calls, flop, size)


def attention_row(clock: Clock, dtype: str) -> Row:
    """Every pixel of the pyramid is a query, beside grid_sample."""
    kind, shapes = DTYPES[dtype], SIZES.pyramid
    pixels, heads, channels, points = sum(h * w for h, w in shapes), 8, 32, 4
    value = normal(1, pixels, heads, channels).to(kind)
    locations = uniform(1, pixels, heads, 4, points, 2).to(kind)
    weights = uniform(1, pixels, heads, 4, points).to(kind)
    sizes = torch.tensor(shapes).cuda()

    def grid_sample() -> object:
        maps = value.split([h * w for h, w in shapes], dim=1)
        samples = [
            torch.nn.functional.grid_sample(
                part.permute(0, 2, 3, 1).reshape(heads, channels, h, w),
                (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1),
                align_corners=False,
            )
            for level, (part, (h, w)) in enumerate(zip(maps, shapes, strict=True))
        ]
        stacked = torch.stack(samples, dim=-2).flatten(-2)
        return (stacked * weights.transpose(1, 2).reshape(heads, 1, pixels, 4 * points)).sum(-1)

    calls: tuple[Call, Call] = (
        lambda: ops.multi_scale_deformable_attention(value, sizes, locations, weights),
        grid_sample,
    )
    size = float(moved(value, locations, weights, value))
    names = ("multi_scale_deformable_attention", f"{pixels} queries", dtype, "grid_sample")
    return row(clock, names, calls, 8.0 * weights.numel() * channels, size)


def roi_row(clock: Clock, count: int, backward: bool) -> Row:
    """Boxes of a detector's second stage on two maps, up to 120 pixels large."""
    channels, height, width = SIZES.region_map
    x = normal(2, channels, height, width).contiguous(memory_format=torch.channels_last)
    corner = uniform(count, 2) * torch.tensor([4.0 * width - 116, 4.0 * height - 100]).cuda()
    image = (uniform(count, 1) * 2).floor()
    boxes = torch.cat([image, corner, corner + 20 + uniform(count, 2) * 100], 1)
    planar = x.contiguous()
    grad = normal(count, channels, 7, 7)
    grad_last = grad.contiguous(memory_format=torch.channels_last)
    size = 4.0 * count * 49 * channels
    if backward:
        size += 4.0 * x.numel()
        calls: tuple[Call, Call] = (
            lambda: ops.roi_align_backward(grad_last, boxes, tuple(x.shape), 0.25, 2, True),
            lambda: torch.ops.torchvision._roi_align_backward(
                grad, boxes, 0.25, 7, 7, *planar.shape, 2, True
            ),
        )
    else:
        calls = (
            lambda: ops.roi_align(x, boxes, 7, 0.25, 2, True),
            lambda: torchvision.ops.roi_align(planar, boxes, 7, 0.25, 2, True),
        )
    clock.agree(*calls, "float32")
    op = "roi_align_backward" if backward else "roi_align"
    return row(clock, (op, f"{count} boxes, 7x7 bins", "float32", "torchvision"), calls, 0, size)


def nms_row(clock: Clock, n: int) -> Row:
    """Boxes of a detector: a thousand to an image's area of 1,000 x 1,000, whatever n is."""
    corner = uniform(n, 2) * 1000 * (n / 1000) ** 0.5
    boxes = torch.cat([corner, corner + uniform(n, 2) * 100], 1)
    scores = uniform(n)
    kept, known = (len(op(boxes, scores, 0.5)) for op in (ops.nms, torchvision.ops.nms))
    if abs(kept - known) > 1e-3 * known:  # an IoU may be rounded to the other side of the threshold
        raise RuntimeError(f"nms keeps {kept} boxes, torchvision's {known}")
    calls: tuple[Call, Call] = (
        lambda: ops.nms(boxes, scores, 0.5),
        lambda: torchvision.ops.nms(boxes, scores, 0.5),
    )
    return row(clock, ("nms", f"{n} boxes", "float32", "torchvision"), calls, 0, 20.0 * n)


def suppression_rows(clock: Clock, n: int) -> list[Row]:
    """The kin of nms that torchvision lacks, beside its nms on as many boxes."""
    corner = uniform(n, 2) * 1000 * (n / 1000) ** 0.5
    size = 20 + uniform(n, 2) * 80
    boxes = torch.cat([corner, corner + size], 1)
    rotated = torch.cat([corner + size / 2, size, uniform(n, 1) * 360], 1)
    scores = uniform(n)
    ours: dict[str, Call] = {
        "nms_rotated": lambda: ops.nms_rotated(rotated, scores, 0.5),
        "soft_nms": lambda: ops.soft_nms(boxes, scores, score_threshold=0.05),
        "matrix_nms": lambda: ops.matrix_nms(boxes, scores),
    }
    return [
        row(
            clock, (op, f"{n} boxes", "float32", "torchvision nms"),
            (call, lambda: torchvision.ops.nms(boxes, scores, 0.5)), 0, 20.0 * n,
        )
        for op, call in ours.items()
    ]  # fmt: skip


def map_rows(clock: Clock, dtype: str) -> list[Row]:
    """What does nothing but move memory, beside torch; GB/s are of what must be read and written once."""
    kind, functional = DTYPES[dtype], torch.nn.functional
    channels, extent = SIZES.maps
    planar = normal(SIZES.batch, channels, extent, extent).to(kind)
    x = planar.contiguous(memory_format=torch.channels_last)
    y, places = functional.max_pool2d(x, 3, 2, 1, return_indices=True)
    shape = tuple(x.shape)
    height, width = SIZES.picture
    side = SIZES.prepared
    picture = (uniform(height, width, 3) * 256).byte()
    mean, std = (torch.tensor(values).cuda() for values in ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4]))

    def torch_prepares() -> object:
        resized = functional.interpolate(
            picture.permute(2, 0, 1)[None].float(), (side, side), mode="bilinear", align_corners=False
        )
        return ((resized.permute(0, 2, 3, 1) - mean) / std).to(kind)

    def resizing(of: torch.Tensor, scale: float, mode: str, antialias: bool = False) -> tuple[Call, Call]:
        calls = (
            lambda: ops.interpolate(of, scale_factor=scale, mode=mode, antialias=antialias),
            lambda: functional.interpolate(of, scale_factor=scale, mode=mode, antialias=antialias),
        )
        clock.agree(*calls, dtype)
        return calls

    grid = uniform(SIZES.batch, extent, extent, 2).to(kind) * 2 - 1
    grad = torch.randn_like(x)
    turned = np.array([[0.9, 0.2, 100], [-0.2, 0.9, 200]])

    aten, name = torch.ops.aten, f"{channels}x{extent}², batch {SIZES.batch}"
    cases: list[tuple[str, str, tuple[Call, Call], int]] = [
        ("max_pool2d", f"{name}, 3x3/2",
         (lambda: ops.max_pool2d(x, 3, 2, 1), lambda: functional.max_pool2d(x, 3, 2, 1)), moved(x, y)),
        ("max_pool2d_backward", f"{name}, 3x3/2",
         (lambda: ops.max_pool2d_backward(y, places, shape, 3, 2, 1),
          lambda: aten.max_pool2d_with_indices_backward(y, x, [3], [2], [1], [1], False, places)),
         moved(x, y, places)),
        ("avg_pool2d_backward", f"{name}, 3x3/2",
         (lambda: ops.avg_pool2d_backward(y, shape, 3, 2, 1),
          lambda: aten.avg_pool2d_backward(y, x, [3], [2], [1], False, True, None)), moved(x, y)),
        ("interpolate", f"{name}, twofold, channels last", resizing(x, 2, "bilinear"), 5 * moved(x)),
        ("interpolate", f"{name}, twofold, NCHW", resizing(planar, 2, "bilinear"), 5 * moved(planar)),
        ("interpolate", f"{name}, twofold, bicubic, NCHW", resizing(planar, 2, "bicubic"), 5 * moved(planar)),
        ("interpolate", f"{name}, half, antialias, NCHW", resizing(planar, 0.5, "bilinear", True),
         5 * moved(planar) // 4),
        ("pixel_shuffle", f"{name}, twofold, NCHW",
         (lambda: ops.pixel_shuffle(planar, 2), lambda: functional.pixel_shuffle(planar, 2)),
         2 * moved(planar)),
        ("grid_sample", f"{name}, random",
         (lambda: ops.grid_sample(x, grid),
          lambda: functional.grid_sample(planar, grid, align_corners=False)),
         moved(x, x, grid)),
        ("grid_sample_backward", f"{name}, random",
         (lambda: ops.grid_sample_backward(grad, x, grid),
          lambda: aten.grid_sampler_2d_backward(grad, planar, grid, 0, 0, False, [True, True])),
         moved(x, x, x, grid, grid)),
        ("prepare_image", f"{width}x{height} to {side}²",
         (lambda: ops.prepare_image(
             picture, (side, side), mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4), dtype=dtype),
          torch_prepares), moved(picture) + side**2 * 3 * planar.element_size()),
        ("warp_affine", f"{width}x{height}, u8, beside a copy",
         (lambda: ops.warp_affine(picture, turned, (width, height)), picture.clone), 2 * moved(picture)),
    ]  # fmt: skip
    return [
        row(clock, (op, problem, dtype, "torch"), calls, 0, float(size)) for op, problem, calls, size in cases
    ]


FEATURES = ("FAST", "ORB", "SIFT", "SURF", "BRISK", "Harris")


def feature_row(clock: Clock, name: str) -> Row:
    """A detector on smoothed noise, which has corners of every strength, beside itself on the CPU."""
    height, width = SIZES.picture
    pixels = torch.nn.functional.avg_pool2d(torch.rand(1, 1, height + 2, width + 2), 3, 1)[0, 0]
    host = ((pixels - 0.5) * 640 + 128).clamp(0, 255).byte().numpy()
    image = torch.from_numpy(host).cuda()
    detectors: dict[str, Callable[[Any], object]] = {  # those of FEATURES
        "FAST": features.FAST(2000, threshold=20).detect,
        "ORB": features.ORB(2000).detect_and_compute,
        "SIFT": features.SIFT(8000).detect_and_compute,
        "SURF": features.SURF(8000).detect_and_compute,
        "BRISK": features.BRISK(8000).detect_and_compute,
        "Harris": features.Harris(8000).detect,
    }
    calls = partial(detectors[name], image), partial(detectors[name], host)
    return row(clock, (name, f"{height} x {width}", "uint8", "the CPU"), calls, 0, float(image.numel()))


def geometry_row(clock: Clock, n: int) -> Row:
    """A homography from pairs of which half are wrong, beside itself on the CPU."""
    rng = np.random.default_rng(0)
    src = rng.uniform((0, 0), (1920, 1080), (n, 2))
    dst = src * (0.9, 0.85) + (40, 60) + rng.normal(0, 0.5, (n, 2))
    dst[::2] = rng.uniform((0, 0), (1920, 1080), dst[::2].shape)
    held = [torch.from_numpy(points).cuda() for points in (src, dst)]
    calls = (lambda: features.find_homography(*held), lambda: features.find_homography(src, dst))
    return row(clock, ("find_homography", f"{n} pairs", "float64", "the CPU"), calls, 0, 2.0 * src.nbytes)


def match_row(clock: Clock, metric: str) -> Row:
    """Brute force beside torch's product of the same descriptors: SIFT's, or ORB's bits as -1 and 1."""
    n = SIZES.descriptors
    if metric == "l2":
        a, b = (uniform(n, 128).mul(255).floor() for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = True
        norms = (b * b).sum(1)
        calls: tuple[Call, Call] = (
            lambda: features.match(a, b, metric="l2"),
            lambda: (norms - 2 * (a @ b.T)).min(1),
        )
        exact = a.double(), b.double()
        least = torch.cdist(*exact).min(1).values
        clock.agree(lambda: features.match(a, b, metric="l2").distances, lambda: least, "float32")
        names = ("match", f"{n} x {n}, l2, 128 values", "float32", "torch matmul, tf32")
        return row(clock, names, calls, 2.0 * n * n * 128, 2.0 * 4 * n * 128)
    bits = [(uniform(n, 32) * 256).byte() for _ in range(2)]
    places = torch.arange(8).cuda()
    signs = [((x[:, :, None] >> places & 1) * 2 - 1).reshape(n, 256).half() for x in bits]
    calls = (
        lambda: features.match(*bits, metric="hamming"),
        lambda: (signs[0] @ signs[1].T).max(1),
    )
    least = 128 - (signs[0].float() @ signs[1].float().T).max(1).values / 2
    clock.agree(lambda: features.match(*bits, metric="hamming").distances, lambda: least, "float32")
    names = ("match", f"{n} x {n}, Hamming, 256 bits", "uint8", "torch matmul of signs, f16")
    return row(clock, names, calls, 2.0 * n * n * 256, 2.0 * n * 32)


def ceilings(clock: Clock) -> Row:
    """What the card does at best: a copy, and large products."""
    a, b = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    extent, products, copies = 8192, {}, []
    for dtype, kind in DTYPES.items():
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        m = torch.randn(extent, extent, device="cuda", dtype=kind)
        copy, product = np.median(clock.pair(lambda: a.copy_(b), partial(torch.mm, m, m), cold=False), axis=0)
        products[dtype] = 2 * extent**3 / product / 1e9
        copies.append(copy)
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "copy_gb_s": 2 * a.numel() / float(np.median(copies)) / 1e6,
        "gemm_tflop_s": products,
    }


Task = Callable[[], Row | list[Row]]


def families(clock: Clock) -> Iterator[tuple[str, Task]]:
    """Every family once or a few times, by its name."""
    for dtype in ("float16", "float32"):
        for channels, extent in SIZES.deformed:
            case = ConvCase(extent, extent, channels, channels, 3, 1, (1, 1, 1, 1))
            yield "deform_conv2d", partial(deform_row, clock, case, dtype)
    for count in SIZES.regions[::-1]:
        for backward in (False, True):
            yield "roi_align", partial(roi_row, clock, count, backward)
    for n in SIZES.boxes:
        yield "nms", partial(nms_row, clock, n)
    for metric in ("l2", "hamming"):
        yield "match", partial(match_row, clock, metric)
    for dtype in ("float16", "float32"):
        for channels, extent in SIZES.deformed:
            case = ConvCase(extent, extent, channels, channels, 3, 1, (1, 1, 1, 1))
            yield "separable_conv2d", partial(separable_row, clock, case, dtype)
            yield "deform_conv2d_backward", partial(deform_backward_row, clock, case, dtype)
        yield "multi_scale_deformable_attention", partial(attention_row, clock, dtype)
        yield "maps", partial(map_rows, clock, dtype)
    for dtype in ("float16", "bfloat16", "float32"):
        for channels, extent, stride in SIZES.learned:
            for groups in (1, channels):
                case = ConvCase(extent, extent, channels, channels, 3, stride, (1, 1, 1, 1), groups=groups)
                yield "conv2d_backward", partial(conv_backward_row, clock, case, dtype)
    for dtype in DTYPES:
        for enlargement in SIZES.enlarged:
            yield "conv_transpose2d", partial(transpose_row, clock, enlargement, dtype)
    yield "suppression", partial(suppression_rows, clock, SIZES.boxes[0])
    for name in FEATURES:
        yield name, partial(feature_row, clock, name)
    for n in SIZES.pairs:
        yield "find_homography", partial(geometry_row, clock, n)


Layer = tuple[ConvCase, str]  # and its dtype


def telling_layers(quick: bool) -> list[Layer]:
    """ResNet-50's dense convolutions and MobileNet's depthwise ones in float16; half of them where quick."""
    kinds = ("resnet50", False), ("mobilenet_v2", True)
    cases = [case for network, kind in kinds for case in problems_of(network) if is_depthwise(case) == kind]
    return [(case, "float16") for case in cases[:: 2 if quick else 1]]


def layers(quick: bool) -> list[Layer]:
    """All networks' convolutions, each once; every fourth of each network before the next, or these alone."""
    step = 4
    found = [
        (case, dtype)
        for first in range(1 if quick else step)
        for dtype in DTYPES
        for network in NETWORKS
        for case in problems_of(network)[first::step]
    ]
    return list(dict.fromkeys(found))


def problems_of(network: str) -> list[ConvCase]:
    """Those whose padding torch has, too; of ResNeXt those in groups alone, for the others are ResNet's."""
    problems = [layer.problem for layer in load_network(network).layers]
    return [
        case
        for case in problems
        if case.padding[:2] == case.padding[2:] and (case.groups > 1 or network != "resnext50_32x4d")
    ]


def is_depthwise(case: ConvCase) -> bool:
    return case.groups == case.in_channels > 1


def in_order(clock: Clock, quick: bool) -> Iterator[tuple[str, Task]]:
    """All tasks, what tells most first."""
    telling = telling_layers(quick)
    yield from (conv_task(clock, *layer) for layer in telling)
    yield from families(clock)
    yield from (conv_task(clock, *layer) for layer in layers(quick) if layer not in telling)


def conv_task(clock: Clock, case: ConvCase, dtype: str) -> tuple[str, Task]:
    kind = "depthwise_conv2d" if is_depthwise(case) else "conv2d"
    return f"{kind} {dtype}", partial(conv_row, clock, case, dtype)


# What a family's first task may take: modules are loaded, algorithms searched; some are several rows.
FIRST_SECONDS = {"maps": 18.0, "suppression": 8.0}
OTHERS_SECONDS = 4.0


def measure(
    all_tasks: Iterable[tuple[str, Task]], seconds: float, save: Callable[[Row], object], result: Row
) -> None:
    """Add the rows of the tasks that can be expected to end within so many seconds to ``result``; `save` is
    called after each. ``result["next"]``: the first task that was not looked at.

    Raises:
        DeviceLostError: an error left the device unusable to this process. The op is among
            ``result["broken"]``, whose tasks are left out.
    """
    begun = time.monotonic()
    for index, (op, task) in enumerate(all_tasks):
        if index < result["next"]:
            continue
        result["next"] = index + 1
        started = time.monotonic()
        expected = result["seconds"].get(op, FIRST_SECONDS.get(op, OTHERS_SECONDS))
        if op in result["broken"] or started - begun + expected > seconds:
            result["left_out"][op] = result["left_out"].get(op, 0) + 1
            continue
        try:
            found = task()
        except Exception as error:
            traceback.print_exc()
            result["failed"].append({"op": op, "error": f"{type(error).__name__}: {error}"})
            if not usable():
                result["broken"].append(op)
                raise DeviceLostError(op) from error
        else:
            for line in found if isinstance(found, list) else [found]:
                result["rows"].append(line)
                print(f"{line['op']} {line['problem']} {line['dtype']}: {line['ratio']:.2f}", flush=True)
        finally:
            result["seconds"][op] = time.monotonic() - started
            save(result)


class DeviceLostError(RuntimeError):
    """After an access to no memory, for one, every call of this process fails."""


def usable() -> bool:
    """Whether the device still answers this process."""
    try:
        torch.cuda.synchronize()
    except Exception:
        return False
    return True


def write_whole(path: Path, content: Row) -> None:
    """The file is never seen half written, whenever this process is ended."""
    partial_path = path.with_suffix(".partial")
    partial_path.write_text(json.dumps(content))
    os.replace(partial_path, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=600, help="begin no row that may not end within")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and layers")
    parser.add_argument("--go-on", action="store_true", help="with what the file lacks")
    options = parser.parse_args()
    begun = time.monotonic()
    search_all_algorithms(torch)
    clock = Clock(5 if options.quick else 15, 0.05 if options.quick else 0.2)
    result: Row
    if options.go_on:
        result = json.loads(options.file.read_text())
    else:
        result = {"rows": [], "failed": [], "left_out": {}, "broken": [], "seconds": {}, "next": 0}
        result["machine"] = ceilings(clock)

    def left() -> float:
        return float(options.seconds) - (time.monotonic() - begun)

    try:
        measure(in_order(clock, options.quick), left(), partial(write_whole, options.file), result)
    except DeviceLostError:
        command = [sys.executable, "-m", "gpu_timings", options.file, "--go-on", "--seconds", f"{left():.0f}"]
        sys.exit(subprocess.call([*command, "--quick"] if options.quick else command))
    write_whole(options.file, result)
    left_out = sum(result["left_out"].values())
    print(f"{len(result['rows'])} rows, {len(result['failed'])} failed, {left_out} left out")


if __name__ == "__main__":
    main()
