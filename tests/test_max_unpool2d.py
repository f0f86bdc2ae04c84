# SPDX-License-Identifier: Apache-2.0
"""max_unpool2d and its gradient against plain loops and torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyvision import ops
from tests.helpers import check_threads_agree, random
from tests.reference.pooling import max_unpool2d as reference

X = random((2, 3, 4, 5))
PLACES = np.zeros((2, 3, 4, 5), np.int64)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3, 8, 17, 40])
def test_places_in_any_order(dtype: str, channels: int) -> None:
    x = random((2, channels, 4, 5)).astype(dtype)
    indices = np.random.default_rng(1).integers(0, 80, x.shape)  # some twice
    expected = reference(x, indices, (8, 10))
    y = ops.max_unpool2d(x, indices, 2)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, expected)
    last = [np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, indices)]
    np.testing.assert_array_equal(ops.max_unpool2d(*last, 2, layout="NHWC"), expected.transpose(0, 2, 3, 1))

    grad = random(y.shape, seed=2).astype(dtype)
    gathered = np.take_along_axis(grad.reshape(2, channels, 80), indices.reshape(2, channels, 20), 2)
    got = ops.max_unpool2d_backward(grad, indices)
    np.testing.assert_array_equal(got, gathered.reshape(x.shape))
    got = ops.max_unpool2d_backward(grad.transpose(0, 2, 3, 1), last[1], layout="NHWC")
    np.testing.assert_array_equal(got, gathered.reshape(x.shape).transpose(0, 2, 3, 1))


@pytest.mark.parametrize("options", [{}, {"stride": 1, "padding": 1}, {"stride": (3, 2)}], ids=str)
def test_undoes_max_pool2d_as_torch_does(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    x = torch.from_numpy(random((2, 5, 10, 9)))
    maxima, indices = ops.max_pool2d(x, (3, 2), return_indices=True, **options)
    for size in (None, (10, 9), (2, 5, 10, 9)):
        try:
            expected = torch.nn.functional.max_unpool2d(maxima, indices, (3, 2), output_size=size, **options)
        except ValueError:  # too far from the usual size
            with pytest.raises(ValueError, match="output_size less than a stride"):
                ops.max_unpool2d(maxima, indices, (3, 2), output_size=size, **options)
            continue
        except RuntimeError:  # an index beyond the usual size
            with pytest.raises(ValueError, match="indices in"):
                ops.max_unpool2d(maxima, indices, (3, 2), output_size=size, **options)
            continue
        y = ops.max_unpool2d(maxima, indices, (3, 2), output_size=size, **options)
        assert torch.equal(y, expected)


def test_threads_and_empty_batches() -> None:
    x = random((3, 40, 20, 20))
    indices = np.random.default_rng(1).integers(0, 1600, x.shape)
    check_threads_agree(lambda: ops.max_unpool2d(x, indices, 2))
    check_threads_agree(lambda: ops.max_unpool2d_backward(random((3, 40, 40, 40)), indices))
    assert ops.max_unpool2d(X[:0], PLACES[:0], 2).shape == (0, 3, 8, 10)


def test_refusals() -> None:
    for index in (-1, 80, 2**62, -(2**63)):
        places = PLACES.copy()
        places[1, 2, 3, 4] = index
        with pytest.raises(ValueError, match=rf"\[max_unpool2d\] expected indices in \[0, 80\), got {index}"):
            ops.max_unpool2d(X, places, 2)
        with pytest.raises(ValueError, match=rf"\[max_unpool2d_backward\] expected indices .*, got {index}"):
            ops.max_unpool2d_backward(random((2, 3, 8, 10)), places)
    for kwargs, message in (
        ({"kernel_size": 0}, "kernel_size"),
        ({"stride": 0}, "stride"),
        ({"padding": -1}, "padding"),
        ({"padding": 9}, "at least 1 x 1"),
        ({"padding": 2**62 + 5}, "at least 1 x 1"),
        ({"output_size": (9, 13)}, "output_size"),
        ({"output_size": (8,)}, "output_size"),
        ({"kernel_size": 2**40}, "fits in memory"),
        ({"indices": PLACES[:1]}, "indices of shape"),
        ({"input": X[0]}, "input"),
        ({"input": X[:, :, :0], "indices": PLACES[:, :, :0]}, "no empty axis"),
    ):
        arguments: dict[str, Any] = {"input": X, "indices": PLACES, "kernel_size": 2, **kwargs}
        with pytest.raises(ValueError, match=rf"^\[max_unpool2d\] expected .*{message}"):
            ops.max_unpool2d(**arguments)
    for size in (4, 5.5, "12"):
        with pytest.raises(TypeError, match=r"^\[max_unpool2d\] expected output_size to be two or four"):
            ops.max_unpool2d(X, PLACES, 2, output_size=size)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="int64"):
        ops.max_unpool2d(X, PLACES.astype(np.int32), 2)
    with pytest.raises(TypeError, match="float32"):
        ops.max_unpool2d(X.astype(np.uint8), PLACES, 2)
    with pytest.raises(ValueError, match="indices of shape"):
        ops.max_unpool2d_backward(random((1, 3, 8, 10)), PLACES)
