# SPDX-License-Identifier: Apache-2.0
"""The only file that knows that the CUDA extension may be absent."""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

_NAME = "pyvision._cuda"


class CudaError(RuntimeError):
    """The GPU kernels cannot run here: no driver, an older one, an unsupported GPU. Says what to do."""


def cuda_kernels() -> ModuleType | None:
    """The extension with the GPU kernels, or None where it was not built. Loading it needs no driver."""
    if _NAME not in sys.modules and not _is_built():
        return None
    return import_module(_NAME)


def cuda_state() -> str:
    """Whether the GPU kernels are at hand, and why, for people. Asks the driver."""
    kernels = cuda_kernels()
    if kernels is None:
        return "not built into this wheel"
    try:
        devices = [kernels.device_info(index) for index in range(kernels.device_count())]
    except CudaError as error:
        return f"built in, not usable: {error}"
    return ", ".join(f"{name} (compute capability {major}.{minor})" for name, major, minor in devices)


@cache
def _is_built() -> bool:
    return find_spec(_NAME) is not None
