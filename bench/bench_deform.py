# SPDX-License-Identifier: Apache-2.0
"""Deformable convolution against torchvision and our dense one, deformable attention against grid_sample.

pyvision takes channels-last maps, torchvision channels-first ones. The peer of deformable attention is the
formulation in torch that its authors give for machines without their CUDA kernel: one grid_sample per level.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from _common import add_torch_case, finish, make_torchvision_importable, new_report, parse_arguments

from pyvision import _core
from pyvision.profile import Report
from pyvision.profile.peers import Floats, require

# A stage-4 map of a detector at 800 x 1216; (channels, height, width, offset groups)
CONVOLUTIONS = ((256, 50, 76, 1), (128, 100, 152, 1), (512, 25, 38, 4))
LEVELS = ((100, 134), (50, 67), (25, 34), (13, 17))  # Deformable DETR's, strides 8 to 64 of 800 x 1066
HEADS, CHANNELS, POINTS = 8, 32, 4
QUERIES = (900, 20_000)
_ONE = (1, 1)


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("deform")
    make_torchvision_importable()
    rng = np.random.default_rng(0)
    for channels, height, width, groups in CONVOLUTIONS:
        convolution(report, options, rng, channels, height, width, groups)
    for queries in QUERIES:
        attention(report, options, rng, queries)
    finish(report, options)


def convolution(
    report: Report, options: argparse.Namespace, rng: np.random.Generator,
    channels: int, height: int, width: int, groups: int,
) -> None:  # fmt: skip
    name = f"deform_conv2d 3x3 {height}x{width} {channels}→{channels}, mask, {groups} offset groups"
    if options.only not in name and options.only not in f"{name}, backward":
        return
    x = _normal(rng, (1, height, width, channels))
    weight = _normal(rng, (channels, channels, 3, 3)) / np.float32(3 * np.sqrt(channels))
    offset = _normal(rng, (1, 18 * groups, height, width))
    mask = rng.random((1, 9 * groups, height, width), np.float32)
    bias, grad = _normal(rng, (channels,)), _normal(rng, (1, height, width, channels))
    dense = _core.Conv2d(weight, bias, padding=(1, 1, 1, 1), algorithm="direct")

    def first(nhwc: Floats) -> Floats:
        return np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))

    def forward() -> Floats:
        return _core.deform_conv2d(x, offset, weight, bias, mask, _ONE, _ONE, _ONE)

    def backward() -> tuple[Floats | None, ...]:
        return _core.deform_conv2d_backward(grad, x, offset, weight, mask, _ONE, _ONE, _ONE)

    def call(x: Any, offset: Any, weight: Any, bias: Any, mask: Any) -> Any:
        return require("torchvision").ops.deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)

    arrays = first(x), offset, weight, bias, mask
    gflop = 2e-9 * 9 * channels**2 * height * width
    add_torch_case(
        report, options, name, forward, [first(forward())], gflop, {"our dense conv2d": lambda: dense.run(x)},
        ("torchvision", lambda torch: torch.forward(call, *arrays)),
    )  # fmt: skip
    gradients = [g if i in (2, 3) else first(g) for i, g in enumerate(backward()) if g is not None]
    add_torch_case(
        report, options, f"{name}, backward", backward, gradients, 2 * gflop, {},
        ("torchvision", lambda torch: torch.backward(call, first(grad), *arrays)),
    )  # fmt: skip


def attention(report: Report, options: argparse.Namespace, rng: np.random.Generator, queries: int) -> None:
    name = f"deformable attention, {queries} queries, {HEADS} x {CHANNELS}, {len(LEVELS)} levels of {POINTS}"
    if options.only not in name and options.only not in f"{name}, backward":
        return
    shapes = np.array(LEVELS)
    samples = 1, queries, HEADS, len(LEVELS), POINTS
    value = _normal(rng, (1, int(shapes.prod(axis=1).sum()), HEADS, CHANNELS))
    locations, weights = rng.random((*samples, 2), np.float32), rng.random(samples, np.float32)
    grad = _normal(rng, (1, queries, HEADS * CHANNELS))

    def forward() -> Floats:
        return _core.multi_scale_deformable_attention(value, shapes, locations, weights)

    def backward() -> tuple[Floats, ...]:
        return _core.multi_scale_deformable_attention_backward(grad, value, shapes, locations, weights)

    def call(value: Any, locations: Any, weights: Any) -> Any:
        torch = require("torch")
        maps, grids, sampled = value.split([h * w for h, w in LEVELS], dim=1), 2 * locations - 1, []
        for level, (h, w) in enumerate(LEVELS):
            image = maps[level].flatten(2).transpose(1, 2).reshape(HEADS, CHANNELS, h, w)
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
            sampled.append(torch.nn.functional.grid_sample(image, grid, align_corners=False))
        factors = weights.transpose(1, 2).reshape(HEADS, 1, queries, len(LEVELS) * POINTS)
        y = (torch.stack(sampled, dim=-2).flatten(-2) * factors).sum(-1)
        return y.reshape(1, HEADS * CHANNELS, queries).transpose(1, 2)

    gflop = 1e-9 * queries * HEADS * len(LEVELS) * POINTS * CHANNELS * 8
    arrays = value, locations, weights
    add_torch_case(
        report, options, name, forward, [forward()], gflop, {},
        ("grid_sample in torch", lambda torch: torch.forward(call, *arrays)),
    )  # fmt: skip
    add_torch_case(
        report, options, f"{name}, backward", backward, list(backward()), 2 * gflop, {},
        ("grid_sample in torch", lambda torch: torch.backward(call, grad, *arrays)),
    )  # fmt: skip


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


if __name__ == "__main__":
    main()
