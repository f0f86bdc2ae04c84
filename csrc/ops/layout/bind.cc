// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "ops/layout/layout.h"

namespace pyvision::layout_bind {

void define(py::module_& m) {
  m.def(
      "nchw_to_nhwc",
      [](const py::array& input) {
        const Tensor x = dense_view<const float>(input, "nchw_to_nhwc", "input", 4);
        auto output = empty<float>("nchw_to_nhwc", {x.shape[0], x.shape[2], x.shape[3], x.shape[1]});
        float* y = output.mutable_data();
        py::gil_scoped_release release;
        const int64_t plane = x.shape[2] * x.shape[3];
        nchw_to_nhwc(x.as<const float>(), y, x.shape[0], x.shape[1], plane, plane);
        return output;
      },
      py::arg("input"));
  m.def(
      "nhwc_to_nchw",
      [](const py::array& input) {
        const Tensor x = dense_view<const float>(input, "nhwc_to_nchw", "input", 4);
        auto output = empty<float>("nhwc_to_nchw", {x.shape[0], x.shape[3], x.shape[1], x.shape[2]});
        float* y = output.mutable_data();
        py::gil_scoped_release release;
        const int64_t plane = x.shape[1] * x.shape[2];
        nhwc_to_nchw(x.as<const float>(), y, x.shape[0], x.shape[3], plane, plane);
        return output;
      },
      py::arg("input"));
}

}  // namespace pyvision::layout_bind
