# SPDX-License-Identifier: Apache-2.0
"""Our GPU kernels beside cuDNN (through torch, channels_last, its exhaustive search) and torchvision.

Ours and the peer's are called in turn, each between two events of the stream; a round's ratio is of
neighbours in time.
Started by gpu_check.py: python -m gpu_timings FILE [--quick]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision

from pyvision import features, ops
from pyvision.profile.networks import load_network
from pyvision.profile.peers import ConvCase

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0", "deeplabv3")
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "tf32": torch.float32,
    "float32": torch.float32,
}
BATCH = 32
NMS_SIZES = (1000, 10_000, 100_000)

Call = Callable[[], object]


class Clock:
    """Milliseconds of a call on the current stream, with L2 as the call before left it, or flushed."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self._flush = torch.empty(256 << 20, dtype=torch.uint8, device="cuda")  # larger than any L2

    def pair(self, ours: Call, peer: Call, *, cold: bool) -> np.ndarray:
        """(rounds, 2) milliseconds."""
        for call in (ours, peer):
            for _ in range(3):
                call()
        return np.array([[self._once(call, cold) for call in (ours, peer)] for _ in range(self.rounds)])

    def _once(self, call: Call, cold: bool) -> float:
        repeats = 1 if cold else 5
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._flush.zero_() if cold else call()
        begin.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / repeats


def row(
    clock: Clock, names: tuple[str, str, str, str], calls: tuple[Call, Call], flop: float, size: float
) -> dict[str, Any]:
    """One line of the report; names: op, problem, dtype, peer; size: bytes that have to move."""
    warm, cold = (clock.pair(*calls, cold=state) for state in (False, True))
    ratios = warm[:, 1] / warm[:, 0]
    p10, ratio, p90 = np.percentile(ratios, (10, 50, 90))
    ours, peer = np.median(warm, axis=0)
    return {
        **dict(zip(("op", "problem", "dtype", "peer"), names, strict=True)),
        "ours_ms": ours, "peer_ms": peer, "ratio": ratio, "ratio_p10": p10, "ratio_p90": p90,
        "ratio_cold": float(np.median(cold[:, 1] / cold[:, 0])),
        "tflop_s": flop / ours / 1e9, "gb_s": size / ours / 1e6,
    }  # fmt: skip


