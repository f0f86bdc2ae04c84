# SPDX-License-Identifier: Apache-2.0
"""Optical flow and CLAHE on a photograph of 1920 x 1080 pixels, against OpenCV.

OpenCV has no Horn-Schunck: beside it stand the two dense methods it has, which compute something else.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import finish, new_report, parse_arguments
from bench_features import HEIGHT, WIDTH, add, photograph

from pyvision import flow, ops
from pyvision.profile.peers import Run

MOTION = np.array([[1.005, 0.01, 3.3], [-0.008, 0.995, -2.1]])


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("flow")
    a = photograph()
    b = ops.warp_affine(a, MOTION, (WIDTH, HEIGHT), border_mode="reflect")
    add(report, options, "horn_schunck (DIS)", lambda: flow.horn_schunck(a, b), lambda cv2: dis_of(cv2, a, b))
    add(
        report,
        options,
        "horn_schunck (Farneback)",
        lambda: flow.horn_schunck(a, b),
        lambda cv2: lambda: cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 5, 15, 3, 5, 1.2, 0),
    )
    rng = np.random.default_rng(0)
    for count in (500, 5000):
        points = rng.uniform((30, 30), (WIDTH - 30, HEIGHT - 30), (count, 2)).astype(np.float32)
        add(
            report,
            options,
            f"lucas_kanade, {count} points",
            lambda points=points: flow.lucas_kanade(a, b, points),
            lambda cv2, points=points: lambda: cv2.calcOpticalFlowPyrLK(a, b, points, None),
        )
    add(report, options, "clahe", lambda: ops.clahe(a), lambda cv2: clahe_of(cv2, a))
    finish(report, options)


def dis_of(cv2: Any, a: np.ndarray, b: np.ndarray) -> Run:
    method = cv2.DISOpticalFlow_create()
    return lambda: method.calc(a, b, None)


def clahe_of(cv2: Any, a: np.ndarray) -> Run:
    method = cv2.createCLAHE()
    return lambda: method.apply(a)


if __name__ == "__main__":
    main()
