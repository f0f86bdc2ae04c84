# SPDX-License-Identifier: Apache-2.0
"""conv2d on the layers of ResNet-50 (224 pixels) and NanoDet-g (416 pixels), weights packed beforehand.

pyvision and torch take and give channels-last images. OpenVINO, ONNX Runtime, ncnn and OpenCV are given a
model of one layer, channels first, as their interfaces have it: any reordering they do inside is part of
their time.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from _common import add_case, candidates, drop_wrong, finish, new_report, parse_arguments, time_case

from pyvision import _core
from pyvision.profile import Case
from pyvision.profile.peers import PEERS, ConvCase, Floats, prepare_all


def _layer(network: str, size: int, c_in: int, c_out: int, kernel: int, stride: int = 1) -> ConvCase:
    pad = kernel // 2
    step = f"/{stride}" if stride > 1 else ""
    name = f"{network} {kernel}x{kernel}{step} {size}² {c_in}→{c_out}"
    return ConvCase(name, size, size, c_in, c_out, kernel, stride, (pad, pad, pad, pad))


# (size of the input map, in channels, out channels, kernel, stride)
_RESNET50 = (
    (224, 3, 64, 7, 2),
    (56, 64, 64, 3, 1),
    (28, 128, 128, 3, 1),
    (14, 256, 256, 3, 1),
    (7, 512, 512, 3, 1),
    (56, 64, 64, 1, 1),
    (56, 64, 256, 1, 1),
    (56, 256, 64, 1, 1),
    (56, 256, 128, 1, 2),
    (28, 128, 512, 1, 1),
    (28, 512, 128, 1, 1),
    (14, 256, 1024, 1, 1),
    (14, 1024, 256, 1, 1),
    (7, 512, 2048, 1, 1),
    (7, 2048, 512, 1, 1),
)
_NANODET_G = (
    (416, 3, 32, 3, 2),
    (104, 32, 32, 3, 1),
    (104, 32, 16, 3, 1),
    (104, 16, 16, 3, 1),
    (104, 64, 64, 3, 2),
    (52, 64, 32, 3, 1),
    (52, 32, 32, 3, 1),
    (52, 64, 64, 3, 1),
    (52, 128, 128, 1, 1),
    (52, 128, 128, 3, 2),
    (26, 128, 64, 3, 1),
    (26, 64, 64, 3, 1),
    (26, 128, 128, 3, 1),
    (26, 256, 128, 1, 1),
    (26, 256, 256, 3, 2),
    (13, 256, 128, 3, 1),
    (13, 128, 128, 3, 1),
    (13, 256, 256, 3, 1),
    (13, 512, 128, 1, 1),
    (52, 128, 128, 3, 1),
    (52, 128, 124, 1, 1),
    (26, 128, 124, 1, 1),
    (13, 128, 124, 1, 1),
)
CASES = tuple(_layer("ResNet-50", *row) for row in _RESNET50) + tuple(
    _layer("NanoDet-g", *row) for row in _NANODET_G
)


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("conv2d")
    rng = np.random.default_rng(0)
    for case in CASES:
        if options.only not in case.name:
            continue
        weight = _normal(rng, case.weight_shape) / np.float32(np.sqrt(np.prod(case.weight_shape[1:])))
        bias = _normal(rng, (case.out_channels,))
        nhwc = _normal(rng, (case.batch, case.height, case.width, case.in_channels))
        nchw = np.ascontiguousarray(nhwc.transpose(0, 3, 1, 2))

        layer, ours, out = _prepare(case, weight, bias, nhwc, "auto")
        ours()
        ready, absent = prepare_all(
            PEERS,
            lambda peer: peer.conv2d(case, weight, bias, nchw, options.threads),  # noqa: B023 (called here)
        )
        # Winograd's rounding, at either side, is the widest; outputs are of order 1.
        drop_wrong([out.transpose(0, 3, 1, 2)], ready, absent, tolerance=1e-3)
        times, peak = time_case(options, candidates(ours, ready))
        add_case(report, Case(case.name, times, peak, case.gflop, note=layer.algorithm, absent=absent))
        if layer.algorithm.startswith("winograd"):  # its rate counts the direct method's operations
            layer, ours, _ = _prepare(case, weight, bias, nhwc, "direct")
            times, peak = time_case(options, candidates(ours, {}))
            add_case(report, Case(f"{case.name}, direct", times, peak, case.gflop, note=layer.algorithm))
    finish(report, options)


def _prepare(
    case: ConvCase, weight: Floats, bias: Floats, nhwc: Floats, algorithm: str
) -> tuple[_core.Conv2d, Callable[[], object], Floats]:
    """The layer, a call that runs it, and where the call leaves its result."""
    layer = _core.Conv2d(
        weight,
        bias,
        stride=(case.stride,) * 2,
        padding=case.padding,
        groups=case.groups,
        algorithm=algorithm,
        input_size=(case.height, case.width),
    )
    out = np.empty((case.batch, *case.out_size, case.out_channels), np.float32)
    return layer, lambda: layer.run(nhwc, out=out), out


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    return rng.standard_normal(shape, dtype=np.float32)


if __name__ == "__main__":
    main()
