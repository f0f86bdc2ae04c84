# SPDX-License-Identifier: Apache-2.0
"""Timing, machine ceilings, peers and reports: how fast the kernels are, and against what.

>>> from pyvision.profile import compare
>>> result = compare({"ours": lambda: ours(x), "peer": lambda: peer(x)})
>>> result.median_ms("ours"), result.ratio("ours", "peer").median
"""

from __future__ import annotations

from pyvision.profile.conv2d import ConvReport, ConvTime, choose_layers, time_conv2d
from pyvision.profile.layers import LayerReport, LayerTime, profile_layers
from pyvision.profile.machine import Budget, Machine, Peak, compare_with_peak, describe_machine, measure_peak
from pyvision.profile.networks import Layer, Network, list_networks, load_network
from pyvision.profile.report import Case, Report
from pyvision.profile.timing import Comparison, Ratio, compare

__all__ = [
    "Budget",
    "Case",
    "Comparison",
    "ConvReport",
    "ConvTime",
    "Layer",
    "LayerReport",
    "LayerTime",
    "Machine",
    "Network",
    "Peak",
    "Ratio",
    "Report",
    "choose_layers",
    "compare",
    "compare_with_peak",
    "describe_machine",
    "list_networks",
    "load_network",
    "measure_peak",
    "profile_layers",
    "time_conv2d",
]
