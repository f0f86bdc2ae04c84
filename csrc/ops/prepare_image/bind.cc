// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "core/bind.h"
#include "ops/prepare_image/prepare_image.h"

namespace pyvision::prepare_image_bind {

using Triple = std::array<float, 3>;
using Quad = std::array<int64_t, 4>;

py::array run(const py::array& image, std::array<int64_t, 2> size, const Quad& region, const Triple& mean,
              const Triple& stdev, bool bgr, float pad, std::optional<py::array> out) {
  constexpr const char* kOp = "prepare_image";
  const Tensor x = view<const uint8_t>(image, kOp, "image");
  check(x.rank == 2 || (x.rank == 3 && (x.shape[2] == 3 || x.shape[2] == 4)), kOp,
        "expected image of shape (H, W), (H, W, 3) or (H, W, 4), got ", shape_text(x));
  check(x.shape[0] > 0 && x.shape[1] > 0, kOp, "expected image with pixels, got shape ", shape_text(x));
  check(size[0] > 0 && size[1] > 0, kOp, "expected size to be positive, got (", size[0], ", ", size[1], ")");
  if (!out) out = empty<float>(kOp, {1, size[0], size[1], 3});
  const Tensor y = dense_view<float>(*out, kOp, "out", 4);
  check(y.shape[0] == 1 && y.shape[1] == size[0] && y.shape[2] == size[1] && y.shape[3] == 3, kOp,
        "expected out of shape (1, ", size[0], ", ", size[1], ", 3), got ", shape_text(y));
  PrepareImageParams params;
  params.out_h = y.shape[1];
  params.out_w = y.shape[2];
  params.top = region[0];
  params.left = region[1];
  params.region_h = region[2];
  params.region_w = region[3];
  check(params.top >= 0 && params.left >= 0 && params.region_h > 0 && params.region_w > 0 &&
            params.region_h <= params.out_h - params.top && params.region_w <= params.out_w - params.left,
        kOp, "expected a region (top, left, height, width) inside out, got ", shape_text(region.data(), 4));
  for (int c = 0; c < 3; ++c)
    check(std::isfinite(mean[c]) && std::isfinite(stdev[c]) && stdev[c] != 0, kOp,
          "expected finite mean and finite std other than 0, got ", mean[c], " and ", stdev[c]);
  check(std::isfinite(pad), kOp, "expected a finite pad_value, got ", pad);
  std::copy(mean.begin(), mean.end(), params.mean);
  std::copy(stdev.begin(), stdev.end(), params.stdev);
  params.pad = pad;
  params.bgr = bgr;
  const int64_t channels = x.rank == 2 ? 1 : x.shape[2];
  const ImageView pixels = {x.as<const uint8_t>(), x.shape[0],   x.shape[1],  channels,
                            x.strides[0],          x.strides[1], x.strides[2]};
  {
    py::gil_scoped_release release;
    prepare_image(pixels, params, y.as<float>());
  }
  return *out;
}

void define(py::module_& m) {
  m.def("prepare_image", &run, py::arg("image"), py::arg("size"), py::arg("region"), py::arg("mean"),
        py::arg("std"), py::arg("bgr"), py::arg("pad_value"), py::arg("out") = py::none());
}

}  // namespace pyvision::prepare_image_bind
