// SPDX-License-Identifier: Apache-2.0
#include "ops/conv2d_int8/conv2d_int8.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "conv/direct_tasks.h"
#include "conv/plan.h"
#include "core/arena.h"
#include "core/parallel.h"
#include "ops/conv2d/kernels.h"

namespace pyvision {
namespace {

// Multiply-adds (about 5 us) for which handing a task to another thread pays.
constexpr int64_t kDepthwiseTaskWork = 1 << 18;

// act(a x) = a act(x) for a > 0
bool commutes_with_scale(Activation kind) {
  return kind == Activation::kNone || kind == Activation::kRelu || kind == Activation::kLeakyRelu;
}

}  // namespace

struct Conv2dInt8::Impl {
  Conv2dParams params;
  Quantization quantization;
  const Int8Kernels* kernels;
  bool depthwise;
  int64_t group_in, group_out, k;
  int64_t packed_per_group, padded_per_group;  // words of weights; channels, to whole panels
  int64_t depthwise_rows;                      // Int8Depthwise::packed_rows
  AlignedBuffer packed;                        // per group: panels of B; depthwise: all that it needs
  AlignedBuffer bias, scale;                   // (groups, padded_per_group)

  void pack_weights(const int8_t* weight);
  template <class Out>
  RequantizeTo<Out> epilogue(int64_t group) const;
  // Job: Int8Conv or Int8Depthwise
  template <class Job, class Out>
  Job make_job(const Nhwc<const uint8_t>& input, int64_t pad_top, const Nhwc<Out>& output) const;
  // pad_top: as of Conv2d::Impl::run
  template <class Out, class Direct, class Depthwise>
  void run(const Nhwc<const uint8_t>& input, int64_t pad_top, const Nhwc<Out>& output, Direct direct_kernel,
           Depthwise depthwise_kernel) const;
  void run(const Nhwc<const uint8_t>& input, int64_t pad_top, const Nhwc<uint8_t>& output) const {
    run(input, pad_top, output, kernels->direct_u8, kernels->depthwise_u8);
  }
  void run(const Nhwc<const uint8_t>& input, int64_t pad_top, const Nhwc<float>& output) const {
    run(input, pad_top, output, kernels->direct_f32, kernels->depthwise_f32);
  }
  template <class Out>
  void run_nchw(const uint8_t* input, int64_t n, int64_t h, int64_t w, Out* output) const;
};

Conv2dInt8::Conv2dInt8(const Conv2dParams& params, const Quantization& q, const int8_t* weight,
                       const float* weight_scale, const int32_t* bias)
    : impl_(new Impl) {
  Impl& s = *impl_;
  s.params = params;
  s.quantization = q;
  s.kernels = &conv2d_int8_kernels();
  s.depthwise =
      params.groups > 1 && params.groups == params.in_channels && params.groups == params.out_channels;
  const int64_t groups = s.depthwise ? 1 : params.groups, width = s.kernels->tile.panel_width;
  s.group_in = params.in_channels / groups;
  s.group_out = params.out_channels / groups;
  s.k = params.kernel_h * params.kernel_w * (params.in_channels / params.groups);
  s.padded_per_group = (s.group_out + width - 1) / width * width;

  const auto count = static_cast<size_t>(groups * s.padded_per_group);
  s.bias = AlignedBuffer(count * sizeof(int32_t));
  s.scale = AlignedBuffer(count * sizeof(float));
  std::memset(s.bias.as<void>(), 0, s.bias.bytes());
  std::memset(s.scale.as<void>(), 0, s.scale.bytes());
  const bool divides_later = q.to_u8 && !commutes_with_scale(params.activation.kind);
  for (int64_t o = 0; o < params.out_channels; ++o) {
    const int64_t at = o / s.group_out * s.padded_per_group + o % s.group_out;
    int64_t sum = 0;
    for (int64_t i = 0; i < s.k; ++i) sum += weight[o * s.k + i];
    // Modulo 2^32, as the sums themselves.
    s.bias.as<uint32_t>()[at] =
        static_cast<uint32_t>((bias != nullptr ? bias[o] : 0) - q.input_zero_point * sum);
    const float real = q.input_scale * weight_scale[o];
    s.scale.as<float>()[at] = q.to_u8 && !divides_later ? real / q.output_scale : real;
  }
  s.pack_weights(weight);
}

Conv2dInt8::Conv2dInt8(Conv2dInt8&&) noexcept = default;
Conv2dInt8::~Conv2dInt8() = default;

const Conv2dParams& Conv2dInt8::params() const { return impl_->params; }
const Quantization& Conv2dInt8::quantization() const { return impl_->quantization; }
const char* Conv2dInt8::kernel_isa() const { return impl_->kernels->isa; }

void Conv2dInt8::Impl::pack_weights(const int8_t* weight) {
  if (depthwise) {
    depthwise_rows = params.stride_h == std::gcd(params.stride_h, params.dilation_h) ? 2 : 1;
    packed_per_group =
        kernels->packed_depthwise(params.in_channels, params.kernel_h, params.kernel_w, depthwise_rows);
    packed = AlignedBuffer(static_cast<size_t>(packed_per_group) * sizeof(int32_t));
    kernels->pack_depthwise(weight, bias.as<int32_t>(), scale.as<float>(), params.in_channels,
                            params.kernel_h, params.kernel_w, depthwise_rows, packed.as<int32_t>());
    return;
  }
  const int64_t depth = kernels->tile.depth;
  packed_per_group = conv2d_kernels().packed_floats(group_out, (k + depth - 1) / depth);
  packed = AlignedBuffer(static_cast<size_t>(params.groups * packed_per_group) * sizeof(float));
  for (int64_t g = 0; g < params.groups; ++g)
    kernels->pack(weight + g * group_out * k, group_out, params.kernel_h * params.kernel_w, group_in,
                  packed.as<float>() + g * packed_per_group);
}

template <class Out>
RequantizeTo<Out> Conv2dInt8::Impl::epilogue(int64_t group) const {
  const bool divides = quantization.to_u8 && !commutes_with_scale(params.activation.kind);
  return {bias.as<int32_t>() + group * padded_per_group, scale.as<float>() + group * padded_per_group,
          params.activation, divides ? quantization.output_scale : 1.0f,
          static_cast<float>(quantization.output_zero_point)};
}

template <class Job, class Out>
Job Conv2dInt8::Impl::make_job(const Nhwc<const uint8_t>& input, int64_t pad_top,
                               const Nhwc<Out>& output) const {
  Job job;
  job.input = input;
  job.kernel_h = params.kernel_h, job.kernel_w = params.kernel_w;
  job.stride_h = params.stride_h, job.stride_w = params.stride_w;
  job.pad_top = pad_top, job.pad_left = params.pad_left;
  job.dilation_h = params.dilation_h, job.dilation_w = params.dilation_w;
  job.rows = {{output.h, output.w}, output, {}};
  job.epilogue = epilogue<Out>(0);
  job.input_zero_point = quantization.input_zero_point;
  return job;
}

template <class Out, class Direct, class Depthwise>
void Conv2dInt8::Impl::run(const Nhwc<const uint8_t>& input, int64_t pad_top, const Nhwc<Out>& output,
                           Direct direct_kernel, Depthwise depthwise_kernel) const {
  if (output.pixels() == 0) return;
  if (depthwise) {
    auto job = make_job<Int8Depthwise<Out>>(input, pad_top, output);
    const int64_t common_h = std::gcd(params.stride_h, params.dilation_h);
    const int64_t common_w = std::gcd(params.stride_w, params.dilation_w);
    job.packed = packed.as<int32_t>();
    job.packed_rows = depthwise_rows;
    job.step_h = params.dilation_h / common_h, job.step_w = params.dilation_w / common_w;
    job.column_stride = params.stride_w / common_w;
    const int64_t block_rows = depthwise_rows * job.step_h;
    job.row_blocks = (output.h + block_rows - 1) / block_rows;
    const int64_t blocks = output.n * job.row_blocks, work = block_rows * output.w * input.c * k;
    parallel_for(blocks, std::clamp<int64_t>(kDepthwiseTaskWork / work, 1, blocks),
                 [&](int64_t begin, int64_t end) { depthwise_kernel(job, begin, end); });
    return;
  }
  auto all = make_job<Int8Conv<Out>>(input, pad_top, output);
  all.k = k;
  all.out_channels = group_out;
  run_direct_tasks(all, params.groups, kernels->tile, direct_kernel, [&](int64_t g, Int8Conv<Out>* job) {
    job->packed = packed.as<float>() + g * packed_per_group;
    job->epilogue = epilogue<Out>(g);
  });
}

template <class Out>
void Conv2dInt8::Impl::run_nchw(const uint8_t* input, int64_t n, int64_t h, int64_t w, Out* output) const {
  const Conv2dParams& p = params;
  run_strips<uint8_t, Out>(
      {n, p.in_channels, h, w, p.out_channels, p.out_h(h), p.out_w(w)}, input, nullptr, output,
      [&](int64_t first, int64_t last) { return rows_seen(p, first, last); },
      [&](const NchwStrip<uint8_t, Out>& strip) {
        run(strip.input, p.pad_top + strip.first_in - strip.first_out * p.stride_h, strip.output);
      });
}

void Conv2dInt8::run(const Nhwc<const uint8_t>& input, const Nhwc<uint8_t>& output) const {
  impl_->run(input, impl_->params.pad_top, output);
}
void Conv2dInt8::run(const Nhwc<const uint8_t>& input, const Nhwc<float>& output) const {
  impl_->run(input, impl_->params.pad_top, output);
}
void Conv2dInt8::run_nchw(const uint8_t* input, int64_t n, int64_t h, int64_t w, uint8_t* output) const {
  impl_->run_nchw(input, n, h, w, output);
}
void Conv2dInt8::run_nchw(const uint8_t* input, int64_t n, int64_t h, int64_t w, float* output) const {
  impl_->run_nchw(input, n, h, w, output);
}

}  // namespace pyvision
