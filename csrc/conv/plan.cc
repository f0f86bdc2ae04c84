// SPDX-License-Identifier: Apache-2.0
#include "conv/plan.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "core/check.h"
#include "core/parallel.h"

namespace pyvision {
namespace {

// Under this many multiply-adds (about 5 us) a task is not worth handing to another thread.
constexpr int64_t kMinTaskWork = 1 << 18;
// More (about 20 ms, 70 without SIMD) would keep Ctrl-C waiting: it is looked for between tasks.
constexpr int64_t kMaxTaskWork = 1 << 30;
// Half of the smallest L2 in use (1 MB): the rest is for A, C and the neighbours.
constexpr int64_t kL2Floats = (512 << 10) / sizeof(float);

// Depthwise work is bound by loads and memory: about 5 us.
constexpr int64_t kMinDepthwiseWork = 1 << 17;
// Half of the smallest L1 in use, for a strip of an NCHW map's rows.
constexpr int64_t kStripFloats = (16 << 10) / sizeof(float);
constexpr int64_t kMostLanes = 16;      // of any ISA
constexpr int64_t kFloatsPerTap = 4;    // room for a PlaneTap
constexpr int64_t kDepthwiseTasks = 4;  // per thread
// Channels of a task are a multiple of this: whole cache lines, few rows of short runs.
constexpr int64_t kChannelUnit = 64;

// Fewer columns than this do not pay for the producer's copies of the rows.
constexpr int64_t kFewColumns = 128;

// In the order of the enumeration.
constexpr const char* kAlgorithmNames[] = {"auto",         "direct",       "depthwise",   "grouped",
                                           "winograd_2x2", "winograd_4x4", "winograd_6x6"};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// For so many multiply-adds: several tasks per thread even out a thread that was held up; none so small that
// handing it over costs more.
int64_t wanted_tasks(int64_t work, const ConvMachine& machine) {
  const int64_t balanced =
      machine.threads == 1 ? 1 : std::clamp<int64_t>(work / kMinTaskWork, 1, 6 * machine.threads);
  return std::max(balanced, work / kMaxTaskWork);
}

// Transformed input and products of one block of tiles stay in L2 (1 MB) with the weights of a few points. On
// Zen 4 they may fill it, since its L3 is nearly as fast; with Cascade Lake's, all weights of 64 channels had
// better stay too (0.75 to 0.95 of the time on its maps from 56 x 56 on). Measured.
constexpr int64_t kWinogradFloats = (1 << 20) / sizeof(float);
int64_t winograd_floats_of_cpu() {
#if defined(__x86_64__)
  static const bool is_intel = __builtin_cpu_is("intel");
  if (is_intel) return kWinogradFloats / 2;
#endif
  return kWinogradFloats;
}

}  // namespace

ConvMachine conv_machine(const Conv2dKernels& kernels) {
  return {kernels.row_tile, kernels.panel_width, kernels.lanes, num_threads(), winograd_floats_of_cpu()};
}

const char* conv2d_algorithm_name(Conv2dAlgorithm algorithm) {
  return kAlgorithmNames[static_cast<int>(algorithm)];
}

Conv2dAlgorithm parse_conv2d_algorithm(const char* op, const std::string& name) {
  const auto* found = std::find(std::begin(kAlgorithmNames), std::end(kAlgorithmNames), name);
  check(found != std::end(kAlgorithmNames), op,
        "expected algorithm to be one of auto, direct, depthwise, grouped, winograd_2x2, winograd_4x4, "
        "winograd_6x6, got '",
        name, "'");
  return static_cast<Conv2dAlgorithm>(found - std::begin(kAlgorithmNames));
}

WinogradTiling winograd_tiling(const Conv2dParams& params, Conv2dAlgorithm algorithm) {
  const int taps = params.kernel_h == 2 ? 2 : 3;
  switch (algorithm) {
    case Conv2dAlgorithm::kWinograd2x2:
      return {2, taps};
    case Conv2dAlgorithm::kWinograd4x4:
      return {4, taps};
    case Conv2dAlgorithm::kWinograd6x6:
      return {6, taps};
    default:
      return {0, taps};
  }
}

namespace {

// Weights beyond this come from memory at each pass over them, and not from L3: then as many tiles as may be
// share a pass. What a thread may hold for that: 4 MB.
constexpr int64_t kL3Floats = (12 << 20) / sizeof(float);
constexpr int64_t kMostBlockFloats = (4 << 20) / sizeof(float);

double winograd_weights(WinogradTiling tiling, int64_t group_in, int64_t group_out, int64_t groups) {
  return static_cast<double>(tiling.points() * group_in * group_out * groups);
}

bool winograd_streams(WinogradTiling tiling, int64_t group_in, int64_t group_out, int64_t groups) {
  return winograd_weights(tiling, group_in, group_out, groups) > kL3Floats;
}

int64_t winograd_tiles_per_block(WinogradTiling tiling, int64_t group_in, int64_t group_out, int64_t groups,
                                 const ConvMachine& machine) {
  const int64_t floats_per_tile = tiling.points() * (group_in + group_out) * groups;
  const bool streams = winograd_streams(tiling, group_in, group_out, groups);
  const int64_t floats = streams ? kMostBlockFloats * machine.threads : machine.winograd_floats;
  const int64_t most = streams ? kGroupRows : 4 * machine.row_tile;
  const int64_t row_tiles = std::min(floats / floats_per_tile, most) / machine.row_tile;
  return std::max<int64_t>(1, row_tiles) * machine.row_tile;
}

// As many groups as stay in L2 with two row tiles of each, or with all tiles where there are fewer.
int64_t winograd_groups_per_block(const Conv2dParams& p, WinogradTiling tiling, int64_t tiles,
                                  const ConvMachine& machine) {
  const int64_t per_tile = tiling.points() * (p.in_channels + p.out_channels) / p.groups;
  const int64_t rows = std::min(tiles, 2 * machine.row_tile);
  return std::clamp<int64_t>(machine.winograd_floats / (rows * per_tile), 1, p.groups);
}

// Times in units of one vector's multiply-add, fitted to thread times of 12 layers x 3 sizes of tile x 10
// sizes of block, 16 to 512 channels, on a Zen 4 core: within 20 % of each. They depend on nothing but the
// shape and the ISA's widths: not on the number of threads or the CPU, lest results do.
constexpr double kPerMultiply = 1.1;         // 90 % of the peak rate
constexpr double kPerGroupedMultiply = 1.2;  // of the grouped kernel
// More, of a product of few channels, for vectors of 16 floats: entry, exit, and rows that come from L2.
constexpr double kPerGroupProduct = 110;
// Of one transformed value, in or out.
double cost_per_point(WinogradTiling tiling) {
  return tiling.inputs() == 4 ? 3.7 : tiling.inputs() < 8 ? 5.7 : 10;
}
// Of 64 bytes of packed weights, streamed from memory or from L3 (for vectors of 16 floats).
constexpr double kPerLineFromMemory = 11, kPerLineFromL3 = 1.5;
// The largest tiles round worst: they must win clearly.
constexpr double kHandicap6x6 = 1.08;

double weights_cost(double floats, double passes, const ConvMachine& machine, int64_t in_turn) {
  const auto per_line = [](double held) {
    return held > kL3Floats ? kPerLineFromMemory : held > kL2Floats ? kPerLineFromL3 : 0;
  };
  // The others' weights have passed since the last run: that is for the first pass alone.
  const double lines = per_line(floats * static_cast<double>(in_turn)) + (passes - 1) * per_line(floats);
  return floats / 16 * lines * 16 / static_cast<double>(machine.lanes);
}

double direct_cost(const Conv2dParams& p, int64_t pixels, const ConvMachine& machine, int64_t in_turn) {
  const int64_t k = p.kernel_h * p.kernel_w * p.in_channels / p.groups;
  const int64_t vectors = p.groups * ceil_div(p.out_channels / p.groups, machine.lanes);
  return kPerMultiply * static_cast<double>(pixels * k * vectors) +
         weights_cost(static_cast<double>(k * p.out_channels),
                      static_cast<double>(ceil_div(pixels, kTileGroup * machine.row_tile)), machine, in_turn);
}

double grouped_cost(const Conv2dParams& p, int64_t pixels, const ConvMachine& machine) {
  const GroupVectors vectors = group_vectors(p, machine.lanes);
  return kPerGroupedMultiply *
         static_cast<double>(pixels * p.kernel_h * p.kernel_w * vectors.group_in * vectors.count);
}

double winograd_cost(WinogradTiling tiling, const Conv2dParams& p, int64_t out_h, int64_t out_w,
                     const ConvMachine& machine, int64_t in_turn) {
  const int64_t tiles = ceil_div(out_h, tiling.outputs) * ceil_div(out_w, tiling.outputs),
                points = tiling.points();
  const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
  const int64_t in_vectors = ceil_div(p.in_channels, machine.lanes);
  const int64_t out_vectors = ceil_div(p.out_channels, machine.lanes);
  const int64_t products =
      points * p.groups * ceil_div(tiles, machine.row_tile) * ceil_div(group_out, machine.panel_width);
  ConvMachine any = machine;
  any.threads = 1, any.winograd_floats = kWinogradFloats;
  const int64_t per_block = winograd_tiles_per_block(tiling, group_in, group_out, p.groups, any);
  const double per_product = p.groups > 1 ? kPerGroupProduct * 16 / static_cast<double>(machine.lanes) : 0;
  return kPerMultiply *
             static_cast<double>(points * tiles * p.groups * group_in * ceil_div(group_out, machine.lanes)) +
         per_product * static_cast<double>(products) +
         cost_per_point(tiling) * static_cast<double>(points * tiles * (in_vectors + out_vectors)) +
         weights_cost(winograd_weights(tiling, group_in, group_out, p.groups),
                      static_cast<double>(ceil_div(tiles, per_block)), machine, in_turn);
}

bool winograd_applies(const Conv2dParams& p, Conv2dAlgorithm algorithm) {
  const bool fits = p.kernel_h == 3 || (p.kernel_h == 2 && algorithm == Conv2dAlgorithm::kWinograd4x4);
  return fits && p.kernel_w == p.kernel_h && p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 &&
         p.dilation_w == 1 && p.precision == Precision::kF32;
}

// A group's tile GEMM multiplies whole vectors at least, and copies windows for no more than a panel. The
// grouped kernel broadcasts each input for every vector anew, and with strides for fewer taps. Measured.
bool grouped_pays(const Conv2dParams& p, const ConvMachine& machine) {
  const int64_t most = p.stride_h == 1 && p.stride_w == 1 ? 2 : 1;
  return p.groups > 1 && group_vectors(p, machine.lanes).vectors_per_group <= most;
}

}  // namespace

Conv2dAlgorithm choose_conv2d_algorithm(const Conv2dParams& p, Conv2dAlgorithm algorithm, int64_t h,
                                        int64_t w, const ConvMachine& machine, int64_t in_turn) {
  const bool is_depthwise = p.groups > 1 && p.groups == p.in_channels;
  check(winograd_tiling(p, algorithm).outputs == 0 || winograd_applies(p, algorithm), "conv2d",
        "expected a 3x3 kernel with stride 1, dilation 1 and precision f32 for algorithm '",
        conv2d_algorithm_name(algorithm), "' (2x2 too for 'winograd_4x4')");
  check(algorithm != Conv2dAlgorithm::kDepthwise || is_depthwise, "conv2d",
        "expected one input channel a group for algorithm 'depthwise'");
  if (algorithm != Conv2dAlgorithm::kAuto) return algorithm;
  if (is_depthwise) return Conv2dAlgorithm::kDepthwise;
  const int64_t out_h = p.out_h(h), out_w = p.out_w(w);
  const bool grouped = grouped_pays(p, machine);
  Conv2dAlgorithm best = grouped ? Conv2dAlgorithm::kGrouped : Conv2dAlgorithm::kDirect;
  // With fewer channels a product's few multiply-adds do not pay for its calls.
  constexpr int64_t kFewestChannels = 8;
  if (h == 0 || w == 0 || out_h <= 0 || out_w <= 0 || !p.allow_winograd ||
      std::min(p.in_channels, p.out_channels) / p.groups < kFewestChannels)
    return best;
  double best_cost =
      grouped ? grouped_cost(p, out_h * out_w, machine) : direct_cost(p, out_h * out_w, machine, in_turn);
  for (const Conv2dAlgorithm candidate :
       {Conv2dAlgorithm::kWinograd2x2, Conv2dAlgorithm::kWinograd4x4, Conv2dAlgorithm::kWinograd6x6}) {
    if (!winograd_applies(p, candidate)) continue;
    const WinogradTiling tiling = winograd_tiling(p, candidate);
    const double handicap = tiling.outputs == 6 ? kHandicap6x6 : 1;
    const double cost = winograd_cost(tiling, p, out_h, out_w, machine, in_turn) * handicap;
    if (cost < best_cost) best = candidate, best_cost = cost;
  }
  return best;
}

WinogradPlan plan_winograd(const Conv2dParams& p, WinogradTiling tiling, int64_t tiles,
                           const ConvMachine& machine) {
  WinogradPlan plan;
  const auto deal_groups = [&](int64_t blocks) {
    plan.groups_per_block = ceil_div(p.groups, std::min(p.groups, blocks));
    plan.group_blocks = ceil_div(p.groups, plan.groups_per_block);
  };
  deal_groups(ceil_div(p.groups, winograd_groups_per_block(p, tiling, tiles, machine)));
  const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
  plan.tile_blocks =
      ceil_div(tiles, winograd_tiles_per_block(tiling, group_in, group_out, plan.groups_per_block, machine));
  const int64_t wanted = machine.threads > 1 ? 2 * machine.threads : 1;
  if (plan.group_blocks * plan.tile_blocks < wanted) deal_groups(ceil_div(wanted, plan.tile_blocks));
  plan.share_blocks =
      machine.threads > 1 && (plan.group_blocks * plan.tile_blocks < wanted ||
                              winograd_streams(tiling, group_in, group_out, plan.groups_per_block));
  plan.tiles_per_block = ceil_div(tiles, plan.tile_blocks);
  plan.tile_blocks = ceil_div(tiles, plan.tiles_per_block);
  return plan;
}

// They prefetch planes, which copies in L2 do without, and take short runs from threads that share a block.
// Measured.
bool winograd_planes_pay(int64_t map_floats) { return map_floats > 2 * kL2Floats; }

DirectPlan plan_direct(int64_t rows, int64_t out_channels, int64_t k, int64_t groups,
                       const ConvMachine& machine) {
  DirectPlan plan;
  plan.row_tiles = ceil_div(rows, machine.row_tile);
  plan.panels = ceil_div(out_channels, machine.panel_width);
  const int64_t panel_floats = k * machine.panel_width;
  plan.panels_in_l2 = plan.panels * panel_floats <= kL2Floats;

  const int64_t per_group = ceil_div(wanted_tasks(rows * out_channels * k * groups, machine), groups);
  if (plan.panels_in_l2) {
    plan.panel_tasks = 1;
    plan.tile_tasks = std::min(plan.row_tiles, per_group);
  } else {
    // B streams from L3 once per group of tiles: rows are split between whole groups only, columns down
    // to kFewColumns.
    const int64_t few_panels = kFewColumns / machine.panel_width;
    const int64_t block_floats = k_block_size(k, machine.row_tile) * machine.panel_width;
    const int64_t most_panels = std::max(few_panels, kL2Floats / block_floats);
    plan.tile_tasks = ceil_div(plan.row_tiles, kTileGroup);
    plan.panel_tasks = std::min(ceil_div(per_group, plan.tile_tasks), plan.panels / few_panels);
    plan.panel_tasks = std::max(plan.panel_tasks, ceil_div(plan.panels, most_panels));
  }
  plan.panels_per_task = ceil_div(plan.panels, plan.panel_tasks);
  plan.panel_tasks = ceil_div(plan.panels, plan.panels_per_task);
  plan.tiles_per_task = ceil_div(plan.row_tiles, plan.tile_tasks);
  plan.tile_tasks = ceil_div(plan.row_tiles, plan.tiles_per_task);
  return plan;
}

WeightGradPlan plan_weight_grad(int64_t pixels, int64_t out_channels, int64_t k, int64_t groups,
                                const ConvMachine& machine) {
  // A block of the gradient stays in L2 (288 KB), with the windows and the gradients it is summed from. Whole
  // panels of every ISA.
  constexpr int64_t kMostOutputs = 256, kMostColumns = 288;
  // Windows are copied once per block of outputs: fewer do not pay for it.
  constexpr int64_t kFewOutputs = 64;
  const int64_t per_group = ceil_div(wanted_tasks(pixels * out_channels * k * groups, machine), groups);
  const int64_t panels = ceil_div(k, machine.panel_width), most_panels = kMostColumns / machine.panel_width;
  WeightGradPlan plan;
  plan.out_tasks = ceil_div(out_channels, kMostOutputs);
  plan.k_tasks =
      std::min(panels, std::max(ceil_div(panels, most_panels), ceil_div(per_group, plan.out_tasks)));
  plan.out_tasks = std::max(plan.out_tasks,
                            std::min(ceil_div(per_group, plan.k_tasks), ceil_div(out_channels, kFewOutputs)));
  plan.out_per_task = ceil_div(out_channels, plan.out_tasks);
  plan.out_tasks = ceil_div(out_channels, plan.out_per_task);
  plan.k_per_task = ceil_div(panels, plan.k_tasks) * machine.panel_width;
  plan.k_tasks = ceil_div(k, plan.k_per_task);
  return plan;
}

DirectPlan plan_rows_first(int64_t rows, int64_t out_channels, int64_t k, int64_t groups,
                           const ConvMachine& machine) {
  DirectPlan plan = plan_direct(rows, out_channels, k, groups, machine);
  const int64_t per_group = ceil_div(wanted_tasks(rows * out_channels * k * groups, machine), groups);
  plan.tiles_per_task = ceil_div(plan.row_tiles, std::min(plan.row_tiles, per_group));
  plan.tile_tasks = ceil_div(plan.row_tiles, plan.tiles_per_task);
  const int64_t panel_tasks =
      std::clamp<int64_t>(machine.threads / (groups * plan.tile_tasks), 1, plan.panels);
  plan.panels_per_task = ceil_div(plan.panels, panel_tasks);
  plan.panel_tasks = ceil_div(plan.panels, plan.panels_per_task);
  return plan;
}

void pack_depthwise(const Conv2dParams& p, const ConvWeight& weight, float* packed) {
  const int64_t multiplier = p.out_channels / p.groups;
  for (int64_t kh = 0; kh < p.kernel_h; ++kh)
    for (int64_t kw = 0; kw < p.kernel_w; ++kw) {
      const float* tap = weight.data + kh * weight.stride_h + kw * weight.stride_w;
      for (int64_t c = 0; c < p.out_channels; ++c)
        *packed++ = tap[c / multiplier * weight.stride_g + c % multiplier * weight.stride_o];
    }
}

DepthwiseTaps make_taps(const Conv2dParams& p, const float* packed, const float* bias) {
  return {p.kernel_h,     p.kernel_w,   p.stride_h,
          p.stride_w,     p.pad_top,    p.pad_left,
          p.dilation_h,   p.dilation_w, p.out_channels / p.in_channels,
          p.out_channels, packed,       {bias, p.activation}};
}

DepthwiseConv make_depthwise(const Conv2dParams& p, const Nhwc<const float>& input, const float* packed,
                             const RowMap& rows, const float* bias, int64_t block_rows) {
  DepthwiseConv job{make_taps(p, packed, bias), input, rows, 0, 0, 0, 0, 0, false};
  const int64_t common_h = std::gcd(p.stride_h, p.dilation_h), common_w = std::gcd(p.stride_w, p.dilation_w);
  job.step_h = p.dilation_h / common_h, job.step_w = p.dilation_w / common_w;
  job.row_stride = p.stride_h / common_h, job.column_stride = p.stride_w / common_w;
  job.row_blocks = ceil_div(rows.out_h, block_rows * job.step_h);
  // Smaller maps are as a rule in L3 still, where the instructions cost what they save. Measured.
  job.prefetch = input.pixels() * input.c > 8 * kL2Floats;
  return job;
}

DepthwisePlanes make_depthwise_planes(const Conv2dParams& p, const float* input, int64_t h, int64_t w,
                                      const float* packed, const float* bias, float* output) {
  DepthwisePlanes job{
      make_taps(p, packed, bias), input, output, h, w, p.out_h(h), p.out_w(w), p.out_channels, 0, 0};
  const int64_t span_h = p.dilation_h * (p.kernel_h - 1) + 1, span_w = p.dilation_w * (p.kernel_w - 1) + 1;
  // The last vector of a row may start at its last output, and reads as far as the last tap.
  job.pitch = ceil_div(job.out_w + (span_w - 1) / p.stride_w + kMostLanes, kMostLanes) * kMostLanes;
  const int64_t rows_in_l1 = kStripFloats / (job.pitch * p.stride_w);
  const int64_t all_rows = (job.out_h - 1) * p.stride_h + span_h;
  // At least four output rows share the rows that their windows overlap in.
  job.strip_rows = std::min(all_rows, std::max(rows_in_l1, span_h + 3 * p.stride_h));
  return job;
}

bool planes_pay(const DepthwisePlanes& job) {
  // It loads a vector per tap, two cache lines mostly, and its rows end in part of a vector; transposes move
  // every value twice more. Measured: few taps and long rows.
  return job.kernel_h * job.kernel_w <= 9 && job.out_w >= 3 * kMostLanes &&
         depthwise_planes_floats(job) <= kL2Floats;
}

int64_t depthwise_planes_floats(const DepthwisePlanes& job) {
  return job.strip_rows * job.stride_w * job.pitch + job.kernel_h * job.kernel_w * kFloatsPerTap;
}

int64_t planes_per_task(const DepthwisePlanes& job, int64_t planes, int threads) {
  const int64_t work = job.out_h * job.out_w * job.kernel_h * job.kernel_w;
  const int64_t enough = ceil_div(kMinDepthwiseWork, std::max<int64_t>(work, 1));
  return std::clamp<int64_t>(enough, 1, ceil_div(planes, threads));
}

GroupVectors group_vectors(const Conv2dParams& p, int64_t lanes) {
  GroupVectors v{p.groups, p.in_channels / p.groups, p.out_channels / p.groups, lanes, 1, 1, 0};
  v.groups_per_vector = std::clamp<int64_t>(lanes / std::max(v.group_in, v.group_out), 1, p.groups);
  v.vectors_per_group = ceil_div(v.group_out, lanes);
  v.count = ceil_div(p.groups, v.groups_per_vector) * v.vectors_per_group;
  return v;
}

void pack_grouped(const Conv2dParams& p, const GroupVectors& vectors, const ConvWeight& weight,
                  float* packed) {
  for (int64_t v = 0; v < vectors.count; ++v)
    for (int64_t kh = 0; kh < p.kernel_h; ++kh)
      for (int64_t i = 0; i < vectors.group_in; ++i)
        for (int64_t kw = 0; kw < p.kernel_w; ++kw) {
          const float* tap = weight.data + i * weight.stride_i + kh * weight.stride_h + kw * weight.stride_w;
          for (int64_t lane = 0; lane < vectors.lanes; ++lane) {
            const int64_t o = vectors.first_out(v) + lane;
            *packed++ =
                lane < vectors.out_lanes(v)
                    ? tap[o / vectors.group_out * weight.stride_g + o % vectors.group_out * weight.stride_o]
                    : 0.0f;
          }
        }
}

GroupedConv make_grouped(const Conv2dParams& p, const GroupVectors& vectors, const Nhwc<const float>& input,
                         const float* packed, const RowMap& rows, const float* bias, int64_t block_rows) {
  GroupedConv job{make_depthwise(p, input, packed, rows, bias, block_rows), vectors};
  job.tap_pitch = vectors.lanes;
  return job;
}

namespace {

// work: multiply-adds of all; channels are dealt in multiples of `unit`
DepthwisePlan plan_row_blocks(const DepthwiseConv& job, int64_t work, int64_t channels, int64_t unit,
                              int threads) {
  const int64_t balanced =
      threads == 1 ? 1 : std::clamp<int64_t>(work / kMinDepthwiseWork, 1, kDepthwiseTasks * threads);
  const int64_t wanted = std::max(balanced, work / kMaxTaskWork);
  const int64_t blocks = job.rows.output.n * job.row_blocks;
  DepthwisePlan plan;
  plan.channels = channels;
  // Neighbouring tasks read the rows between them twice: as few as even out the threads.
  plan.blocks_per_task = ceil_div(blocks, std::min(blocks, wanted));
  plan.block_tasks = ceil_div(blocks, plan.blocks_per_task);
  const int64_t channel_tasks = std::min(ceil_div(wanted, plan.block_tasks), ceil_div(channels, unit));
  plan.channels_per_task = ceil_div(ceil_div(channels, channel_tasks), unit) * unit;
  plan.channel_tasks = ceil_div(channels, plan.channels_per_task);
  return plan;
}

}  // namespace

DepthwisePlan plan_depthwise(const DepthwiseConv& job, int threads) {
  const int64_t work = job.rows.output.pixels() * job.rows.output.c * job.kernel_h * job.kernel_w;
  return plan_row_blocks(job, work, job.rows.output.c, kChannelUnit, threads);
}

DepthwisePlan plan_grouped(const GroupedConv& job, int threads) {
  const GroupVectors& v = job.vectors;
  const int64_t work =
      job.rows.output.pixels() * v.count * v.lanes * v.group_in * job.kernel_h * job.kernel_w;
  return plan_row_blocks(job, work, v.count, 1, threads);
}

StripPlan plan_strips(const Conv2dParams& p, const Nhwc<const float>& input, const Nhwc<float>& output,
                      int threads) {
  const int64_t span_h = p.dilation_h * (p.kernel_h - 1) + 1, span_w = p.dilation_w * (p.kernel_w - 1) + 1;
  // Floats of the expanded map, seen by that many outputs.
  const auto seen = [&](int64_t rows, int64_t columns) {
    return std::min((rows - 1) * p.stride_h + span_h, input.h) *
           std::min((columns - 1) * p.stride_w + span_w, input.w) * p.in_channels;
  };
  StripPlan plan;
  // Whole rows, unless two of them are more than a thread may hold: parts compute the columns between them
  // twice.
  plan.columns = output.w;
  plan.rows = std::min<int64_t>(output.h, 2);
  while (plan.columns > 1 && seen(plan.rows, plan.columns) > kMostBlockFloats)
    plan.columns = ceil_div(plan.columns, 2);
  plan.column_parts = ceil_div(output.w, plan.columns);
  while (plan.rows < output.h && seen(plan.rows + 2, plan.columns) <= kL2Floats) plan.rows += 2;

  // Neighbouring tasks compute the rows between them twice.
  const int64_t work = input.pixels() * input.c * p.in_channels +
                       output.pixels() * p.out_channels * (p.kernel_h * p.kernel_w + output.c);
  const int64_t per_image =
      ceil_div(std::max<int64_t>(threads, work / kMaxTaskWork), output.n * plan.column_parts);
  plan.rows_per_task = ceil_div(output.h, std::clamp<int64_t>(per_image, 1, output.h));
  plan.row_tasks = ceil_div(output.h, plan.rows_per_task);
  plan.rows = std::min(plan.rows, plan.rows_per_task);
  plan.floats = seen(plan.rows, plan.columns);
  return plan;
}

// A map that stays in L2 costs little to store and read again; strips add calls, and copies of rows.
bool strips_pay(int64_t expanded_floats) { return expanded_floats > 2 * kL2Floats; }

// Measured: the more columns, the more a tile's blocks of two image rows cost over rows in a line.
bool separable_pays(int64_t middle_floats, int64_t out_channels) {
  constexpr int64_t kMostColumns = 64;
  return middle_floats > kL2Floats && out_channels <= kMostColumns;
}

}  // namespace pyvision
