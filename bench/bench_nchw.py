# SPDX-License-Identifier: Apache-2.0
"""What channels-first callers pay: conv2d on NCHW maps beside the same convolution on NHWC maps."""

from __future__ import annotations

import numpy as np
from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision import _core
from pyvision.profile.machine import compare_with_peak
from pyvision.profile.peers import ConvCase
from pyvision.profile.report import OURS, Case

PROBLEMS = [ConvCase(size, size, 64, 64, 3, padding=(1, 1, 1, 1)) for size in (56, 112, 224)]


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("nchw")
    rng = np.random.default_rng(0)
    for problem in PROBLEMS:
        x = rng.standard_normal((1, problem.height, problem.width, problem.in_channels), np.float32)
        weight = rng.standard_normal(problem.weight_shape, np.float32)
        planes = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        for algorithm in ("auto", "direct"):
            size = problem.height, problem.width
            conv = _core.Conv2d(weight, padding=problem.padding, algorithm=algorithm, input_size=size)
            name = problem.name + (", direct" if algorithm == "direct" else "")
            if options.only not in name:
                continue
            runs = {OURS: lambda c=conv: c.run_nchw(planes), "NHWC": lambda c=conv: c.run(x)}  # noqa: B023
            times, peak = compare_with_peak(runs, budget(options))
            add_case(report, Case(name, times, peak, problem.gflop, problem.gbyte, conv.algorithm, {}))
    finish(report, options)


if __name__ == "__main__":
    main()
