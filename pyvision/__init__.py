# SPDX-License-Identifier: Apache-2.0
"""Hand-written SIMD kernels for computer vision, assembled into detection and segmentation models."""

from pyvision._core import __version__

__all__ = ["__version__"]
