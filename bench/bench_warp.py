# SPDX-License-Identifier: Apache-2.0
"""Warps of a photograph of 1920 x 1080 pixels against OpenCV, and grid_sample against torch.

OpenCV's older kernels take positions in 32nds of a pixel; ours are exact, and 8-bit weights have 256 steps.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from _common import ROOT, add_torch_case, finish, new_report, parse_arguments
from bench_features import HEIGHT, WIDTH, add
from PIL import Image

from pyvision import ops
from pyvision.profile import Report

TILTED = np.array([[0.9, 0.1, 40], [-0.05, 0.95, 30], [1e-5, -2e-5, 1]])
SIZE = (WIDTH, HEIGHT)


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("warp")
    photo = photograph()
    for dtype in (np.uint8, np.float32):
        for channels in (1, 3):
            image = np.ascontiguousarray(photo[:, :, :channels], dtype)
            for mode, flag in (("nearest", 0), ("bilinear", 1), ("bicubic", 2)):
                add(
                    report,
                    options,
                    f"warp_perspective, {mode}, {np.dtype(dtype).name}, {channels} channels",
                    lambda image=image, mode=mode: ops.warp_perspective(
                        image, TILTED, SIZE, interpolation=mode
                    ),
                    lambda cv2, image=image, flag=flag: (
                        lambda: cv2.warpPerspective(image, TILTED, SIZE, flags=flag)
                    ),
                )
    add(
        report,
        options,
        "warp_affine, bilinear, uint8, 3 channels",
        lambda: ops.warp_affine(photo, TILTED[:2], SIZE),
        lambda cv2: lambda: cv2.warpAffine(photo, TILTED[:2], SIZE),
    )
    x, y = (a.astype(np.float32) for a in np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)))
    bent = x + 20 * np.sin(y / 50), y + 20 * np.cos(x / 70)
    add(
        report,
        options,
        "remap, bilinear, uint8, 3 channels",
        lambda: ops.remap(photo, *bent),
        lambda cv2: lambda: cv2.remap(photo, *bent, cv2.INTER_LINEAR),
    )
    for mode in ("bilinear", "bicubic"):
        compare_grid_sample(report, options, mode)
    finish(report, options)


def photograph() -> np.ndarray:
    """The example picture, repeated."""
    with Image.open(ROOT / "examples" / "astronaut.jpg") as image:
        rgb = np.asarray(image.convert("RGB"))
    repeats = (-(-HEIGHT // rgb.shape[0]), -(-WIDTH // rgb.shape[1]), 1)
    return np.ascontiguousarray(np.tile(rgb, repeats)[:HEIGHT, :WIDTH])


def compare_grid_sample(report: Report, options: argparse.Namespace, mode: Any) -> None:
    """A map of 64 channels sampled beside its pixels, as an image that a network aligns with another."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 64, 128, 160), dtype=np.float32)
    rows, columns = np.meshgrid(np.linspace(-1, 1, 128), np.linspace(-1, 1, 160), indexing="ij")
    grid = np.stack([columns, rows], axis=2)[None] + rng.normal(0, 0.02, (1, 128, 160, 2))
    grid = grid.astype(np.float32)
    name = f"grid_sample, {mode}, 64 x 128 x 160"
    gflop = 2e-9 * x.size * (4 if mode == "bilinear" else 16)

    def call(a: Any, g: Any) -> Any:
        from torch.nn import functional

        return functional.grid_sample(a, g, mode=mode, align_corners=False)

    y = ops.grid_sample(x, grid, mode)
    add_torch_case(
        report, options, name, lambda: ops.grid_sample(x, grid, mode), [y], gflop, {},
        ("torch", lambda torch: torch.forward(call, x, grid)),
    )  # fmt: skip
    gradients = ops.grid_sample_backward(y, x, grid, mode)
    add_torch_case(
        report, options, f"{name}, backward", lambda: ops.grid_sample_backward(y, x, grid, mode),
        list(gradients), 2 * gflop, {}, ("torch", lambda torch: torch.backward(call, y, x, grid)),
    )  # fmt: skip


if __name__ == "__main__":
    main()
