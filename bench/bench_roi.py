# SPDX-License-Identifier: Apache-2.0
"""Pooling of regions of interest against torchvision: 1,000 boxes of 32 to 512 pixels, 7 x 7 bins.

The map is that of stride 4 of an 800 x 1216 image. torchvision takes channels-first maps; ours are timed on
both layouts, with the same result.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import add_torch_case, finish, make_torchvision_importable, new_report, parse_arguments

from pyvision import ops
from pyvision.profile import Report
from pyvision.profile.peers import Floats, require

BOXES, BINS = 1_000, 7
CHANNELS, HEIGHT, WIDTH, SCALE = 256, 200, 304, 0.25
OWN_CHANNELS = 10 * BINS * BINS  # of the position-sensitive ops: Light-Head R-CNN's
RATIO = 2


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("roi")
    make_torchvision_importable()
    rng = np.random.default_rng(0)
    boxes = random_boxes(rng)
    samples = 1e-9 * BOXES * (BINS * RATIO) ** 2 * 8
    for name, channels, extra, backward in (
        ("roi_align", CHANNELS, (RATIO,), True),
        ("roi_pool", CHANNELS, (), False),
        ("ps_roi_align", OWN_CHANNELS, (RATIO,), True),
        ("ps_roi_pool", OWN_CHANNELS, (), False),
    ):
        x = rng.standard_normal((1, channels, HEIGHT, WIDTH), dtype=np.float32)
        outputs = channels // BINS**2 if name.startswith("ps_") else channels
        compare(report, options, name, x, boxes, extra, samples * outputs)
        if backward:
            grad = rng.standard_normal((BOXES, outputs, BINS, BINS), dtype=np.float32)
            compare_backward(report, options, name, x, boxes, extra, grad, 2 * samples * outputs)
    finish(report, options)


def random_boxes(rng: np.random.Generator) -> Floats:
    """(K, 5): sides spread evenly over the octaves, anywhere in the image."""
    sides = np.exp(rng.uniform(np.log(32), np.log(512), (BOXES, 2)))
    corner = rng.uniform(0, 1, (BOXES, 2)) * (np.array([WIDTH, HEIGHT]) / SCALE - sides)
    return np.concatenate([np.zeros((BOXES, 1)), corner, corner + sides], axis=1).astype(np.float32)


def compare(
    report: Report, options: argparse.Namespace, name: str, x: Floats, boxes: Floats, extra: tuple[int, ...],
    gflop: float,
) -> None:  # fmt: skip
    op = getattr(ops, name)

    def peer(x: Any, boxes: Any) -> Any:
        return getattr(require("torchvision").ops, name)(x, boxes, BINS, SCALE, *extra)

    for layout in ("NHWC", "NCHW"):
        run = _runner(op, layout, x, boxes, extra)
        add_torch_case(
            report, options, f"{name} {layout}, {BOXES} boxes, {x.shape[1]} channels", run,
            [_first(run(), layout)], gflop, {}, ("torchvision", lambda torch: torch.forward(peer, x, boxes)),
        )  # fmt: skip


def _runner(
    op: Callable[..., Floats], layout: str, x: Floats, boxes: Floats, extra: tuple[int, ...]
) -> Callable[[], Floats]:
    mine = x if layout == "NCHW" else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return lambda: op(mine, boxes, BINS, SCALE, *extra, layout=layout)


def compare_backward(
    report: Report, options: argparse.Namespace, name: str, x: Floats, boxes: Floats, extra: tuple[int, ...],
    grad: Floats, gflop: float,
) -> None:  # fmt: skip
    op = getattr(ops, f"{name}_backward")

    def peer(x: Any) -> Any:
        torch = require("torch")
        return getattr(require("torchvision").ops, name)(x, torch.from_numpy(boxes), BINS, SCALE, *extra)

    for layout in ("NHWC", "NCHW"):
        order = (0, 1, 2, 3) if layout == "NCHW" else (0, 2, 3, 1)
        mine = np.ascontiguousarray(grad.transpose(order))
        shape = tuple(x.shape[i] for i in order)

        def run(mine: Floats = mine, shape: tuple[int, ...] = shape, layout: str = layout) -> Floats:
            return op(mine, boxes, shape, SCALE, *extra, layout=layout)

        add_torch_case(
            report, options, f"{name} {layout}, {BOXES} boxes, {x.shape[1]} channels, backward", run,
            [_first(run(), layout)], gflop, {},
            ("torchvision", lambda torch: torch.backward(peer, grad, x)),
        )  # fmt: skip


def _first(y: Floats, layout: str) -> Floats:
    return y if layout == "NCHW" else np.ascontiguousarray(y.transpose(0, 3, 1, 2))


if __name__ == "__main__":
    main()