def conv_row(clock: Clock, case: ConvCase, dtype: str) -> dict[str, Any]:
    """The same convolution by both; the padding of every network here is the same on both sides."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
    kind, channels_last = DTYPES[dtype], torch.channels_last
    depthwise = case.groups == case.in_channels > 1
    shapes = (
        (BATCH, case.in_channels, case.height, case.width),
        (case.out_channels, case.in_channels // case.groups, case.kernel, case.kernel),
    )
    x, weight = (
        torch.randn(shape, device="cuda").to(kind).contiguous(memory_format=channels_last) for shape in shapes
    )
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
    flop = 2.0 * y.numel() * weight[0].numel()
    size = sum(t.numel() * t.element_size() for t in (x, weight, y))
    names = ("depthwise_conv2d" if depthwise else "conv2d", f"{case.name}, batch {BATCH}", dtype, "cuDNN")
    return row(clock, names, (ours, cudnn), flop, size)


def conv_backward_row(clock: Clock, case: ConvCase, dtype: str) -> dict[str, Any]:
    """The gradients of input and weight, which autograd asks cuDNN for together."""
    kind, channels_last = DTYPES[dtype], torch.channels_last
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    padding, channels = case.padding[0], case.in_channels // case.groups
    shapes = (
        (BATCH, case.in_channels, case.height, case.width),
        (case.out_channels, channels, case.kernel, case.kernel),
        (BATCH, case.out_channels, *case.out_size),
    )
    x, weight, grad = (
        torch.randn(shape, device="cuda").to(kind).contiguous(memory_format=channels_last) for shape in shapes
    )
    mask = (True, True, False)
    depthwise = case.groups == case.in_channels > 1
    geometry = case.stride, padding, case.dilation

    def ours() -> object:
        if depthwise:
            return ops.depthwise_conv2d_backward(grad, x, weight, *geometry, output_mask=mask)
        return ops.conv2d_backward(grad, x, weight, *geometry, case.groups, output_mask=mask)

    def cudnn() -> object:
        return torch.ops.aten.convolution_backward(
            grad, x, weight, None, *([extent] * 2 for extent in geometry), False, [0, 0], case.groups, mask
        )

    flop = 4.0 * grad.numel() * weight[0].numel()
    size = 2.0 * sum(t.numel() * t.element_size() for t in (x, weight, grad))
    names = (
        "depthwise_conv2d_backward" if depthwise else "conv2d_backward",
        f"{case.name}, batch {BATCH}",
        dtype,
        "cuDNN",
    )
    return row(clock, names, (ours, cudnn), flop, size)


def transpose_row(clock: Clock, channels: int, extent: int, dtype: str) -> dict[str, Any]:
    """4x4 kernels with stride 2, which double a map."""
    kind, channels_last = DTYPES[dtype], torch.channels_last
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    x, weight = (
        torch.randn(shape, device="cuda").to(kind).contiguous(memory_format=channels_last)
        for shape in ((BATCH, channels, extent, extent), (channels, channels // 2, 4, 4))
    )
    calls: tuple[Call, Call] = (
        lambda: ops.conv_transpose2d(x, weight, None, 2, 1),
        lambda: torch.nn.functional.conv_transpose2d(x, weight, None, 2, 1),
    )
    flop = 2.0 * x.numel() * weight[0].numel()
    size = float(sum(t.numel() * t.element_size() for t in (x, weight, x, x)))
    name = f"4x4/2 {extent}² {channels}→{channels // 2}, batch {BATCH}"
    return row(clock, ("conv_transpose2d", name, dtype, "cuDNN"), calls, flop, size)


def deform_row(clock: Clock, case: ConvCase, dtype: str) -> dict[str, Any]:
    """Version 2 on the problem of a dense convolution, offsets of about a pixel."""
    kind = DTYPES[dtype]
    out_h, out_w = case.out_size
    taps = case.kernel**2
    x, offset, mask, weight = (
        torch.randn(shape, device="cuda").to(kind)
        for shape in (
            (BATCH, case.in_channels, case.height, case.width),
            (BATCH, 2 * taps, out_h, out_w),
            (BATCH, taps, out_h, out_w),
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
    flop = 2.0 * BATCH * out_h * out_w * weight.numel()
    size = sum(t.numel() * t.element_size() for t in (x, offset, mask, weight))
    return row(
        clock, ("deform_conv2d", f"{case.name}, batch {BATCH}", dtype, "torchvision"), calls, flop, size
    )


def deform_backward_row(clock: Clock, case: ConvCase, dtype: str) -> dict[str, Any]:
    """All gradients of version 2, which autograd asks torchvision for together."""
    kind, taps = DTYPES[dtype], case.kernel**2
    x, offset, mask, weight, grad = (
        torch.randn(shape, device="cuda").to(kind)
        for shape in (
            (BATCH, case.in_channels, case.height, case.width),
            (BATCH, 2 * taps, *case.out_size),
            (BATCH, taps, *case.out_size),
            (case.out_channels, case.in_channels, case.kernel, case.kernel),
            (BATCH, case.out_channels, *case.out_size),
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
    size = 2.0 * sum(t.numel() * t.element_size() for t in (x, offset, mask, weight))
    names = ("deform_conv2d_backward", f"{case.name}, batch {BATCH}", dtype, "torchvision")
    return row(clock, names, calls, flop, size)


def attention_row(clock: Clock, dtype: str) -> dict[str, Any]:
    """Deformable DETR's encoder on an image of 800 x 1,066, beside grid_sample."""
    kind, shapes = DTYPES[dtype], ((100, 134), (50, 67), (25, 34), (13, 17))
    pixels, heads, channels, points = sum(h * w for h, w in shapes), 8, 32, 4
    value = torch.randn(1, pixels, heads, channels, device="cuda").to(kind)
    locations = torch.rand(1, pixels, heads, 4, points, 2, device="cuda").to(kind)
    weights = torch.rand(1, pixels, heads, 4, points, device="cuda").to(kind)
    sizes = torch.tensor(shapes, device="cuda")

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
    size = float(sum(t.numel() * t.element_size() for t in (value, locations, weights, value)))
    names = ("multi_scale_deformable_attention", f"{pixels} queries", dtype, "grid_sample")
    return row(clock, names, calls, 8.0 * weights.numel() * channels, size)


def roi_row(clock: Clock, count: int, backward: bool) -> dict[str, Any]:
    """Boxes of a detector's second stage on its finest map, (2, 256, 200, 304) at a quarter of the image."""
    x = torch.randn(2, 256, 200, 304, device="cuda").contiguous(memory_format=torch.channels_last)
    corner = torch.rand(count, 2, device="cuda") * torch.tensor([1100.0, 700.0], device="cuda")
    image = torch.randint(0, 2, (count, 1), device="cuda").float()
    boxes = torch.cat([image, corner, corner + 20 + torch.rand(count, 2, device="cuda") * 100], 1)
    planar = x.contiguous()
    grad = torch.randn(count, 256, 7, 7, device="cuda")
    grad_last = grad.contiguous(memory_format=torch.channels_last)
    size = 4.0 * count * 49 * 256
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
    op = "roi_align_backward" if backward else "roi_align"
    return row(clock, (op, f"{count} boxes, 7x7 bins", "float32", "torchvision"), calls, 0, size)


