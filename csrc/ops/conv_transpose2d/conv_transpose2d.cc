// SPDX-License-Identifier: Apache-2.0
#include "ops/conv_transpose2d/conv_transpose2d.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "conv/plan.h"
#include "core/arena.h"
#include "core/check.h"
#include "core/parallel.h"
#include "ops/conv2d/conv2d.h"
#include "ops/conv2d/kernels.h"
#include "ops/elementwise/elementwise.h"

namespace pyvision {
namespace {

// One axis of a sub-pixel phase: outputs first, first + stride, … see every `tap_step`-th tap, and along them
// the input moves one pixel per output. With the taps in descending order that is a convolution of stride 1.
//
//   stride 2, kernel 4, padding 1:   phase 0: taps 3 1    phase 1: taps 2 0
struct PhaseAxis {
  int64_t first;              // output coordinate
  std::vector<int64_t> taps;  // descending
  int64_t dilation, pad;      // pad may be negative: the phase starts inside the image
};

// How many of an axis' outputs are the phase's.
int64_t phase_outputs(int64_t extent, int64_t first, int64_t stride) {
  return (extent - first + stride - 1) / stride;
}

std::vector<PhaseAxis> phases_of_axis(int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  std::vector<PhaseAxis> phases;
  for (int64_t first = 0; first < stride; ++first) {
    PhaseAxis phase{first, {}, dilation / std::gcd(dilation, stride), 0};
    for (int64_t tap = kernel - 1; tap >= 0; --tap)
      if ((first + padding - tap * dilation) % stride == 0) phase.taps.push_back(tap);
    if (!phase.taps.empty()) phase.pad = -(first + padding - phase.taps.front() * dilation) / stride;
    phases.push_back(std::move(phase));
  }
  return phases;
}

// The inputs that any of an axis' phases sees, dilation 1: from `pad` before the output's own on, `taps` of
// them.
struct PhaseWindow {
  int64_t pad, taps;
};

PhaseWindow union_of(const std::vector<PhaseAxis>& phases) {
  int64_t first = std::numeric_limits<int64_t>::max(), last = std::numeric_limits<int64_t>::min();
  for (const PhaseAxis& phase : phases) {
    if (phase.taps.empty()) continue;
    first = std::min(first, -phase.pad);
    last = std::max(last, static_cast<int64_t>(phase.taps.size()) - 1 - phase.pad);
  }
  return {-first, last - first + 1};
}

}  // namespace

struct ConvTranspose2d::Impl {
  struct Phase {
    int64_t first_h, first_w;
    Conv2d conv;
  };
  ConvTranspose2dParams params;
  std::vector<Phase> phases;
  // Where taps do not overlap (kernel == stride), all phases of an output row are columns (phase_w, channel)
  // of one 1x1 convolution: neighbours in memory too, where the output is dense. One for each phase_h;
  // otherwise empty.
  std::vector<Conv2d> merged;
  // Where few output channels would leave most lanes of a vector empty: all phases as columns (phase_h,
  // phase_w, channel) of one convolution, whose window is all that any phase sees.
  std::optional<Conv2d> united;

