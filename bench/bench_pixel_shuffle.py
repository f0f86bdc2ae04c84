# SPDX-License-Identifier: Apache-2.0
"""pixel_shuffle and its inverse against torch: the last step of super-resolution, and U-Net's halving."""

from __future__ import annotations

from typing import Any

import numpy as np
from _common import add_torch_case, finish, new_report, parse_arguments

from pyvision import ops
from pyvision.profile.peers import Floats

CASES = [((1, 12, 540, 960), 2), ((1, 27, 360, 640), 3), ((1, 256, 64, 64), 2)]


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("pixel_shuffle")
    for shape, factor in CASES:
        x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        for op in ("pixel_shuffle", "pixel_unshuffle"):
            given = x if op == "pixel_shuffle" else ops.pixel_shuffle(x, factor)
            ours = getattr(ops, op)

            def run(given: Floats = given, factor: int = factor, ours: Any = ours) -> Floats:
                return ours(given, factor)

            def peer(y: Any, factor: int = factor, op: str = op) -> Any:
                return getattr(__import__("torch").nn.functional, op)(y, factor)

            add_torch_case(
                report, options, f"{op}, {' x '.join(map(str, given.shape))}, factor {factor}", run, [run()],
                None, {}, ("torch", lambda torch, given=given, peer=peer: torch.forward(peer, given)),
                2e-9 * given.nbytes,
            )  # fmt: skip
    finish(report, options)


if __name__ == "__main__":
    main()
