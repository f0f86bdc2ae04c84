// SPDX-License-Identifier: Apache-2.0
#include "common/bind.h"
#include "layout.cuh"

namespace pyvision::cuda::layout_bind {

void define(py::module_& m) {
  m.def(
      "transpose",
      [](const Stream& stream, const DeviceArray& input, const DeviceArray& output) {
        constexpr char kOp[] = "transpose";
        const Tensor& x = input.tensor;
        const void* const from = checked_data(input, kOp, "input", stream, x.dtype, {-1, -1, -1});
        void* const to =
            checked_data(output, kOp, "output", stream, x.dtype, {x.shape[0], x.shape[2], x.shape[1]});
        transpose(kOp, stream, from, x.shape[0], x.shape[1], x.shape[2], item_size(x.dtype), to);
      },
      py::arg("stream"), py::arg("input"), py::arg("output"),
      "(batch, rows, columns) with the last two swapped");
}

}  // namespace pyvision::cuda::layout_bind
