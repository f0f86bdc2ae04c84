# SPDX-License-Identifier: Apache-2.0
"""Transposed convolutions that double a map: 2x2/2 (U-Net), 4x4/2 (DCGAN, pose networks), 3x3/2 (ESPNet).

torch takes and gives channels-last images, the peers that run ONNX channels-first ones, as their interfaces
have it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision import _core
from pyvision.profile.machine import compare_with_peak
from pyvision.profile.peers import PEERS, Floats, Prepared, candidates, drop_wrong, prepare_all, require
from pyvision.profile.report import Case


@dataclass(frozen=True)
class Problem:
    """A square transposed convolution of stride 2 whose result is twice as large."""

    size: int
    in_channels: int
    out_channels: int
    kernel: int
    padding: int = 0
    output_padding: int = 0

    @property
    def name(self) -> str:
        return f"{self.kernel}x{self.kernel}/2 {self.size}² {self.in_channels}→{self.out_channels}"

    @property
    def gflop(self) -> float:
        return 2e-9 * self.size**2 * self.in_channels * self.out_channels * self.kernel**2

    @property
    def gbyte(self) -> float:
        maps = self.size**2 * (self.in_channels + 4 * self.out_channels)
        return 4e-9 * (maps + self.kernel**2 * self.in_channels * self.out_channels)


KERNELS = ({"kernel": 2}, {"kernel": 4, "padding": 1}, {"kernel": 3, "padding": 1, "output_padding": 1})
SIZES = ((56, 32, 32), (56, 64, 32), (28, 128, 64), (28, 256, 128), (14, 256, 256))
PROBLEMS = [Problem(*size, **kernel) for kernel in KERNELS for size in SIZES]


def onnx_model(problem: Problem, weight: Floats, bias: Floats) -> bytes:
    onnx = require("onnx")
    helper, floats, p = onnx.helper, onnx.TensorProto.FLOAT, problem
    node = helper.make_node(
        "ConvTranspose", ["x", "weight", "bias"], ["y"], kernel_shape=[p.kernel] * 2, strides=[2, 2],
        pads=[p.padding] * 4, output_padding=[p.output_padding] * 2,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "conv_transpose",
        [helper.make_tensor_value_info("x", floats, [1, p.in_channels, p.size, p.size])],
        [helper.make_tensor_value_info("y", floats, [1, p.out_channels, 2 * p.size, 2 * p.size])],
        [onnx.numpy_helper.from_array(weight, "weight"), onnx.numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


def torch_run(problem: Problem, weight: Floats, bias: Floats, x: Floats, threads: int) -> Prepared:
    torch = require("torch")
    torch.set_num_threads(threads)
    image, kernels = (torch.from_numpy(a).contiguous(memory_format=torch.channels_last) for a in (x, weight))
    shift = torch.from_numpy(bias)
    latest: list[Any] = []

    def run() -> None:
        with torch.no_grad():
            latest[:] = [
                torch.nn.functional.conv_transpose2d(
                    image, kernels, shift, 2, problem.padding, problem.output_padding
                )
            ]

    return Prepared(run, lambda: [y.numpy() for y in latest])


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("conv_transpose2d")
    threads = _core.num_threads()
    rng = np.random.default_rng(0)
    for problem in PROBLEMS:
        if options.only not in problem.name:
            continue
        p = problem
        shape = (p.in_channels, p.out_channels, p.kernel, p.kernel)
        weight = rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(p.in_channels * p.kernel**2))
        bias = rng.standard_normal(p.out_channels, np.float32)
        x = rng.standard_normal((1, p.size, p.size, p.in_channels), np.float32)
        planes = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        conv = _core.ConvTranspose2d(
            weight, bias, (2, 2), (p.padding,) * 2, (p.output_padding,) * 2, input_size=(p.size,) * 2
        )

        def make(peer: Any, arguments: Any = (problem, weight, bias, planes)) -> Prepared:
            if peer.key == "torch":
                return torch_run(*arguments, threads)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "conv_transpose.onnx"
                path.write_bytes(onnx_model(*arguments[:3]))
                prepared: Prepared = peer.model(path, arguments[3], threads)
                return prepared

        ready, absent = prepare_all(PEERS, make)
        drop_wrong([conv.run(x).transpose(0, 3, 1, 2)], ready, absent, tolerance=1e-3)
        runs = candidates(lambda c=conv, image=x: c.run(image), ready)
        times, peak = compare_with_peak(runs, budget(options))
        add_case(report, Case(p.name, times, peak, p.gflop, p.gbyte, absent=absent))
    finish(report, options)


if __name__ == "__main__":
    main()