def nms_row(clock: Clock, n: int) -> dict[str, Any]:
    """Boxes of a detector: a thousand to an image's area of 1,000 x 1,000, whatever n is."""
    corner = torch.rand(n, 2, device="cuda") * 1000 * (n / 1000) ** 0.5
    boxes = torch.cat([corner, corner + torch.rand(n, 2, device="cuda") * 100], 1)
    scores = torch.rand(n, device="cuda")
    assert torch.equal(ops.nms(boxes, scores, 0.5), torchvision.ops.nms(boxes, scores, 0.5))
    calls: tuple[Call, Call] = (
        lambda: ops.nms(boxes, scores, 0.5),
        lambda: torchvision.ops.nms(boxes, scores, 0.5),
    )
    return row(clock, ("nms", f"{n} boxes", "float32", "torchvision"), calls, 0, 20.0 * n)


def suppression_rows(clock: Clock, n: int) -> list[dict[str, Any]]:
    """The kin of nms that torchvision lacks, beside its nms on as many boxes."""
    corner = torch.rand(n, 2, device="cuda") * 1000 * (n / 1000) ** 0.5
    size = 20 + torch.rand(n, 2, device="cuda") * 80
    boxes = torch.cat([corner, corner + size], 1)
    rotated = torch.cat([corner + size / 2, size, torch.rand(n, 1, device="cuda") * 360], 1)
    scores = torch.rand(n, device="cuda")
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


def map_rows(clock: Clock, dtype: str) -> list[dict[str, Any]]:
    """What does nothing but move memory, beside torch; GB/s are of what must be read and written once."""
    kind, functional = DTYPES[dtype], torch.nn.functional
    planar = torch.randn(BATCH, 64, 112, 112, device="cuda").to(kind)
    x = planar.contiguous(memory_format=torch.channels_last)
    y, places = functional.max_pool2d(x, 3, 2, 1, return_indices=True)
    shape = tuple(x.shape)
    picture = torch.randint(0, 256, (1080, 1920, 3), device="cuda", dtype=torch.uint8)
    mean, std = (
        torch.tensor(values, device="cuda") for values in ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4])
    )

    def torch_prepares() -> object:
        resized = functional.interpolate(
            picture.permute(2, 0, 1)[None].float(), (640, 640), mode="bilinear", align_corners=False
        )
        return ((resized.permute(0, 2, 3, 1) - mean) / std).to(kind)

    def bilinear(of: torch.Tensor) -> tuple[Call, Call]:
        return (
            lambda: ops.interpolate(of, scale_factor=2, mode="bilinear"),
            lambda: functional.interpolate(of, scale_factor=2, mode="bilinear"),
        )

    grid = torch.rand(BATCH, 112, 112, 2, device="cuda").to(kind) * 2 - 1
    grad = torch.randn_like(x)
    turned = np.array([[0.9, 0.2, 100], [-0.2, 0.9, 200]])

    def moved(*tensors: torch.Tensor) -> int:
        return sum(t.numel() * t.element_size() for t in tensors)

    aten, name = torch.ops.aten, f"64x112², batch {BATCH}"
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
        ("interpolate", f"{name}, twofold, channels last", bilinear(x), 5 * moved(x)),
        ("interpolate", f"{name}, twofold, NCHW", bilinear(planar), 5 * moved(planar)),
        ("grid_sample", f"{name}, random",
         (lambda: ops.grid_sample(x, grid),
          lambda: functional.grid_sample(planar, grid, align_corners=False)),
         moved(x, x, grid)),
        ("grid_sample_backward", f"{name}, random",
         (lambda: ops.grid_sample_backward(grad, x, grid),
          lambda: aten.grid_sampler_2d_backward(grad, planar, grid, 0, 0, False, [True, True])),
         moved(x, x, x, grid, grid)),
        ("prepare_image", "1920x1080 to 640²",
         (lambda: ops.prepare_image(
             picture, (640, 640), mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4), dtype=dtype),
          torch_prepares), moved(picture) + 640 * 640 * 3 * planar.element_size()),
        ("warp_affine", "1920x1080, u8, beside a copy",
         (lambda: ops.warp_affine(picture, turned, (1920, 1080)), picture.clone), 2 * moved(picture)),
    ]  # fmt: skip
    return [
        row(clock, (op, problem, dtype, "torch"), calls, 0, float(size)) for op, problem, calls, size in cases
    ]


