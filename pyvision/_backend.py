# SPDX-License-Identifier: Apache-2.0
"""The only file that knows that the CUDA extension may be absent."""

from __future__ import annotations

from importlib.util import find_spec


def cuda_state() -> str:
    """Whether the GPU kernels are at hand, and why, for people."""
    if find_spec("pyvision._cuda") is None:
        return "not built into this wheel"
    return "built in"
