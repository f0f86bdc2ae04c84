// SPDX-License-Identifier: Apache-2.0
// The table of functions that pyvision_c_api.h declares: the same kernels that the Python ops call.
#pragma once

#include "../../pyvision/include/pyvision_c_api.h"  // in the package, because others compile against it

namespace pyvision {

extern const PyvisionCApi c_api;

}  // namespace pyvision