  Conv2d make_phase(const PhaseAxis& vertical, const PhaseAxis& horizontal, const float* weight,
                    const float* bias, int64_t in_h, int64_t in_w) const;
  Conv2d make_merged(int64_t kh, const float* weight, const float* bias) const;
  bool uniting_pays(const std::vector<PhaseAxis>& vertical, const std::vector<PhaseAxis>& horizontal) const;
  Conv2d make_united(const std::vector<PhaseAxis>& vertical, const std::vector<PhaseAxis>& horizontal,
                     const float* weight, const float* bias) const;
  // The epilogue's exponentials are whole vectors, one at least for each row of columns: where rows are
  // shorter, the activation follows in a pass over the whole map.
  bool activates_apart() const { return params.kernel_w * params.out_channels < 16; }
  // How the rows of strips are counted off: whole phases, and whole tiles of those by Winograd's algorithm.
  int64_t row_unit() const;
  RowRange rows_seen(int64_t first, int64_t last) const;
  // The output's rows from first_out on, a multiple of the stride, as many as `output` has; input: from
  // first_in on, all that they see.
  void run(const Nhwc<const float>& input, int64_t first_in, const Nhwc<float>& output,
           int64_t first_out) const;
  void run_merged(const Nhwc<const float>& input, const Nhwc<float>& output) const;
  void spread(int64_t kh, const Nhwc<const float>& input, const Nhwc<float>& output) const;
  // first_row: of the rows of all phases, first_out / stride_h
  void run_united(const Nhwc<const float>& input, int64_t first_in, const Nhwc<float>& output,
                  int64_t first_row) const;
};

ConvTranspose2d::ConvTranspose2d(const ConvTranspose2dParams& params, const float* weight, const float* bias,
                                 int64_t in_h, int64_t in_w)
    : impl_(new Impl) {
  Impl& s = *impl_;
  s.params = params;
  const bool tiles_exactly = params.kernel_h == params.stride_h && params.kernel_w == params.stride_w &&
                             params.padding_h == 0 && params.padding_w == 0 && params.output_padding_h == 0 &&
                             params.output_padding_w == 0 && params.dilation_h == 1 && params.dilation_w == 1;
  if (tiles_exactly && params.groups == 1) {
    for (int64_t kh = 0; kh < params.kernel_h; ++kh) s.merged.push_back(s.make_merged(kh, weight, bias));
    return;
  }
  const auto vertical = phases_of_axis(params.kernel_h, params.stride_h, params.padding_h, params.dilation_h);
  const auto horizontal =
      phases_of_axis(params.kernel_w, params.stride_w, params.padding_w, params.dilation_w);
  // The zeros between a phase's taps and the window spread what is not finite, as Winograd's algorithm does.
  if (params.allow_winograd && in_h > 0 && in_w > 0 && s.uniting_pays(vertical, horizontal)) {
    s.united.emplace(s.make_united(vertical, horizontal, weight, bias));
    return;
  }
  for (const PhaseAxis& v : vertical)
    for (const PhaseAxis& h : horizontal)
      s.phases.push_back({v.first, h.first, s.make_phase(v, h, weight, bias, in_h, in_w)});
}

ConvTranspose2d::ConvTranspose2d(ConvTranspose2d&&) noexcept = default;
ConvTranspose2d::~ConvTranspose2d() = default;

const ConvTranspose2dParams& ConvTranspose2d::params() const { return impl_->params; }

int64_t ConvTranspose2d::packed_bytes() const {
  int64_t bytes = 0;
  for (const Conv2d& row : impl_->merged) bytes += row.packed_bytes();
  for (const Impl::Phase& phase : impl_->phases) bytes += phase.conv.packed_bytes();
  if (impl_->united) bytes += impl_->united->packed_bytes();
  return bytes;
}

Conv2d ConvTranspose2d::Impl::make_phase(const PhaseAxis& v, const PhaseAxis& h, const float* weight,
                                         const float* bias, int64_t in_h, int64_t in_w) const {
  Conv2dParams p;
  p.in_channels = params.in_channels, p.out_channels = params.out_channels, p.groups = params.groups;
  p.kernel_h = static_cast<int64_t>(v.taps.size()), p.kernel_w = static_cast<int64_t>(h.taps.size());
  p.dilation_h = v.dilation, p.dilation_w = h.dilation;
  p.pad_top = v.pad, p.pad_left = h.pad;
  p.activation = params.activation;
  p.allow_winograd = params.allow_winograd;
  const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
  const int64_t kernel_row = params.kernel_w * group_out, filter = params.kernel_h * kernel_row;
  ConvWeight view{weight, group_in * filter, 1, filter, 0, 0};
  if (p.kernel_h == 0 || p.kernel_w == 0) {
    p.kernel_h = 0, p.kernel_w = 1;  // no taps: bias and activation alone
    return Conv2d(p, view, bias, Conv2dAlgorithm::kDirect);
  }
  view.data += v.taps[0] * kernel_row + h.taps[0] * group_out;
  if (p.kernel_h > 1) view.stride_h = (v.taps[1] - v.taps[0]) * kernel_row;  // taps lie at one distance
  if (p.kernel_w > 1) view.stride_w = (h.taps[1] - h.taps[0]) * group_out;
  if (in_h > 0 && in_w > 0) {  // as many outputs as it will have
    p.pad_bottom = phase_outputs(params.out_h(in_h), v.first, params.stride_h) - p.out_h(in_h);
    p.pad_right = phase_outputs(params.out_w(in_w), h.first, params.stride_w) - p.out_w(in_w);
  }
  const Conv2dAlgorithm algorithm =
      choose_conv2d_algorithm(p, Conv2dAlgorithm::kAuto, in_h, in_w, conv_machine(conv2d_kernels()),
                              params.stride_h * params.stride_w);
  return Conv2d(p, view, bias, algorithm);
}

Conv2d ConvTranspose2d::Impl::make_merged(int64_t kh, const float* weight, const float* bias) const {
  Conv2dParams p;
  const int64_t kernel_row = params.kernel_w * params.out_channels;
  p.in_channels = params.in_channels, p.out_channels = kernel_row;
  if (!activates_apart()) p.activation = params.activation;
  std::vector<float> columns_bias;  // (kernel_w, out_channels)
  for (int64_t kw = 0; kw < params.kernel_w && bias != nullptr; ++kw)
    columns_bias.insert(columns_bias.end(), bias, bias + params.out_channels);
  const ConvWeight row{weight + kh * kernel_row, 0, 1, params.kernel_h * kernel_row, 0, 0};
  return Conv2d(p, row, bias != nullptr ? columns_bias.data() : nullptr, Conv2dAlgorithm::kDirect);
}

bool ConvTranspose2d::Impl::uniting_pays(const std::vector<PhaseAxis>& vertical,
                                         const std::vector<PhaseAxis>& horizontal) const {
  const int64_t phases = params.stride_h * params.stride_w, lanes = conv2d_kernels().lanes;
  // Of more channels the phases are better by Winograd's algorithm, where their taps allow it. Measured.
  constexpr int64_t kMostColumns = 16;
  if (phases == 1 || phases * params.out_channels > kMostColumns) return false;
  if (params.groups > 1 || params.dilation_h > 1 || params.dilation_w > 1) return false;
  const auto vectors = [&](int64_t columns) { return (columns + lanes - 1) / lanes; };
  return union_of(vertical).taps * union_of(horizontal).taps * vectors(phases * params.out_channels) <
         params.kernel_h * params.kernel_w * vectors(params.out_channels);
}

Conv2d ConvTranspose2d::Impl::make_united(const std::vector<PhaseAxis>& vertical,
                                          const std::vector<PhaseAxis>& horizontal, const float* weight,
                                          const float* bias) const {
  const PhaseWindow window_h = union_of(vertical), window_w = union_of(horizontal);
  const int64_t channels = params.out_channels;
  Conv2dParams p;
  p.in_channels = params.in_channels, p.out_channels = params.stride_h * params.stride_w * channels;
  p.kernel_h = window_h.taps, p.kernel_w = window_w.taps;
  p.pad_top = window_h.pad, p.pad_left = window_w.pad;
  p.activation = params.activation;
  // (in_channels, kernel_h, kernel_w, out_channels), zeros where a phase has no tap
  const int64_t row = p.kernel_w * p.out_channels, filter = p.kernel_h * row;
  std::vector<float> united_weight(params.in_channels * filter), united_bias;
  int64_t column = 0;
  for (const PhaseAxis& v : vertical) {
    for (const PhaseAxis& h : horizontal) {
      if (bias != nullptr) united_bias.insert(united_bias.end(), bias, bias + channels);
      for (int64_t i = 0; i < params.in_channels; ++i)
        for (size_t a = 0; a < v.taps.size(); ++a)
          for (size_t b = 0; b < h.taps.size(); ++b) {
            const int64_t kh = static_cast<int64_t>(a) + window_h.pad - v.pad,
                          kw = static_cast<int64_t>(b) + window_w.pad - h.pad;
            std::copy_n(weight + ((i * params.kernel_h + v.taps[a]) * params.kernel_w + h.taps[b]) * channels,
                        channels,
                        united_weight.data() + i * filter + kh * row + kw * p.out_channels + column);
          }
      column += channels;
    }
  }
  const ConvWeight view{united_weight.data(), 0, 1, filter, row, p.out_channels};
  return Conv2d(p, view, bias != nullptr ? united_bias.data() : nullptr, Conv2dAlgorithm::kDirect);
}

void ConvTranspose2d::Impl::run_merged(const Nhwc<const float>& input, const Nhwc<float>& output) const {
  for (int64_t kh = 0; kh < params.kernel_h; ++kh) {
    if (output.stride_w != output.c) {
      spread(kh, input, output);
      continue;
    }
    Nhwc<float> rows = output;
    rows.data = output.at(0, kh, 0);
    rows.h = input.h, rows.w = input.w, rows.c = params.kernel_w * output.c;
    rows.stride_h *= params.kernel_h, rows.stride_w *= params.kernel_w;
    merged[kh].run(input, nullptr, rows);
  }
  if (activates_apart() && params.activation.kind != Activation::kNone) {
    Nhwc<const float> sums{output.data, output.n,        output.h,        output.w,
                           output.c,    output.stride_n, output.stride_h, output.stride_w};
    activate(params.activation, sums, output);
  }
}

// For outputs whose pixels are apart: row by row through memory of the columns' order.
void ConvTranspose2d::Impl::spread(int64_t kh, const Nhwc<const float>& input,
                                   const Nhwc<float>& output) const {
  const int64_t columns = params.kernel_w * params.out_channels;
  const int64_t grain = std::max<int64_t>(1, (1 << 15) / std::max<int64_t>(1, input.w * columns));
  parallel_for(input.n * input.h, grain, [&](int64_t begin, int64_t end) {
    const Scratch<float> product(input.w * columns);  // (w, phase_w, channel)
    for (int64_t row = begin; row < end; ++row) {
      const int64_t n = row / input.h, h = row % input.h;  // [0, n), [0, h)
      Nhwc<const float> strip = input;
      strip.data = input.at(n, h, 0);
      strip.n = strip.h = 1;
      merged[kh].run(strip, nullptr, dense_nhwc(product.get(), 1, 1, input.w, columns));
      for (int64_t ow = 0; ow < input.w * params.kernel_w; ++ow)
        std::copy_n(product + ow * params.out_channels, params.out_channels,
                    output.at(n, h * params.kernel_h + kh, ow));
    }
  });
}

// Strip by strip through memory of the columns' order, 64 KB: it stays in cache.
void ConvTranspose2d::Impl::run_united(const Nhwc<const float>& input, int64_t first_in,
                                       const Nhwc<float>& output, int64_t first_row) const {
  if (output.pixels() == 0) return;
  const int64_t stride_h = params.stride_h, stride_w = params.stride_w, channels = output.c;
  const int64_t rows = phase_outputs(output.h, 0, stride_h), width = phase_outputs(output.w, 0, stride_w);
  const int64_t columns = stride_h * stride_w * channels, row_floats = width * columns;
  const int64_t strip_rows = std::clamp<int64_t>((1 << 14) / std::max<int64_t>(1, row_floats), 1, rows);
  const int64_t strips = (rows + strip_rows - 1) / strip_rows;  // per image
  parallel_for(input.n * strips, 1, [&](int64_t begin, int64_t end) {
    const Scratch<float> memory(strip_rows * row_floats);
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t n = strip / strips, first = strip % strips * strip_rows;  // [0, n), [0, rows)
      const int64_t count = std::min(strip_rows, rows - first);
      Nhwc<const float> image = input;
      image.data = input.at(n, 0, 0), image.n = 1;
      united->run_rows(image, first_in, dense_nhwc(memory.get(), 1, count, width, columns),
                       first_row + first);
      for (int64_t oh = first * stride_h; oh < std::min((first + count) * stride_h, output.h); ++oh) {
        const float* from =
            memory + (oh / stride_h - first) * row_floats + oh % stride_h * stride_w * channels;
        for (int64_t ow = 0; ow < output.w; ++ow)
          std::copy_n(from + ow / stride_w * columns + ow % stride_w * channels, channels,
                      output.at(n, oh, ow));
      }
    }
  });
}

