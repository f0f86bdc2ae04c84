# SPDX-License-Identifier: Apache-2.0
"""softmax against float64 and torch."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import EPS, check_threads_agree, random
from tests.reference.softmax import softmax as reference


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 15, 16, 17, 33, 80, 1000])
def test_every_axis_and_length(isa: str, length: int) -> None:
    for shape, dim in [((3, length), -1), ((length, 5), 0), ((2, length, 17), 1), ((2, 2, length, 1), 2)]:
        x = random(shape, 8.0)
        y = ops.softmax(x, dim)
        # The sum adds `length` rounding errors; exp is good to 2 ulp of a result that x * eps moves.
        np.testing.assert_allclose(
            y, reference(x, dim), rtol=(length + 4 + np.abs(x).max()) * EPS, atol=1e-38
        )


def test_extremes(isa: str) -> None:
    x = np.array([[3e38, -3e38, 0], [-np.inf, 0, 0], [np.nan, 0, 0], [np.inf, 0, 0]], np.float32)
    y = ops.softmax(x)
    np.testing.assert_array_equal(y[:2], [[1, 0, 0], [0, 0.5, 0.5]])
    assert np.isnan(y[2]).all() and np.isnan(y[3, 0])


def test_bitwise_equal_for_any_thread_count(isa: str) -> None:
    x = random((500, 121))
    check_threads_agree(lambda: ops.softmax(x))


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    x = random((4, 33, 6))
    for dim in (0, 1, -1):
        y = ops.softmax(torch.from_numpy(x), dim)
        torch.testing.assert_close(y, torch.softmax(torch.from_numpy(x), dim))


def test_layouts_and_empty_arrays() -> None:
    x = random((6, 8, 10))
    for view in (x[::2], x[..., ::-1], x.T):
        np.testing.assert_array_equal(ops.softmax(view, 1), ops.softmax(np.ascontiguousarray(view), 1))
    x.flags.writeable = False
    ops.softmax(x)
    assert ops.softmax(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert ops.softmax(np.zeros((3, 0), np.float32)).shape == (3, 0)


def test_refusals() -> None:
    x = random((2, 3))
    with pytest.raises(ValueError, match=r"\[softmax\] expected dim in \[-2, 2\), got 2"):
        ops.softmax(x, 2)
    with pytest.raises(ValueError, match="dim"):
        ops.softmax(np.zeros((), np.float32))
    with pytest.raises(TypeError, match="dim"):
        ops.softmax(x, 1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float32, got float64"):
        ops.softmax(x.astype(np.float64))
