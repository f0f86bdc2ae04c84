// SPDX-License-Identifier: Apache-2.0
// The gradients of deform_conv2d. With its samples as columns it is a 1x1 convolution, whose gradients are
// those of conv2d; the columns' gradients go on to samples and pixels as in sampled_sums.cuh.
#include "conv2d_backward.cuh"
#include "conv_transpose2d.cuh"
#include "deform_maps.cuh"
#include "sampled_sums.cuh"

namespace pyvision::cuda {
namespace {

template <class T>
struct DeformSource {
  using Item = T;
  SampledShape shape;  // groups: offset groups
  const T* map;
  const T* grad_columns;  // (n, out_h, out_w, groups of channels, taps, group_in)
  DeformMap<const T> offset, mask;
  DeformMap<T> grad_offset, grad_mask;
  ConvGeometry g;

  struct Place {
    int64_t n;
    int oh, ow;
  };
  __device__ Place place_of(int64_t place) const {
    return {place / g.out_w / g.out_h, static_cast<int>(place / g.out_w % g.out_h),
            static_cast<int>(place % g.out_w)};
  }
  __device__ Sample sample(int64_t place, int group, int tap) const {
    const Place p = place_of(place);
    const int64_t entry = int64_t{group} * shape.taps + tap;
    const int kh = tap / g.kernel_w, kw = tap % g.kernel_w;
    const float y = static_cast<float>(p.oh * g.stride_h - g.pad_top + kh * g.dilation_h) +
                    to_float(*at(offset, p.n, 2 * entry, p.oh, p.ow));
    const float x = static_cast<float>(p.ow * g.stride_w - g.pad_left + kw * g.dilation_w) +
                    to_float(*at(offset, p.n, 2 * entry + 1, p.oh, p.ow));
    const float scale = mask.data == nullptr ? 1.0f : to_float(*at(mask, p.n, entry, p.oh, p.ow));
    return {y, x, scale, g.h, g.w, 0};
  }
  __device__ PlanePixel pixel(int64_t pixel) const {
    return {static_cast<int>(pixel / g.w), static_cast<int>(pixel % g.w), g.w, 0};
  }
  // Of a channel of an offset group, in items from the columns' start.
  __device__ int64_t column(int64_t place, int group, int tap, int channel) const {
    const int all = group * shape.channels + channel;
    const int64_t row = place * (g.in_channels / g.group_in) + all / g.group_in;
    return (row * shape.taps + tap) * g.group_in + all % g.group_in;
  }
  __device__ const T* grad(int64_t place, int group, int tap, int channel) const {
    return grad_columns + column(place, group, tap, channel);
  }
  __device__ void store(int64_t place, int group, int tap, const Sample&, float by_scale, float by_y,
                        float by_x) const {
    const Place p = place_of(place);
    const int64_t entry = int64_t{group} * shape.taps + tap;
    *at(grad_offset, p.n, 2 * entry, p.oh, p.ow) = from_float<T>(by_y);
    *at(grad_offset, p.n, 2 * entry + 1, p.oh, p.ow) = from_float<T>(by_x);
    if (grad_mask.data != nullptr) *at(grad_mask, p.n, entry, p.oh, p.ow) = from_float<T>(by_scale);
  }
};

// A thread: kVec channels of one sample.
template <class T, int kVec>
__global__ void __launch_bounds__(kSumThreads, 2) write_columns(DeformSource<T> source, T* columns) {
  const SampledShape& s = source.shape;
  const int vectors = s.channels / kVec;
  const int64_t index = int64_t{blockIdx.x} * kSumThreads + threadIdx.x, number = index / vectors;
  if (number >= s.samples()) return;
  const int channel = static_cast<int>(index % vectors) * kVec, tap = static_cast<int>(number % s.taps);
  const OutputPlace at(s, number / s.taps);
  const Sample sample = source.sample(at.place, at.group, tap);
  BilinearPoint point;
  float value[kVec] = {};
  if (point.locate(sample.y, sample.x, sample.h, sample.w))
    add_sample(plane_of(source, at, sample) + channel, sample.w, s.stride(), point, sample.scale, value);
  store_floats<kVec>(value, columns + source.column(at.place, at.group, tap, channel));
}

SampledShape shape_of(const DeformProblem& p) {
  const ConvProblem& c = p.conv;
  return {c.n,
          c.h * c.w,
          c.out_h() * c.out_w(),
          static_cast<int>(p.offset_groups),
          static_cast<int>(c.params.in_channels / p.offset_groups),
          static_cast<int>(c.params.kernel_h * c.params.kernel_w)};
}

// The 1x1 convolution of the columns.
ConvProblem of_columns(const ConvProblem& conv, const void* columns) {
  const Conv2dParams& q = conv.params;
  ConvProblem p;
  p.params.in_channels = q.in_channels * q.kernel_h * q.kernel_w;
  p.params.out_channels = q.out_channels;
  p.params.groups = q.groups;
  p.dtype = conv.dtype;
  p.n = conv.n, p.h = conv.out_h(), p.w = conv.out_w();
  p.input = columns;
  return p;
}
// Its adjoint.
ConvTransposeProblem from_columns(const ConvProblem& conv, const void* grad, void* grad_columns) {
  const Conv2dParams& q = conv.params;
  ConvTransposeProblem p;
  p.params.in_channels = q.out_channels;
  p.params.out_channels = q.in_channels * q.kernel_h * q.kernel_w;
  p.params.groups = q.groups;
  p.dtype = conv.dtype;
  p.n = conv.n, p.h = p.out_h = conv.out_h(), p.w = p.out_w = conv.out_w();
  p.input = grad, p.weight = conv.weight, p.output = grad_columns;
  return p;
}

struct Space {
  Workspace workspace;
  void *columns, *grad_columns, *convolution;
  int64_t rows;

