# SPDX-License-Identifier: Apache-2.0
# Arrays are NumPy's, C-contiguous float32 and (N, H, W, C) unless said otherwise; wrong ones raise.
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float32]
_Pair = Sequence[int]

__version__: str

# CPU dispatch and threads
def isa() -> str: ...
def isa_reason() -> str: ...
def set_isa(name: str) -> None: ...
def supported_isas() -> list[str]: ...
def kernel_isas() -> dict[str, str]: ...
def num_threads() -> int: ...
def num_threads_reason() -> str: ...
def set_num_threads(count: int) -> None: ...

# Convolutions
class Conv2d:
    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: _Pair = ...,
        padding: Sequence[int] = ...,
        dilation: _Pair = ...,
        groups: int = 1,
        activation: str = "none",
        slope: float = ...,
        algorithm: str = "auto",
        input_size: _Pair = ...,
    ) -> None: ...
    def run(
        self, input: np.ndarray, residual: np.ndarray | None = None, out: np.ndarray | None = None
    ) -> _Floats: ...
    @property
    def algorithm(self) -> str: ...
    @property
    def packed_bytes(self) -> int: ...

class ConvTranspose2d:
    def __init__(
        self,
        weight: np.ndarray,
        bias: np.ndarray | None = None,
        stride: _Pair = ...,
        padding: _Pair = ...,
        output_padding: _Pair = ...,
        groups: int = 1,
        dilation: _Pair = ...,
        activation: str = "none",
        slope: float = ...,
    ) -> None: ...
    def run(self, input: np.ndarray) -> _Floats: ...
    @property
    def packed_bytes(self) -> int: ...

# Maps
def nchw_to_nhwc(input: np.ndarray) -> _Floats: ...
def nhwc_to_nchw(input: np.ndarray) -> _Floats: ...
def softmax(input: np.ndarray, dim: int) -> _Floats: ...

# Measuring: FLOP and bytes per second
def measure_fma_peak(seconds: float, threads: int) -> float: ...
def measure_copy_bandwidth(bytes: int, seconds: float, threads: int) -> float: ...
