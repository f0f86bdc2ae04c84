# SPDX-License-Identifier: Apache-2.0
"""What runs, and why: the facts behind `pyvision info`, and the number of threads."""

from __future__ import annotations

import platform
from typing import SupportsIndex

import numpy as np

from pyvision import _core
from pyvision._backend import cuda_state


def describe() -> dict[str, str]:
    """The configuration in force as label -> text."""
    return {
        "pyvision": _core.__version__,
        "kernels": f"{_core.isa()} ({_core.isa_reason()})",
        "this CPU has": ", ".join(_core.supported_isas()),
        "threads": f"{_core.num_threads()} ({_core.num_threads_reason()})",
        "CUDA": cuda_state(),
        "Python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "NumPy": np.__version__,
    }


def show_config() -> None:
    """Print the version, the instruction set and thread count in use and why, and the state of CUDA."""
    facts = describe()
    width = max(map(len, facts))
    for label, text in facts.items():
        print(f"{label:<{width}}  {text}")


def get_num_threads() -> int:
    """How many threads the CPU kernels use, the calling one included."""
    count: int = _core.num_threads()
    return count


def set_num_threads(n: SupportsIndex) -> None:
    """Use `n` threads (1 to 4096) from the next call on. Results do not depend on it.

    The default is what the affinity mask and the cgroup quota grant; PYVISION_NUM_THREADS overrides it.
    """
    from pyvision.ops._args import integer

    count = integer(n, "set_num_threads", "n")
    if not 1 <= count <= 4096:
        raise ValueError(f"[set_num_threads] expected a count in [1, 4096], got {count}")
    _core.set_num_threads(count)
