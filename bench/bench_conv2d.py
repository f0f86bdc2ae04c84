# SPDX-License-Identifier: Apache-2.0
"""conv2d on the layers of ResNet-50, ResNeXt-50, VGG-16 (224 pixels), NanoDet-g (416 pixels) and DeepLabV3
(513 pixels), timed by pyvision.profile. A layer that an earlier network has too is not repeated.

Where Winograd is chosen, the direct method is timed too.
"""

from __future__ import annotations

from dataclasses import replace

from _common import add_case, budget, finish, new_report, parse_arguments

from pyvision.profile import load_network, time_conv2d
from pyvision.profile.peers import PEERS

NETWORKS = ("resnet50", "resnext50_32x4d", "vgg16", "nanodet_g", "deeplabv3")


def main() -> None:
    options = parse_arguments(__doc__)
    report = new_report("conv2d")
    seen = set()
    for network in map(load_network, NETWORKS):
        for problem in (layer.problem for layer in network.layers):
            name = f"{network.title} {problem.name}"
            if options.only not in name or problem in seen:
                continue
            seen.add(problem)
            timed = time_conv2d(problem, PEERS, budget=budget(options))
            add_case(report, replace(timed.case, name=name))
            if timed.algorithm.startswith("winograd"):  # its rate counts the direct method's operations
                direct = time_conv2d(problem, algorithm="direct", budget=budget(options))
                add_case(report, replace(direct.case, name=f"{name}, direct"))
    finish(report, options)


if __name__ == "__main__":
    main()
