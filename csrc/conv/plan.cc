// SPDX-License-Identifier: Apache-2.0
#include "conv/plan.h"

#include <algorithm>
#include <iterator>

#include "conv/gemm.h"
#include "conv/winograd.h"
#include "core/check.h"

namespace pyvision {
namespace {

// Under this many multiply-adds (about 5 us) a task is not worth handing to another thread.
constexpr int64_t kMinTaskWork = 1 << 18;
// More (about 20 ms, 70 without SIMD) would keep Ctrl-C waiting: it is looked for between tasks.
constexpr int64_t kMaxTaskWork = 1 << 30;
// Half of the smallest L2 in use (1 MB): the rest is for A, C and the neighbours.
constexpr int64_t kL2Floats = (512 << 10) / sizeof(float);

// Fewer columns than this do not pay for the producer's copies of the rows.
constexpr int64_t kFewColumns = 128;

// In the order of the enumeration.
constexpr const char* kAlgorithmNames[] = {"auto",         "direct",       "depthwise",
                                           "winograd_2x2", "winograd_4x4", "winograd_6x6"};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

const char* conv2d_algorithm_name(Conv2dAlgorithm algorithm) {
  return kAlgorithmNames[static_cast<int>(algorithm)];
}

Conv2dAlgorithm parse_conv2d_algorithm(const char* op, const std::string& name) {
  const auto* found = std::find(std::begin(kAlgorithmNames), std::end(kAlgorithmNames), name);
  check(found != std::end(kAlgorithmNames), op,
        "expected algorithm to be one of auto, direct, depthwise, winograd_2x2, winograd_4x4, winograd_6x6, "
        "got '",
        name, "'");
  return static_cast<Conv2dAlgorithm>(found - std::begin(kAlgorithmNames));
}

int winograd_outputs(Conv2dAlgorithm algorithm) {
  switch (algorithm) {
    case Conv2dAlgorithm::kWinograd2x2:
      return 2;
    case Conv2dAlgorithm::kWinograd4x4:
      return 4;
    case Conv2dAlgorithm::kWinograd6x6:
      return 6;
    default:
      return 0;
  }
}

Conv2dAlgorithm choose_conv2d_algorithm(const Conv2dParams& p, Conv2dAlgorithm algorithm, int64_t h,
                                        int64_t w) {
  const bool can_winograd = p.kernel_h == 3 && p.kernel_w == 3 && p.stride_h == 1 && p.stride_w == 1 &&
                            p.dilation_h == 1 && p.dilation_w == 1 && p.groups == 1;
  const bool is_depthwise = p.groups > 1 && p.groups == p.in_channels && p.out_channels == p.in_channels;
  check(winograd_outputs(algorithm) == 0 || can_winograd, "conv2d",
        "expected a 3x3 kernel with stride 1, dilation 1, groups 1 for algorithm '",
        conv2d_algorithm_name(algorithm), "'");
  check(algorithm != Conv2dAlgorithm::kDepthwise || is_depthwise, "conv2d",
        "expected one input and one output channel a group for algorithm 'depthwise'");
  if (algorithm != Conv2dAlgorithm::kAuto) return algorithm;
  if (is_depthwise) return Conv2dAlgorithm::kDepthwise;
  // Its weights are four times as large and its transforms cost the same for few channels as for many, so it
  // pays from 8 channels up, and where whole 4x4 tiles cover the map without too much waste (h, w are 0 when
  // unknown).
  const bool winograd_pays = p.in_channels >= 8 && p.out_channels >= 8 && std::min(h, w) >= 10;
  return p.allow_winograd && can_winograd && winograd_pays ? Conv2dAlgorithm::kWinograd4x4
                                                           : Conv2dAlgorithm::kDirect;
}

WinogradPlan plan_winograd(int m, int64_t tiles, int64_t in_channels, int64_t out_channels,
                           const ConvMachine& machine) {
  const int64_t floats_per_tile = winograd_points(m) * (in_channels + out_channels);
  const int64_t row_tiles_in_l2 = std::max<int64_t>(1, 2 * kL2Floats / (floats_per_tile * machine.row_tile));
  WinogradPlan plan;
  plan.blocks = ceil_div(tiles, row_tiles_in_l2 * machine.row_tile);
  plan.share_blocks = machine.threads > 1 && plan.blocks < 2 * machine.threads;
  plan.tiles_per_block = ceil_div(tiles, plan.blocks);
  plan.blocks = ceil_div(tiles, plan.tiles_per_block);
  return plan;
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
  const int64_t balanced =
      machine.threads == 1 ? 1 : std::clamp<int64_t>(work / kMinTaskWork, 1, 6 * machine.threads);
  const int64_t wanted = std::max(balanced, work / kMaxTaskWork);
  const int64_t per_group = std::max<int64_t>(1, ceil_div(wanted, groups));
  if (plan.panels_in_l2) {
    plan.panel_tasks = 1;
    plan.tile_tasks = std::min(plan.row_tiles, per_group);
  } else {
    // B streams from L3 once per group of tiles: rows are split between whole groups only, columns down
    // to kFewColumns.
    const int64_t few_panels = kFewColumns / machine.panel_width;
    const int64_t block_floats = k_block_size(k) * machine.panel_width;
    const int64_t most_panels = std::max(few_panels, kL2Floats / block_floats);
    plan.tile_tasks = ceil_div(plan.row_tiles, tile_group(machine.row_tile));
    plan.panel_tasks = std::min(ceil_div(per_group, plan.tile_tasks), plan.panels / few_panels);
    plan.panel_tasks = std::max(plan.panel_tasks, ceil_div(plan.panels, most_panels));
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
