// SPDX-License-Identifier: Apache-2.0
#include "core/bind.h"
#include "c_api/c_api.h"

namespace pyvision::c_api_bind {

void define(py::module_& m) { m.attr("_C_API") = py::capsule(&c_api, "pyvision._core._C_API"); }

}  // namespace pyvision::c_api_bind
