# SPDX-License-Identifier: Apache-2.0
"""Timing, machine ceilings, peers and reports: how fast the kernels are, and against what.

>>> from pyvision.profile import compare
>>> result = compare({"ours": lambda: ours(x), "peer": lambda: peer(x)})
>>> result.median_ms("ours"), result.ratio("ours", "peer").median
"""

from __future__ import annotations

from pyvision.profile.layers import LayerReport, LayerTime, profile_layers
from pyvision.profile.machine import Machine, Peak, describe_machine, measure_peak
from pyvision.profile.report import Case, Report
from pyvision.profile.timing import Comparison, Ratio, compare

__all__ = [
    "Case",
    "Comparison",
    "LayerReport",
    "LayerTime",
    "Machine",
    "Peak",
    "Ratio",
    "Report",
    "compare",
    "describe_machine",
    "measure_peak",
    "profile_layers",
]
