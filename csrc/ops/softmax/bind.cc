// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/softmax/softmax.h"

namespace pyvision::softmax_bind {

void define(py::module_& m) {
  m.def(
      "softmax",
      [](const py::array& input, int64_t dim) {
        const Tensor x = view<const float>(input, "softmax", "input");
        check(x.contiguous(), "softmax", "expected input to be C-contiguous");
        check(dim >= 0 && dim < x.rank, "softmax", "expected dim in [0, ", x.rank, "), got ", dim);
        int64_t outer = 1, inner = 1;
        for (int i = 0; i < dim; ++i) outer *= x.shape[i];
        for (int i = static_cast<int>(dim) + 1; i < x.rank; ++i) inner *= x.shape[i];
        auto output = empty<float>("softmax", {x.shape, x.shape + x.rank});
        float* y = output.mutable_data();
        {
          py::gil_scoped_release release;
          softmax(x.as<const float>(), y, outer, x.shape[dim], inner);
        }
        return output;
      },
      py::arg("input"), py::arg("dim"));
}

}  // namespace pyvision::softmax_bind
