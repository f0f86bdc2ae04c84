// SPDX-License-Identifier: Apache-2.0
#include "ops/nms/grid.h"

#include <algorithm>
#include <cmath>

namespace pyvision {

// Cells about as large as the mean box: then a box touches about four of them.
template <class T>
NmsGridPlan plan_nms_grid(const T* boxes, int64_t n, int64_t stride) {
  constexpr int kBoxes = NmsBlock<T, 4>::kBoxes;
  T left = INFINITY, top = INFINITY, right = -INFINITY, bottom = -INFINITY;
  double sum_w = 0, sum_h = 0, sum_area = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) {
    const T* b = boxes + stride * i;
    const double w = static_cast<double>(b[2]) - b[0], h = static_cast<double>(b[3]) - b[1];
    if (!(w > 0 && h > 0)) continue;
    left = std::min(left, b[0]);
    top = std::min(top, b[1]);
    right = std::max(right, b[2]);
    bottom = std::max(bottom, b[3]);
    sum_w += w;
    sum_h += h;
    sum_area += w * h;
    ++count;
  }
  NmsGridPlan plan = {NmsGrid{}, count / kBoxes + 1};
  const double width = static_cast<double>(right) - left, height = static_cast<double>(bottom) - top;
  // Few boxes, or some so large or small that the sums overflow or vanish, are one cell's.
  if (count <= kBoxes || !std::isfinite(width * height * count) || !std::isfinite(sum_area) || sum_area == 0)
    return plan;
  double cells_x = width / (sum_w / count), cells_y = height / (sum_h / count);
  const double most = count / 4.0;  // clearing a cell should cost less than its boxes do
  if (cells_x * cells_y > most) {
    const double shrink = std::sqrt(most / (cells_x * cells_y));
    cells_x = std::min(cells_x * shrink, most);
    cells_y = std::min(cells_y * shrink, most);
  }
  constexpr double kMostPerAxis = 4096;
  NmsGrid& grid = plan.grid;
  grid.cells_x = std::max(1, static_cast<int32_t>(std::min(cells_x, kMostPerAxis)));
  grid.cells_y = std::max(1, static_cast<int32_t>(std::min(cells_y, kMostPerAxis)));
  grid.origin_x = left;
  grid.origin_y = top;
  grid.cells_per_unit_x = grid.cells_x / width;
  grid.cells_per_unit_y = grid.cells_y / height;
  // A width of k cells touches at most k + 2 of them; a block per cell may be part empty.
  const double per_x = grid.cells_per_unit_x, per_y = grid.cells_per_unit_y;
  const double touches = sum_area * per_x * per_y + 2 * sum_w * per_x + 2 * sum_h * per_y + 4.0 * count;
  plan.blocks = static_cast<int64_t>(1.01 * touches) / kBoxes + int64_t{grid.cells_x} * grid.cells_y + 1;
  return plan;
}

template NmsGridPlan plan_nms_grid<float>(const float*, int64_t, int64_t);
template NmsGridPlan plan_nms_grid<double>(const double*, int64_t, int64_t);

}  // namespace pyvision
