# SPDX-License-Identifier: Apache-2.0
"""conv2d_backward (gradients of input, weight and bias) on layers of ResNet-50 beside torch's autograd.

Both are given and give channels-last maps and weights, and pack nothing beforehand.
"""

from __future__ import annotations

import numpy as np
from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision import ops
from pyvision.profile import Case, compare_with_peak
from pyvision.profile.peers import ConvCase, Floats, Prepared, Unavailable, candidates, require

CASES = tuple(
    ConvCase(size, size, c_in, c_out, kernel, stride, (kernel // 2,) * 4, batch=batch)
    for size, c_in, c_out, kernel, stride, batch in (
        (56, 64, 64, 3, 1, 1),
        (28, 128, 128, 3, 1, 1),
        (14, 256, 256, 3, 1, 1),
        (7, 512, 512, 3, 1, 1),
        (56, 128, 128, 3, 2, 1),
        (56, 64, 256, 1, 1, 1),
        (56, 256, 64, 1, 1, 1),
        (14, 1024, 256, 1, 1, 1),
        (56, 256, 512, 1, 2, 1),
        (224, 3, 64, 7, 2, 1),
        (56, 64, 64, 3, 1, 8),
        (7, 512, 512, 3, 1, 8),
    )
)


def torch_backward(case: ConvCase, data: list[Floats], threads: int) -> Prepared:
    """What autograd calls for a convolution; `data` is the output's gradient, the input and the weight."""
    torch = require("torch")
    torch.set_num_threads(threads)
    tensors = [torch.from_numpy(a).permute(0, 3, 1, 2) for a in data]
    latest: list[list[Floats]] = [[]]
    square = [case.padding[0]] * 2, [case.dilation] * 2

    def run() -> None:
        latest[0] = torch.ops.aten.convolution_backward(
            *tensors, [case.out_channels], [case.stride] * 2, *square, False, [0, 0], case.groups, [True] * 3
        )

    return Prepared(run, lambda: [gradient.numpy() for gradient in latest[0]])


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("conv2d_backward")
    rng = np.random.default_rng(0)
    for case in CASES:
        if options.only not in case.name:
            continue
        shapes = (
            (case.batch, *case.out_size, case.out_channels),
            (case.batch, case.height, case.width, case.in_channels),
            (case.out_channels, case.kernel, case.kernel, case.in_channels // case.groups),
        )
        data = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
        nchw = [a.transpose(0, 3, 1, 2) for a in data]

        def ours(case: ConvCase = case, nchw: list[Floats] = nchw) -> tuple[Floats, ...]:
            return ops.conv2d_backward(*nchw, case.stride, case.padding[:2], case.dilation, case.groups)  # type: ignore[return-value]

        ready: dict[str, Prepared] = {}
        absent: dict[str, str] = {}
        try:
            prepared = torch_backward(case, data, options.threads)
        except Unavailable as reason:
            absent["torch"] = str(reason)
        else:
            prepared.run()
            # Sums of up to 25,000 products of order 1, or of 4608 through Winograd.
            same = all(
                np.allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())
                for a, b in zip(ours(), prepared.outputs(), strict=True)
            )
            if same:
                ready["torch"] = prepared
            else:
                absent["torch"] = "its outputs differ from ours"
        times, peak = compare_with_peak(candidates(ours, ready), budget(options))
        gflop = 2 * case.gflop  # as much again for each of the two gradients
        add_case(report, Case(case.name, times, peak, gflop, absent=absent))
    finish(report, options)


if __name__ == "__main__":
    main()
