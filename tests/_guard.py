# SPDX-License-Identifier: Apache-2.0
"""Arrays beside unmapped memory: reading or writing one byte too far kills the process instead of passing."""

from __future__ import annotations

import ctypes
import mmap
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)


def guarded(array: NDArray[T], *, before: bool = False) -> NDArray[T]:
    """A C-contiguous copy of `array` that ends at an unmapped page, or with `before` begins after one."""
    pages = -(-max(array.nbytes, 1) // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        address = ctypes.c_void_p(start + page * mmap.PAGESIZE)
        if _libc.mprotect(address, ctypes.c_size_t(mmap.PAGESIZE), _PROT_NONE) != 0:
            raise OSError(ctypes.get_errno(), "mprotect failed")
    offset = mmap.PAGESIZE if before else (pages + 1) * mmap.PAGESIZE - array.nbytes
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy
