# SPDX-License-Identifier: Apache-2.0
"""pixel_shuffle and its inverse against NumPy and torch."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision import ops
from tests._guard import guarded
from tests.helpers import check_threads_agree
from tests.reference.pixel_shuffle import pixel_shuffle as reference

DTYPES = ["float16", "float32", "float64", "uint8", "int16", "int64", "bool"]


def values(shape: tuple[int, ...], dtype: str = "int64") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape).astype(dtype)


@pytest.mark.parametrize("r", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", DTYPES)
def test_both_ways(dtype: str, r: int) -> None:
    for n, channels, h, w in ((1, 1, 1, 1), (2, 3, 5, 7), (1, 17, 4, 3), (2, 64, 9, 2)):
        x = values((n, channels * r * r, h, w), dtype)
        expected = reference(x, r)
        y = ops.pixel_shuffle(guarded(x), r)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(ops.pixel_unshuffle(guarded(expected), r), x)
        nhwc = ops.pixel_shuffle(guarded(np.ascontiguousarray(x.transpose(0, 2, 3, 1))), r, layout="NHWC")
        np.testing.assert_array_equal(nhwc, expected.transpose(0, 2, 3, 1))
        back = ops.pixel_unshuffle(nhwc, r, layout="NHWC")
        np.testing.assert_array_equal(back, x.transpose(0, 2, 3, 1))


def test_against_torch() -> None:
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.from_numpy(values((2, 36, 5, 7))).to(dtype)
        for given in (x, x.contiguous(memory_format=torch.channels_last), x[:, :, ::2]):
            y = ops.pixel_shuffle(given, 3)
            assert y.dtype == dtype
            assert torch.equal(y, torch.nn.functional.pixel_shuffle(given, 3))
            assert torch.equal(ops.pixel_unshuffle(y, 3), given)
            last = torch.channels_last
            assert y.is_contiguous(memory_format=last) == given.is_contiguous(memory_format=last)


def test_views_threads_and_empty_batches() -> None:
    x = values((2, 16, 60, 70))
    x.flags.writeable = False
    np.testing.assert_array_equal(ops.pixel_shuffle(x[::-1, :, ::2], 2), reference(x[::-1, :, ::2], 2))
    check_threads_agree(lambda: ops.pixel_shuffle(x, 4))
    check_threads_agree(lambda: ops.pixel_unshuffle(x, 5))
    assert ops.pixel_shuffle(x[:0], 2).shape == (0, 4, 120, 140)
    assert ops.pixel_unshuffle(np.zeros((1, 3, 0, 4)), 2).shape == (1, 12, 0, 2)


def test_refusals() -> None:
    x = values((1, 8, 6, 6))
    for op in (ops.pixel_shuffle, ops.pixel_unshuffle):
        for factor in (0, -1, 2**40):
            with pytest.raises(ValueError, match=r"scale_factor in \[1, 2\^15\)"):
                op(x, factor)
        for wrong in (2.0, True, "2", None):
            with pytest.raises(TypeError, match=r"scale_factor to be an integer"):
                op(x, wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="4 dimensions"):
            op(x[0], 2)
        with pytest.raises(TypeError, match="expected input"):
            op(x.astype(np.complex64), 2)
        with pytest.raises(ValueError, match="layout"):
            op(x, 2, layout="HWC")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"\[pixel_shuffle\] expected input with a multiple of .* 9 channels"
    ):
        ops.pixel_shuffle(x, 3)
    with pytest.raises(ValueError, match=r"\[pixel_unshuffle\] expected input of extents that are multiples"):
        ops.pixel_unshuffle(x, 4)
    with pytest.raises(ValueError, match=r"\[pixel_shuffle\] expected an output whose extents fit"):
        ops.pixel_shuffle(np.zeros((1, 0, 2**62, 1), np.uint8), 8)
    with pytest.raises(ValueError, match=r"\[pixel_unshuffle\] expected an output whose extents fit"):
        ops.pixel_unshuffle(np.zeros((1, 2**40, 0, 0), np.uint8), 2**14)
