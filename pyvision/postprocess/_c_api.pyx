# SPDX-License-Identifier: Apache-2.0
# cython: language_level=3
"""The table of kernels, and the checks of arguments, once for every module here."""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t

import numpy as np

from pyvision import _core
from pyvision.ops._args import integer, real

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow)

cdef dict FORMATS = {"f": "float32", "l": "int64", "q": "int64", "B": "uint8", "?": "bool"}  # of buffers that are no arrays

api = <const PyvisionCApi*>PyCapsule_GetPointer(_core._C_API, "pyvision._core._C_API")


cdef int64_t checked(int64_t status, const char* refused) except -1 nogil:
    if status >= 0:
        return status
    with gil:
        if status == PYVISION_BAD_ARGUMENT:
            raise ValueError(refused.decode())
        raise KeyboardInterrupt if status == PYVISION_INTERRUPTED else MemoryError


cdef int check_buffer(object value, str op, str name, str dtype, int rank) except -1:
    try:
        buffer = memoryview(value)
    except (BufferError, TypeError, ValueError):
        buffer = None
    if isinstance(value, np.ndarray):
        got = str(value.dtype)
    elif buffer is None or isinstance(value, np.generic):
        raise TypeError(f"[{op}] expected {name} to be a buffer of {dtype}, got {type(value).__name__}")
    else:
        got = FORMATS.get(buffer.format, buffer.format)
    if got not in dtype.split(" or "):
        raise TypeError(f"[{op}] expected {name} of dtype {dtype}, got {got}")
    if buffer.ndim != rank:
        raise ValueError(f"[{op}] expected {name} of {rank} dimensions, got shape {buffer.shape}")
    if not buffer.c_contiguous:
        raise ValueError(f"[{op}] expected {name} to be C-contiguous, got strides {buffer.strides}")
    return 0


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


cdef void* memory_of(object array) except NULL:
    cdef Py_buffer view
    PyObject_GetBuffer(array, &view, PyBUF_SIMPLE)
    PyBuffer_Release(&view)
    return view.buf


cdef int get_int64s(object value, Py_buffer* view) except -1:
    cdef const char* code
    PyObject_GetBuffer(value, view, PyBUF_ND | PyBUF_FORMAT)  # without strides: C-contiguous
    code = view.format
    if code != NULL and view.ndim == 1 and view.itemsize == sizeof(int64_t):
        if code[0] in b"@=<":  # this machine's order, as ctypes says it
            code += 1
        if code[0] in b"lq" and code[1] == 0:
            return 0
    PyBuffer_Release(view)
    raise TypeError
