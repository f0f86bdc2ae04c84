// SPDX-License-Identifier: Apache-2.0
#include "conv/plan.h"

#include <algorithm>

#include "conv/gemm.h"
#include "core/check.h"

namespace pyvision {
namespace {

// Under this many multiply-adds (about 5 us) a task is not worth handing to another thread.
constexpr int64_t kMinTaskWork = 1 << 18;
// Half of the smallest L2 in use (1 MB): the rest is for A, C and the neighbours.
constexpr int64_t kL2Floats = (512 << 10) / sizeof(float);

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

const char* conv_method_name(ConvMethod method) {
  return method == ConvMethod::kDepthwise ? "depthwise" : "direct";
}

ConvMethod choose_conv_method(const Conv2dParams& params, Conv2dAlgorithm algorithm) {
  const bool depthwise =
      params.groups == params.in_channels && params.out_channels == params.in_channels && params.groups > 1;
  check(algorithm != Conv2dAlgorithm::kWinograd, "conv2d", "winograd");
  return depthwise && algorithm == Conv2dAlgorithm::kAuto ? ConvMethod::kDepthwise : ConvMethod::kDirect;
}

DirectPlan plan_direct(int64_t rows, int64_t out_channels, int64_t k, int64_t groups,
                       const ConvMachine& machine) {
  DirectPlan plan;
  plan.row_tiles = ceil_div(rows, machine.row_tile);
  plan.panels = ceil_div(out_channels, machine.panel_width);
  const int64_t panel_floats = k * machine.panel_width;
  plan.panels_in_l2 = plan.panels * panel_floats <= kL2Floats;

  const int64_t work = rows * out_channels * k * groups;
  // Several tasks per thread even out a thread that was held up; none so small that handing it over costs
  // more.
  const int64_t wanted =
      machine.threads == 1 ? 1 : std::clamp<int64_t>(work / kMinTaskWork, 1, 6 * machine.threads);
  const int64_t per_group = std::max<int64_t>(1, ceil_div(wanted, groups));
  if (plan.panels_in_l2) {
    plan.panel_tasks = 1;
    plan.tile_tasks = std::min(plan.row_tiles, per_group);
  } else {
    // B streams from L3 once per task: as many tiles as possible share it. Split columns first, down to 4
    // panels (below that the producer's copies are no longer paid for), then rows.
    const int64_t block_floats = k_block_size(k) * machine.panel_width;
    const int64_t most_panels = std::max<int64_t>(4, kL2Floats / block_floats);
    plan.panel_tasks =
        std::clamp(per_group, ceil_div(plan.panels, most_panels), std::max<int64_t>(1, plan.panels / 4));
    plan.panel_tasks = std::max(plan.panel_tasks, ceil_div(plan.panels, most_panels));
    plan.tile_tasks = std::min(plan.row_tiles, ceil_div(per_group, plan.panel_tasks));
  }
  plan.panels_per_task = ceil_div(plan.panels, plan.panel_tasks);
  plan.panel_tasks = ceil_div(plan.panels, plan.panels_per_task);
  plan.tiles_per_task = ceil_div(plan.row_tiles, plan.tile_tasks);
  plan.tile_tasks = ceil_div(plan.row_tiles, plan.tiles_per_task);
  return plan;
}

int64_t depthwise_rows_per_task(int64_t rows, int64_t row_cost) {
  return std::clamp<int64_t>(ceil_div(kMinTaskWork / 4, std::max<int64_t>(row_cost, 1)), 1, rows);
}

}  // namespace pyvision