int64_t ConvTranspose2d::Impl::row_unit() const {
  int64_t rows = 1;  // of a phase
  for (const Phase& phase : phases)
    rows = std::lcm(rows, std::max(1, winograd_tiling(phase.conv.params(), phase.conv.algorithm()).outputs));
  return rows * params.stride_h;
}

RowRange ConvTranspose2d::Impl::rows_seen(int64_t first, int64_t last) const {
  const auto floor_div = [&](int64_t a) { return a / params.stride_h - (a % params.stride_h < 0 ? 1 : 0); };
  const int64_t reach = params.dilation_h * (params.kernel_h - 1);
  return {floor_div(first + params.padding_h - reach + params.stride_h - 1),
          floor_div(last - 1 + params.padding_h) + 1};
}

void ConvTranspose2d::Impl::run(const Nhwc<const float>& input, int64_t first_in, const Nhwc<float>& output,
                                int64_t first_out) const {
  const int64_t stride_h = params.stride_h, stride_w = params.stride_w, first_row = first_out / stride_h;
  if (!merged.empty()) return run_merged(input, output);  // which see the rows of their own, and no others
  if (united) return run_united(input, first_in, output, first_row);
  for (const Phase& phase : phases) {
    Nhwc<float> part = output;
    part.data = output.at(0, phase.first_h, phase.first_w);
    part.h = phase_outputs(output.h, phase.first_h, stride_h);
    part.w = phase_outputs(output.w, phase.first_w, stride_w);
    part.stride_h *= stride_h;
    part.stride_w *= stride_w;
    if (part.h > 0 && part.w > 0) phase.conv.run_rows(input, first_in, part, first_row);
  }
}

void ConvTranspose2d::run(const Nhwc<const float>& input, const Nhwc<float>& output) const {
  impl_->run(input, 0, output, 0);
}

void ConvTranspose2d::run_nchw(const float* input, int64_t n, int64_t h, int64_t w, float* output) const {
  const Impl& s = *impl_;
  const ConvTranspose2dParams& p = s.params;
  const NchwShape shape{n, p.in_channels, h, w, p.out_channels, p.out_h(h), p.out_w(w), s.row_unit()};
  run_strips<float, float>(
      shape, input, nullptr, output, [&](int64_t first, int64_t last) { return s.rows_seen(first, last); },
      [&](const NchwStrip<float, float>& strip) {
        s.run(strip.input, strip.first_in, strip.output, strip.first_out);
      });
}

}  // namespace pyvision
