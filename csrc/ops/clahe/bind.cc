// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "core/bind_grey.h"
#include "ops/clahe/clahe.h"

namespace pyvision::clahe_bind {

py::array run(const py::array& image, float clip_limit, const std::array<int64_t, 2>& tiles) {
  constexpr const char* kOp = "clahe";
  const GreyImage x = grey_view(image, kOp, "image");
  check(std::isfinite(clip_limit) && clip_limit >= 0, kOp, "expected a finite clip_limit of at least 0, got ",
        clip_limit);
  for (const int64_t count : tiles)
    check(count >= 1 && count <= 256, kOp, "expected tile_grid_size in [1, 256], got ",
          shape_text(tiles.data(), 2));
  py::array_t<uint8_t> y = empty<uint8_t>(kOp, {x.h, x.w});
  uint8_t* const pixels = y.mutable_data();
  {
    py::gil_scoped_release release;
    clahe(x, {clip_limit, tiles[0], tiles[1]}, pixels);
  }
  return y;
}

void define(py::module_& m) {
  m.def("clahe", &run, py::arg("image"), py::arg("clip_limit"), py::arg("tiles"));
}

}  // namespace pyvision::clahe_bind
