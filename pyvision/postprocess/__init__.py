# SPDX-License-Identifier: Apache-2.0
"""What happens to a detector's outputs, detection by detection; compiled, and open to ``cimport``."""

from __future__ import annotations

from pyvision.postprocess.detection import decode_dfl, nms

__all__ = ["decode_dfl", "nms"]
