# SPDX-License-Identifier: Apache-2.0
"""Operators on arrays: argument names and semantics of torch and torchvision, results of the caller's kind."""

from __future__ import annotations

from pyvision.ops.softmax import softmax

__all__ = [
    "softmax",
]
