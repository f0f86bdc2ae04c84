# SPDX-License-Identifier: Apache-2.0
"""What threads give: the 1x1 and 3x3 layers of stride 1 of ResNet-50, by the direct method, with all of
``--threads`` (at least two) and with one, in turns. The FMA peak is that of all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision import _core
from pyvision.profile import Case, compare, load_network, measure_peak
from pyvision.profile.conv2d import random_problem
from pyvision.profile.peers import ConvCase
from pyvision.profile.report import OURS


def main() -> None:
    options = parse_arguments(__doc__)
    threads = max(2, options.threads)
    _core.set_num_threads(threads)
    report = new_report("threads")
    time = budget(options)
    for problem in (layer.problem for layer in load_network("resnet50").layers):
        if problem.stride > 1 or options.only not in problem.name:
            continue
        runs = {"one thread": direct(problem, 1), OURS: direct(problem, threads)}
        _core.set_num_threads(threads)
        peak = measure_peak()
        times = compare(runs, rounds=time.rounds, min_time=time.min_time)
        add_case(report, Case(problem.name, times, peak, problem.gflop, problem.gbyte))
    finish(report, options)


def direct(problem: ConvCase, threads: int) -> Callable[[], object]:
    weight, bias, x = random_problem(problem, np.random.default_rng(0))
    layer = _core.Conv2d(weight, bias, padding=problem.padding, algorithm="direct")
    y = layer.run(x)

    def run() -> None:
        _core.set_num_threads(threads)  # 0.2 us where it stays
        layer.run(x, out=y)

    return run


if __name__ == "__main__":
    main()
