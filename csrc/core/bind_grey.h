// SPDX-License-Identifier: Apache-2.0
// Grey pictures and their masks from NumPy.
#pragma once

#include "core/bind.h"
#include "core/grey_image.h"
#include "core/sampled_maps.h"

namespace pyvision {

// (h, w) uint8 whose pixels along a row are neighbours, not empty; extents that kernels may count in 32 bits.
inline GreyImage grey_view(const py::array& array, const char* op, const char* name) {
  const Tensor t = view<const uint8_t>(array, op, name);
  check(t.rank == 2, op, "expected ", name, " of shape (H, W), got ", shape_text(t));
  check(t.numel() > 0, op, "expected ", name, " with pixels, got shape ", shape_text(t));
  check(t.shape[0] <= kMaxSampledExtent && t.shape[1] <= kMaxSampledExtent, op, "expected ", name,
        " of at most ", kMaxSampledExtent, " rows and columns, got shape ", shape_text(t));
  check(t.strides[1] == 1 || t.shape[1] == 1, op, "expected ", name, " with contiguous rows");
  return {t.as<const uint8_t>(), t.shape[0], t.shape[1], t.strides[0]};
}

}  // namespace pyvision
