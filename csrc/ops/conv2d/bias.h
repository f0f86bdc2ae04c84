// SPDX-License-Identifier: Apache-2.0
// The optional bias arguments of the convolutions' bindings.
#pragma once

#include <optional>

#include "core/bind.h"

namespace pyvision {

template <class T>
const T* bias_view(const std::optional<py::array>& bias, int64_t out_channels, const char* op,
                   const char* name = "bias") {
  if (!bias) return nullptr;
  const Tensor view = dense_view<const T>(*bias, op, name, 1);
  check(view.shape[0] == out_channels, op, "expected ", name, " of shape (", out_channels, ",), got ",
        shape_text(view));
  return view.as<const T>();
}

}  // namespace pyvision
