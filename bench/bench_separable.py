# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2's blocks (224 pixels), fused, against our own convolutions one after the other.

The rate, in percent of the FMA peak, says how much of a time is no longer there to be fused away.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision import _core
from pyvision.profile import Case, Report, compare_with_peak
from pyvision.profile.peers import Floats, Prepared, candidates, drop_wrong


class Block(NamedTuple):
    """Extents in pixels; a residual where nothing changes them."""

    size: int
    in_channels: int
    channels: int
    stride: int
    out_channels: int

    @property
    def name(self) -> str:
        return f"{self.size}² {self.in_channels}→{self.channels}/{self.stride}→{self.out_channels}"


BLOCKS = tuple(
    Block(*numbers)
    for numbers in (
        (112, 16, 96, 2, 24),
        (56, 24, 144, 1, 24),
        (56, 24, 144, 2, 32),
        (28, 32, 192, 1, 32),
        (28, 32, 192, 2, 64),
        (14, 64, 384, 1, 64),
        (14, 64, 384, 1, 96),
        (14, 96, 576, 1, 96),
        (14, 96, 576, 2, 160),
        (7, 160, 960, 1, 160),
        (7, 160, 960, 1, 320),
    )
)
# The first block expands nothing.
PAIRS = (Block(112, 32, 32, 1, 16), *BLOCKS)


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("separable")
    for block in BLOCKS:
        add(report, options, block, expands=True)
    for block in PAIRS:
        add(report, options, block, expands=False)
    finish(report, options)


def add(report: Report, options: argparse.Namespace, block: Block, *, expands: bool) -> None:
    """Time one inverted residual, or its depthwise-separable half."""
    size, in_channels, channels, stride, out_channels = block
    kind = "inverted residual" if expands else "depthwise separable"
    name = f"{kind} {block.name if expands else block.name.split('→', 1)[1]}"
    if options.only not in name:
        return
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Floats:
        return rng.standard_normal(shape, dtype=np.float32)

    weights = (
        normal(channels, in_channels, 1, 1),
        normal(channels, 1, 3, 3),
        normal(out_channels, channels, 1, 1),
    )
    expand_bias, bias, project_bias = normal(channels), normal(channels), normal(out_channels)
    window = (stride, stride), (1, 1, 1, 1), (1, 1)
    relu6 = "relu6", 0.01
    expand = _core.Conv2d(weights[0], expand_bias, activation="relu6")
    depthwise = _core.Conv2d(weights[1], bias, *window, channels, "relu6")
    project = _core.Conv2d(weights[2], project_bias)
    x = normal(1, size, size, in_channels if expands else channels)
    residual = x if expands and stride == 1 and in_channels == out_channels else None
    large = expand.run(x) if expands else x
    middle = depthwise.run(large)
    y = project.run(middle, residual)

    def parts() -> None:
        if expands:
            expand.run(x, None, large)
        depthwise.run(large, None, middle)
        project.run(middle, residual, y)

    if expands:
        fused = _core.InvertedResidual(*weights, expand_bias, bias, project_bias, *window, *relu6, *relu6)
        outputs, run = fused.run(x, residual), lambda: fused.run(x, residual)
    else:
        pair = _core.SeparableConv2d(*weights[1:], bias, project_bias, *window, channels, *relu6)
        outputs, run = pair.run(x), lambda: pair.run(x)
    ready, absent = {"its parts": Prepared(parts, lambda: [y])}, dict[str, str]()
    drop_wrong([outputs], ready, absent, tolerance=0.0)
    times, peak = compare_with_peak(candidates(run, ready), budget(options))
    multiplies = middle.size * (9 + out_channels) + (large.size * in_channels if expands else 0)
    add_case(report, Case(name, times, peak, 2e-9 * multiplies, absent=absent))


if __name__ == "__main__":
    main()
