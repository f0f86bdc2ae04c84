# SPDX-License-Identifier: Apache-2.0
"""NHWC ops whose inputs and outputs touch unmapped memory: a vector one lane too far would crash."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pyvision import _core
from tests._guard import guarded
from tests.helpers import random

Out = np.ndarray | None
CALLS: dict[str, Callable[[np.ndarray, np.ndarray, Out], np.ndarray]] = {
    "activate": lambda x, b, out: _core.activate(x, "gelu", out=out),
    "add": lambda x, b, out: _core.add(x, b, out=out),
    "mul_add": lambda x, b, out: _core.mul_add(x, b, x, "relu", out=out),
    "max_pool2d": lambda x, b, out: _core.max_pool2d(
        x, (2, 2), (1, 1), (1, 1, 1, 1), (1, 1), False, False, out=out
    ),
    "avg_pool2d": lambda x, b, out: _core.avg_pool2d(
        x, (3, 2), (2, 1), (1, 0, 1, 1), False, True, None, out=out
    ),
    "adaptive_avg_pool2d": lambda x, b, out: _core.adaptive_avg_pool2d(x, (2, 2), out=out),
    "global_avg_pool2d": lambda x, b, out: _core.adaptive_avg_pool2d(x, (1, 1), out=out),
    "upsample": lambda x, b, out: _core.interpolate(x, (5, 7), "bilinear", False, out=out),
    "downsample": lambda x, b, out: _core.interpolate(x, (2, 2), "bilinear", True, out=out),
    "nearest": lambda x, b, out: _core.interpolate(x, (5, 7), "nearest", False, out=out),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("before", [False, True])
def test_nothing_beyond_the_arrays_is_touched(isa: str, name: str, before: bool) -> None:
    call = CALLS[name]
    for channels in (*range(1, 19), 31, 33, 47, 65):
        x, b = random((1, 3, 3, channels)), random((1, 1, 1, channels), seed=1)
        expected = call(x, b, None)
        out = guarded(np.zeros_like(expected), before=before)
        call(guarded(x, before=before), guarded(b, before=before), out)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("before", [False, True])
def test_layout_and_softmax(isa: str, before: bool) -> None:
    for channels in (*range(1, 19), 31, 33):
        x = random((2, 5, 7, channels))
        np.testing.assert_array_equal(_core.nhwc_to_nchw(guarded(x, before=before)), x.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(_core.nchw_to_nhwc(guarded(x, before=before)), x.transpose(0, 2, 3, 1))
        for dim in (1, 3):
            np.testing.assert_array_equal(
                _core.softmax(guarded(x, before=before), dim), _core.softmax(x, dim)
            )
