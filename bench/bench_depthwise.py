# SPDX-License-Identifier: Apache-2.0
"""The depthwise convolutions of MobileNetV2 and EfficientNet-B0 (224 pixels), timed by pyvision.profile."""

from __future__ import annotations

from dataclasses import replace

from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision.profile import load_network, time_conv2d
from pyvision.profile.peers import PEERS


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("depthwise")
    for network in map(load_network, ("mobilenet_v2", "efficientnet_b0")):
        for problem in (layer.problem for layer in network.layers):
            name = f"{network.title} {problem.name}"
            if problem.groups == problem.in_channels > 1 and options.only in name:
                timed = time_conv2d(problem, PEERS, budget=budget(options))
                add_case(report, replace(timed.case, name=name))
    finish(report, options)


if __name__ == "__main__":
    main()