  // The samples' part comes behind these.
  Space(const Stream& stream, const DeformProblem& p, void* memory) : workspace(memory) {
    const ConvProblem& c = p.conv;
    rows = c.n * c.out_h() * c.out_w();
    const int64_t width = c.params.in_channels * c.params.kernel_h * c.params.kernel_w;
    const int64_t item = c.dtype == DType::kF32 ? 4 : 2;
    columns = workspace.take<char>(rows * width * item);
    grad_columns = workspace.take<char>(rows * width * item);
    const size_t sizes[] = {conv_transpose2d_workspace_bytes(stream, from_columns(c, nullptr, nullptr)),
                            conv2d_grad_weight_workspace_bytes(stream, of_columns(c, nullptr)),
                            sum_rows_workspace_bytes(stream, rows, c.params.out_channels)};
    size_t largest = 0;
    for (const size_t size : sizes) largest = size > largest ? size : largest;
    convolution = workspace.take<char>(static_cast<int64_t>(largest));
  }
};

template <class T>
void run(const char* op, const Stream& stream, const DeformProblem& p, const DeformGradients& grad,
         void* memory) {
  const ConvProblem& c = p.conv;
  Space space(stream, p, memory);
  const DeformSource<T> source = {shape_of(p),
                                  static_cast<const T*>(c.input),
                                  static_cast<const T*>(space.grad_columns),
                                  typed<const T>(p.offset),
                                  typed<const T>(p.mask),
                                  typed<T>(grad.offset),
                                  typed<T>(grad.mask),
                                  geometry_of(c)};
  const bool packed =
      in_packs<T>(source.shape.channels, c.input, grad.input) && in_packs<T>(source.g.group_in);
  const int64_t threads = source.shape.samples() * (source.shape.channels / (packed ? kPack<T> : 1));
  launch(op, stream, {blocks_of(threads, kSumThreads), kSumThreads},
         packed ? write_columns<T, kPack<T>> : write_columns<T, 1>, source, static_cast<T*>(space.columns));
  conv2d_grad_weight(op, stream, of_columns(c, space.columns), grad.output, space.convolution, grad.weight);
  sum_rows(op, stream, c.dtype, grad.output, space.rows, c.params.out_channels, space.convolution, grad.bias);
  conv_transpose2d(op, stream, from_columns(c, grad.output, space.grad_columns), space.convolution);
  run_sample_gradients(op, stream, source);
  run_pull(op, stream, source, &space.workspace, static_cast<T*>(grad.input), packed);
}

}  // namespace

size_t deform_conv2d_backward_workspace_bytes(const char* op, const Stream& stream, const DeformProblem& p) {
  Space space(stream, p, nullptr);
  take_pull_space(op, stream, shape_of(p), &space.workspace);
  return space.workspace.bytes();
}

void deform_conv2d_backward(const char* op, const Stream& stream, const DeformProblem& p,
                            const DeformGradients& grad, void* workspace) {
  with_float(p.conv.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, grad, workspace); });
}

}  // namespace pyvision::cuda
