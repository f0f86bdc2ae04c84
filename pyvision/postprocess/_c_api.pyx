# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3
"""The table of kernels, once for every module here."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t

from pyvision import _core

api = <const PyvisionCApi*>PyCapsule_GetPointer(_core._C_API, "pyvision._core._C_API")


cdef int64_t checked(int64_t status, const char* refused) except -1 nogil:
    if status >= 0:
        return status
    with gil:
        if status == PYVISION_BAD_ARGUMENT:
            raise ValueError(refused.decode())
        raise KeyboardInterrupt if status == PYVISION_INTERRUPTED else MemoryError
