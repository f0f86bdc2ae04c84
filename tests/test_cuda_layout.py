# SPDX-License-Identifier: Apache-2.0
"""Transposition on CUDA, of items of every size."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision._device import device_of
from tests.cuda_device import Cuda


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "int64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 33, 70), (3, 64, 5)])
def test_transposition(cuda: Cuda, shape: tuple[int, int, int], dtype: str) -> None:
    x = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    on = cuda.array(x)
    device = device_of("transpose", input=on)
    assert device is not None
    batch, rows, columns = shape
    y = device.transposed(device.take(on, "transpose", "input", (dtype,)), shape, (batch, columns, rows))
    np.testing.assert_array_equal(cuda.numpy(device.give(y)), x.transpose(0, 2, 1))
