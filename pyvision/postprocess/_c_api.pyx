# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3
"""The table of kernels, and the checks of arguments, once for every module here."""

from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint8_t

import numpy as np

from pyvision import _core
from pyvision.ops._args import integer, real

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow)

api = <const PyvisionCApi*>PyCapsule_GetPointer(_core._C_API, "pyvision._core._C_API")


cdef int64_t checked(int64_t status, const char* refused) except -1 nogil:
    if status >= 0:
        return status
    with gil:
        if status == PYVISION_BAD_ARGUMENT:
            raise ValueError(refused.decode())
        raise KeyboardInterrupt if status == PYVISION_INTERRUPTED else MemoryError


# A call has less than a microsecond to spare: arguments are looked into only where the plain conversion fails.

cdef int refuse_buffer(object value, str op, str name, str dtype, int rank) except -1:
    if isinstance(value, np.ndarray) and str(value.dtype) not in dtype.split(" or "):
        raise TypeError(f"[{op}] expected {name} of dtype {dtype}, got {value.dtype}")
    try:
        buffer = memoryview(value)
    except (BufferError, TypeError, ValueError):
        buffer = None
    if buffer is None or isinstance(value, np.generic):
        raise TypeError(f"[{op}] expected {name} to be a buffer of {dtype}, got {type(value).__name__}")
    if isinstance(value, np.ndarray) and buffer.ndim != rank:
        raise ValueError(f"[{op}] expected {name} of {rank} dimensions, got shape {buffer.shape}")
    if not buffer.c_contiguous:
        raise ValueError(f"[{op}] expected {name} to be C-contiguous, got strides {buffer.strides}")
    raise TypeError(
        f"[{op}] expected {name} of dtype {dtype} and {rank} dimensions, got format {buffer.format} and shape "
        f"{buffer.shape}"
    )


cdef const float[:, :, ::1] floats_3d(object value, str op, str name):
    if value is not None:
        try:
            return value
        except (BufferError, TypeError, ValueError):
            pass
    refuse_buffer(value, op, name, "float32", 3)


cdef const float[:, ::1] floats_2d(object value, str op, str name):
    if value is not None:
        try:
            return value
        except (BufferError, TypeError, ValueError):
            pass
    refuse_buffer(value, op, name, "float32", 2)


cdef const float[::1] floats_1d(object value, str op, str name):
    if value is not None:
        try:
            return value
        except (BufferError, TypeError, ValueError):
            pass
    refuse_buffer(value, op, name, "float32", 1)


cdef const int64_t[::1] indices_1d(object value, str op, str name):
    if value is not None:
        try:
            return value
        except (BufferError, TypeError, ValueError):
            pass
    refuse_buffer(value, op, name, "int64", 1)


cdef const uint8_t[:, ::1] bytes_2d(object value, str op, str name):
    if value is not None:
        try:
            return value
        except (BufferError, TypeError, ValueError):
            pass
    refuse_buffer(value, op, name, "uint8 or bool", 2)


cdef int64_t as_int64(object value, str op, str name) except? -1:
    cdef int overflow = 0
    cdef int64_t number
    if type(value) is int:
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow == 0:
            return number
    return integer(value, op, name)


cdef double as_double(object value, str op, str name) except? -1:
    return <double>value if type(value) is float else real(value, op, name)
