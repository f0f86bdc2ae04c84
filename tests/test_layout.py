# SPDX-License-Identifier: Apache-2.0
"""NCHW <-> NHWC: exact, for every block remainder, each ISA and thread count."""

from __future__ import annotations

import numpy as np
import pytest

from pyvision import _core
from pyvision._array import from_nhwc, to_nhwc

# Around the 8- and 16-wide register blocks, the woven few-channel cases, and a plane of several blocks.
SHAPES = [
    (n, c, h, w)
    for n, h, w in [(0, 2, 2), (1, 1, 1), (2, 1, 3), (1, 3, 5), (1, 4, 4), (2, 7, 9), (1, 96, 80)]
    for c in [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33]
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trip_is_exact(isa: str, shape: tuple[int, int, int, int]) -> None:
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    nhwc = _core.nchw_to_nhwc(x)
    assert nhwc.flags.c_contiguous
    np.testing.assert_array_equal(nhwc, x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(_core.nhwc_to_nchw(nhwc), x)


def test_any_thread_count(isa: str, threads: int) -> None:
    x = np.arange(3 * 19 * 50 * 61, dtype=np.float32).reshape(3, 19, 50, 61)
    np.testing.assert_array_equal(_core.nchw_to_nhwc(x), x.transpose(0, 2, 3, 1))


def test_memory_already_in_order_is_not_copied() -> None:
    nhwc = np.zeros((2, 3, 4, 5), np.float32)
    assert to_nhwc(nhwc, "NHWC", "op", "input") is nhwc
    assert np.shares_memory(to_nhwc(nhwc.transpose(0, 3, 1, 2), "NCHW", "op", "input"), nhwc)
    assert np.shares_memory(from_nhwc(nhwc, "NCHW", True), nhwc)
    assert not np.shares_memory(from_nhwc(nhwc, "NCHW"), nhwc)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_views_of_any_strides(layout: str) -> None:
    base = np.arange(2 * 6 * 7 * 8, dtype=np.float32).reshape(2, 6, 7, 8)
    for x in (base[:, ::2], base[..., ::-1], np.broadcast_to(base[:1], base.shape), np.asfortranarray(base)):
        expected = x if layout == "NHWC" else x.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(to_nhwc(x, layout, "op", "input"), expected)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="layout"):
        to_nhwc(np.zeros((1, 1, 1, 1), np.float32), "CHWN", "op", "input")
    with pytest.raises(ValueError, match=r"4 dimensions.*\(3, 3\)"):
        to_nhwc(np.zeros((3, 3), np.float32), "NCHW", "op", "input")
    with pytest.raises(TypeError, match="float32"):
        _core.nchw_to_nhwc(np.zeros((1, 1, 1, 1)))
    with pytest.raises(ValueError, match="contiguous"):
        _core.nhwc_to_nchw(np.zeros((1, 2, 2, 4), np.float32)[..., ::2])
