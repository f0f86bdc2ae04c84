# SPDX-License-Identifier: Apache-2.0
"""Rounding to bfloat16, by scaling to integers: not from the bits, as the kernels do it."""

from __future__ import annotations

import numpy as np

BF16_EPS = 2.0**-8
"""The largest relative error of rounding to the 8 bits of a bfloat16's significand."""


def round_to_bf16(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 of normal float32 values, ties to the even one, as float32."""
    fraction, exponent = np.frexp(x.astype(np.float64))  # fractions in [1/2, 1)
    return np.ldexp(np.rint(fraction * 256) / 256, exponent).astype(np.float32)


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """Values that are bfloat16 already, as the uint16 that hold them."""
    bits = x.view(np.uint32)
    assert not (bits & 0xFFFF).any()
    return (bits >> 16).astype(np.uint16)


def from_bf16_bits(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)
