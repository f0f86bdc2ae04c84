// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/bind.h"

namespace pyvision::cuda {
namespace {

struct NamedType {
  DType dtype;
  const char* name;
  size_t bytes;
};
constexpr NamedType kTypes[] = {
    {DType::kF32, "float32", 4},   {DType::kF64, "float64", 8}, {DType::kF16, "float16", 2},
    {DType::kBf16, "bfloat16", 2}, {DType::kU8, "uint8", 1},    {DType::kI8, "int8", 1},
    {DType::kI32, "int32", 4},     {DType::kI64, "int64", 8},   {DType::kBool, "bool", 1},
};

const NamedType& facts(DType dtype) {
  for (const NamedType& type : kTypes)
    if (type.dtype == dtype) return type;
  throw std::logic_error("a dtype without a name");
}

DeviceArray device_array(uintptr_t address, const std::vector<int64_t>& shape, const std::string& dtype,
                         int device, const std::optional<std::vector<int64_t>>& strides) {
  check(shape.size() <= kMaxRank, "cuda", "expected at most ", kMaxRank, " dimensions, got ", shape.size());
  DeviceArray array;
  Tensor& t = array.tensor;
  t.data = reinterpret_cast<void*>(address);
  t.dtype = dtype_of_name(dtype);
  t.rank = static_cast<int>(shape.size());
  for (int64_t stride = 1, i = t.rank - 1; i >= 0; --i) {
    t.shape[i] = shape[i];
    t.strides[i] = stride;
    stride *= shape[i];
  }
  check(!strides || strides->size() == shape.size(), "cuda", "expected a stride for every dimension");
  if (strides) std::copy(strides->begin(), strides->end(), t.strides);
  check(address % item_size(t.dtype) == 0, "cuda", "expected arrays aligned to their items");
  array.device = device;
  return array;
}

}  // namespace

DType dtype_of_name(const std::string& name) {
  for (const NamedType& type : kTypes)
    if (name == type.name) return type.dtype;
  throw TypeError("[cuda] expected a numeric dtype, got " + name);
}
const char* dtype_name(DType dtype) { return facts(dtype).name; }
size_t item_size(DType dtype) { return facts(dtype).bytes; }

PYBIND11_MODULE(_cuda, m) {
  m.doc() = "pyvision's compiled CUDA kernels. Use pyvision.ops; this module takes addresses.";
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error) std::rethrow_exception(error);
    } catch (const TypeError& e) {
      py::set_error(PyExc_TypeError, e.what());
    } catch (const OutOfDeviceMemory& e) {
      py::set_error(PyExc_MemoryError, e.what());
    } catch (const CudaError& e) {
      py::set_error(py::module_::import("pyvision._backend").attr("CudaError"), e.what());
    }
  });
  py::class_<Stream>(m, "Stream")
      .def(py::init([](int device, uintptr_t handle) {
             return Stream{device, reinterpret_cast<cudaStream_t>(handle)};
           }),
           py::arg("device"), py::arg("handle"));
  py::class_<DeviceArray>(m, "DeviceArray")
      .def(py::init(&device_array), py::arg("address"), py::arg("shape"), py::arg("dtype"), py::arg("device"),
           py::arg("strides") = py::none());
  m.def("device_count", &device_count);
  m.def(
      "device_info",
      [](int device) {
        const DeviceInfo info = device_info(device);
        return py::make_tuple(info.name, info.major, info.minor);
      },
      py::arg("device"));
#define PYVISION_CUDA_OP(name) name##_bind::define(m);
#include "cuda_ops.inc"
#undef PYVISION_CUDA_OP
}

}  // namespace pyvision::cuda
