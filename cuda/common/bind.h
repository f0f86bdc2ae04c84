// SPDX-License-Identifier: Apache-2.0
// What every <op>_bind.cc needs. Arrays arrive as addresses with a shape: how their framework tells them is
// pyvision/_device.py's business. Outputs and workspaces come from there too, so nothing is allocated here.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <optional>
#include <vector>

#include "common/device.h"
#include "core/check.h"
#include "core/tensor.h"

namespace pyvision::cuda {

namespace py = pybind11;

// An array in device memory: dense, but for what Device.take_strided takes for a kernel that asks for it.
struct DeviceArray {
  Tensor tensor;
  int device = 0;
};
using OptionalArray = std::optional<DeviceArray>;

DType dtype_of_name(const std::string& name);
const char* dtype_name(DType dtype);
size_t item_size(DType dtype);

// shape: outlives the message
inline ShapeText dims_text(const std::vector<int64_t>& shape) {
  return shape_text(shape.data(), static_cast<int>(shape.size()));
}

// The array's memory, after its dtype, shape and device have been checked. -1 in a shape stands for any
// extent.
inline void* checked_data(const DeviceArray& array, const char* op, const char* name, const Stream& stream,
                          DType dtype, const std::vector<int64_t>& shape) {
  const Tensor& t = array.tensor;
  check_type(t.dtype == dtype, op, "expected ", name, " of dtype ", dtype_name(dtype), ", got ",
             dtype_name(t.dtype));
  bool fits = t.rank == static_cast<int>(shape.size());
  for (int i = 0; fits && i < t.rank; ++i) fits = shape[i] == -1 || t.shape[i] == shape[i];
  check(fits, op, "expected ", name, " of shape ", dims_text(shape), ", got ", shape_text(t));
  check(array.device == stream.device, op, "expected ", name, " on device ", stream.device, ", got device ",
        array.device);
  return t.data;
}

// What most kernels take.
inline DType checked_float_type(const DeviceArray& array, const char* op, const char* name) {
  const DType dtype = array.tensor.dtype;
  check_type(dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBf16, op, "expected ", name,
             " of dtype float32, float16 or bfloat16, got ", dtype_name(dtype));
  return dtype;
}

template <class T>
T* data_or_null(const OptionalArray& array, const char* op, const char* name, const Stream& stream,
                DType dtype, const std::vector<int64_t>& shape) {
  return array ? static_cast<T*>(checked_data(*array, op, name, stream, dtype, shape)) : nullptr;
}

// A workspace of at least `bytes`.
inline void* workspace_data(const DeviceArray& array, const char* op, const Stream& stream, size_t bytes) {
  void* const data = checked_data(array, op, "workspace", stream, DType::kU8, {-1});
  check(static_cast<size_t>(array.tensor.shape[0]) >= bytes, op, "expected a workspace of ", bytes,
        " bytes, got ", array.tensor.shape[0]);
  return data;
}

#define PYVISION_CUDA_OP(name)    \
  namespace name##_bind {         \
    void define(py::module_ & m); \
  }
#include "cuda_ops.inc"
#undef PYVISION_CUDA_OP

}  // namespace pyvision::cuda