def feature_rows(clock: Clock, height: int, width: int) -> list[dict[str, Any]]:
    """Detectors on smoothed noise, which has corners of every strength, beside themselves on the CPU."""
    pixels = torch.nn.functional.avg_pool2d(torch.rand(1, 1, height + 2, width + 2), 3, 1)[0, 0]
    host = ((pixels - 0.5) * 640 + 128).clamp(0, 255).byte().numpy()
    image = torch.from_numpy(host).cuda()
    detectors: dict[str, Callable[[Any], object]] = {
        "FAST": features.FAST(2000, threshold=20).detect,
        "ORB": features.ORB(2000).detect_and_compute,
        "SIFT": features.SIFT(8000).detect_and_compute,
        "SURF": features.SURF(8000).detect_and_compute,
        "BRISK": features.BRISK(8000).detect_and_compute,
    }
    return [
        row(clock, (name, f"{height} x {width}", "uint8", "the CPU"),
            (partial(detect, image), partial(detect, host)), 0, float(image.numel()))
        for name, detect in detectors.items()
    ]  # fmt: skip


def geometry_row(clock: Clock, n: int) -> dict[str, Any]:
    """A homography from pairs of which half are wrong, beside itself on the CPU."""
    rng = np.random.default_rng(0)
    src = rng.uniform((0, 0), (1920, 1080), (n, 2))
    dst = src * (0.9, 0.85) + (40, 60) + rng.normal(0, 0.5, (n, 2))
    dst[::2] = rng.uniform((0, 0), (1920, 1080), dst[::2].shape)
    held = [torch.from_numpy(points).cuda() for points in (src, dst)]
    calls = (lambda: features.find_homography(*held), lambda: features.find_homography(src, dst))
    return row(clock, ("find_homography", f"{n} pairs", "float64", "the CPU"), calls, 0, 2.0 * src.nbytes)


def ceilings(clock: Clock) -> dict[str, Any]:
    """What the card does at best: a copy, and a large f16 product."""
    a, b = (torch.empty(1 << 30, dtype=torch.uint8, device="cuda") for _ in range(2))
    m = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    times = clock.pair(lambda: a.copy_(b), lambda: m @ m, cold=False)
    copy, product = np.median(times, axis=0)
    return {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
        "copy_gb_s": 2 * a.numel() / copy / 1e6,
        "gemm_tflop_s": 2 * 8192**3 / product / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    clock = Clock(5 if options.quick else 15)
    result: dict[str, Any] = {"machine": ceilings(clock), "rows": []}

    def add(line: dict[str, Any]) -> None:
        result["rows"].append(line)
        options.file.write_text(json.dumps(result))  # what was measured stays if time runs out
        print(f"{line['op']} {line['problem']} {line['dtype']}: {line['ratio']:.2f}", flush=True)

    for n in NMS_SIZES:
        add(nms_row(clock, n))
    for line in suppression_rows(clock, 1000):
        add(line)
    for line in feature_rows(clock, 1080, 1920):
        add(line)
    for n in (500, 50_000):
        add(geometry_row(clock, n))
    for count in (100, 1000):
        for backward in (False, True):
            add(roi_row(clock, count, backward))
    for dtype in ("float16", "float32"):
        for line in map_rows(clock, dtype):
            add(line)
        for channels, extent in ((256, 56), (512, 28)):
            case = ConvCase(extent, extent, channels, channels, 3, 1, (1, 1, 1, 1))
            add(deform_row(clock, case, dtype))
            add(deform_backward_row(clock, case, dtype))
        add(attention_row(clock, dtype))
    for dtype in ("float16", "float32"):
        add(transpose_row(clock, 256, 14, dtype))
        for channels, extent, stride in ((64, 56, 1), (256, 14, 1), (128, 28, 2)):
            for groups in (1, channels):
                case = ConvCase(extent, extent, channels, channels, 3, stride, (1, 1, 1, 1), groups=groups)
                add(conv_backward_row(clock, case, dtype))
    for dtype in ("float16",) if options.quick else DTYPES:
        for network in NETWORKS[: 2 if options.quick else None]:
            for layer in load_network(network).layers[:: 4 if options.quick else 1]:
                top, left, bottom, right = layer.problem.padding
                if (top, left) == (bottom, right):
                    add(conv_row(clock, layer.problem, dtype))


if __name__ == "__main__":
    main()
