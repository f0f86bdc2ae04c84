# SPDX-License-Identifier: Apache-2.0
"""Resizing and its gradient against torch: pictures of three channels, and feature maps.

Maps of ours are NHWC, torch's channels_last: either library's better side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import add_torch_case, finish, new_report, parse_arguments

from pyvision import ops
from pyvision.profile.peers import Floats

PICTURE, MAP = (1080, 1920, 3), (100, 152, 64)
CASES: list[tuple[tuple[int, int, int], tuple[int, int], dict[str, Any]]] = [
    (PICTURE, (640, 640), {"mode": "bilinear"}),
    (PICTURE, (640, 640), {"mode": "bilinear", "antialias": True}),
    (PICTURE, (640, 640), {"mode": "bicubic", "antialias": True}),
    (MAP, (200, 304), {"mode": "nearest"}),
    (MAP, (200, 304), {"mode": "bilinear"}),
    (MAP, (200, 304), {"mode": "bicubic"}),
    (MAP, (50, 76), {"mode": "area"}),
]


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("interpolate")
    rng = np.random.default_rng(0)
    for (height, width, channels), size, how in CASES:
        x = rng.standard_normal((1, height, width, channels), dtype=np.float32)
        grad = rng.standard_normal((1, *size, channels), dtype=np.float32)
        words = " ".join(str(value) if name == "mode" else name for name, value in how.items())
        name = f"{words}, {height} x {width} x {channels} to {size[0]} x {size[1]}"

        def resize(x: Any, size: tuple[int, int] = size, how: dict[str, Any] = how) -> Any:
            torch = __import__("torch")
            return torch.nn.functional.interpolate(x.permute(0, 3, 1, 2), size, **how).permute(0, 2, 3, 1)

        def forward(x: Floats = x, size: tuple[int, int] = size, how: dict[str, Any] = how) -> Floats:
            return ops.interpolate(x, size, **how, layout="NHWC")

        def backward(
            grad: Floats = grad, x: Floats = x, size: tuple[int, int] = size, how: dict[str, Any] = how
        ) -> Floats:
            return ops.interpolate_backward(grad, x.shape, size, **how, layout="NHWC")

        add_torch_case(
            report, options, name, forward, [forward()], None, {},
            ("torch", lambda torch, x=x: torch.forward(resize, x)), 1e-9 * (x.nbytes + grad.nbytes),
        )  # fmt: skip
        add_torch_case(
            report, options, f"{name}, backward", backward, [backward()], None, {},
            ("torch", lambda torch, x=x, grad=grad: torch.backward(resize, grad, x)),
            1e-9 * (x.nbytes + grad.nbytes),
        )  # fmt: skip
    finish(report, options)


if __name__ == "__main__":
    main()
