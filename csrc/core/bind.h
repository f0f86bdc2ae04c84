// SPDX-License-Identifier: Apache-2.0
// What every bind.cc needs: NumPy arrays as Tensor views, fresh output arrays, and the list of ops.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/kept_memory.h"
#include "core/tensor.h"

namespace pyvision {

namespace py = pybind11;

// Which body an op that takes f32 and f64 runs; views then refuse whatever is neither.
inline bool is_f64(const py::array& array) { return py::isinstance<py::array_t<double>>(array); }

// What NumPy, which has no bf16, holds T's bits as.
template <class T>
struct NumpyType {
  using type = T;
};
template <>
struct NumpyType<Bf16> {
  using type = uint16_t;
};

// A native-endian, aligned array of T as a view. T decides writability: `const float` takes read-only arrays.
// The Python layer hands over arrays of the right kind; these checks keep a direct call of `_core` safe as
// well.
template <class T>
Tensor view(const py::array& array, const char* op, const char* name) {
  using Value = std::remove_const_t<T>;
  using Held = typename NumpyType<Value>::type;
  if (!py::isinstance<py::array_t<Held>>(array))  // outside: str(dtype) takes microseconds
    check_type(false, op, "expected ", name, " of dtype ", py::str(py::dtype::of<Held>()).cast<std::string>(),
               ", got ", py::str(array.dtype()).cast<std::string>());
  check(array.ndim() <= kMaxRank, op, "expected ", name, " of at most ", kMaxRank, " dimensions, got ",
        array.ndim());
  check(std::is_const_v<T> || array.writeable(), op, "expected ", name,
        " to be writeable, got a read-only array");
  check(reinterpret_cast<uintptr_t>(array.data()) % alignof(Value) == 0, op, "expected ", name,
        " to be aligned");
  Tensor tensor;
  tensor.data = const_cast<void*>(array.data());
  tensor.dtype = dtype_of<Value>::value;
  tensor.rank = static_cast<int>(array.ndim());
  for (int i = 0; i < tensor.rank; ++i) {
    tensor.shape[i] = array.shape(i);
    check(array.strides(i) % static_cast<py::ssize_t>(sizeof(Value)) == 0, op, "expected ", name,
          " to have strides that are multiples of its item size");
    tensor.strides[i] = array.strides(i) / static_cast<py::ssize_t>(sizeof(Value));
  }
  return tensor;
}

// The same, and C-contiguous, of the given rank.
template <class T>
Tensor dense_view(const py::array& array, const char* op, const char* name, int rank) {
  const Tensor tensor = view<T>(array, op, name);
  check(tensor.rank == rank, op, "expected ", name, " with ", rank, " dimensions, got shape ",
        shape_text(tensor));
  check(tensor.contiguous(), op, "expected ", name, " to be C-contiguous");
  return tensor;
}

template <class T>
Nhwc<T> dense_nhwc(const py::array& array, const char* op, const char* name) {
  const Tensor t = dense_view<T>(array, op, name, 4);
  return dense_nhwc(t.as<T>(), t.shape[0], t.shape[1], t.shape[2], t.shape[3]);
}

// The same for any strides between pixels; channels must be neighbours.
template <class T>
Nhwc<T> nhwc_view(const py::array& array, const char* op, const char* name) {
  const Tensor t = view<T>(array, op, name);
  check(t.rank == 4, op, "expected ", name, " with 4 dimensions (N, H, W, C), got shape ", shape_text(t));
  check(t.strides[3] == 1 || t.shape[3] <= 1 || t.numel() == 0, op, "expected ", name,
        " with contiguous channels");
  return {t.as<T>(),  t.shape[0],   t.shape[1],   t.shape[2],
          t.shape[3], t.strides[0], t.strides[1], t.strides[2]};
}

// Becomes Python's MemoryError, as every bad_alloc.
class ResultTooLarge : public std::bad_alloc {
 public:
  ResultTooLarge(const char* op, const std::vector<int64_t>& shape)
      : text_(concat_text('[', op, "] expected an output that fits in memory, got shape ",
                          shape_text(shape.data(), static_cast<int>(shape.size())))) {}
  const char* what() const noexcept override { return text_.c_str(); }

 private:
  std::string text_;
};

// A fresh C-contiguous array, uninitialised. Throws when the shape overflows, and bad_alloc when memory is
// short.
template <class T>
py::array_t<typename NumpyType<T>::type> empty(const char* op, const std::vector<int64_t>& shape) {
  using Held = typename NumpyType<T>::type;
  const int64_t numel = checked_numel(op, shape.data(), static_cast<int>(shape.size()), sizeof(T));
  const size_t bytes = static_cast<size_t>(numel) * sizeof(T);
  const std::vector<py::ssize_t> extents(shape.begin(), shape.end());
  if (bytes <= kLargeResult) return py::array_t<Held>(extents);
  std::unique_ptr<AlignedBuffer> memory;
  try {
    memory = take_memory(bytes);
  } catch (const std::bad_alloc&) {
    throw ResultTooLarge(op, shape);
  }
  const Held* const data = memory->as<Held>();
  const py::capsule owner(memory.get(), [](void* block) {
    keep_memory(std::unique_ptr<AlignedBuffer>(static_cast<AlignedBuffer*>(block)));
  });
  memory.release();  // the owner's from here on
  return py::array_t<Held>(extents, data, owner);
}

// The same of zeros, from NumPy: the system hands out large ones unwritten, page by page as they are touched.
template <class T>
py::array zeros(const char* op, const std::vector<int64_t>& shape) {
  checked_numel(op, shape.data(), static_cast<int>(shape.size()), sizeof(T));
  return py::module_::import("numpy").attr("zeros")(py::cast(shape), py::dtype::of<T>());
}

// `out` where the caller gave one of the right shape, else a fresh array.
template <class T>
py::array output_array(const char* op, const std::optional<py::array>& out,
                       const std::vector<int64_t>& shape) {
  if (!out) return empty<T>(op, shape);
  const Tensor y = view<T>(*out, op, "out");
  check(std::vector<int64_t>(y.shape, y.shape + y.rank) == shape, op, "expected out of shape ",
        shape_text(shape.data(), static_cast<int>(shape.size())), ", got ", shape_text(y));
  return *out;
}

// What each op's bind.cc defines, in a namespace of its own because several of them are compiled as one unit.
#define PYVISION_OP(name)         \
  namespace name##_bind {         \
    void define(py::module_ & m); \
  }
#include "ops.inc"

}  // namespace pyvision
