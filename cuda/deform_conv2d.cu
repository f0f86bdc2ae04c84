// SPDX-License-Identifier: Apache-2.0
#include "deform_conv2d.cuh"

#include "common/sampling.cuh"
#include "conv_gemm.cuh"
#include "deform_maps.cuh"

namespace pyvision::cuda {
namespace {

template <class T, int kBlockM, bool kPacked>
class BilinearProducer;

// The source of a deformable convolution.
template <class T>
struct DeformInputs {
  using Item = T;
  template <int kBlockM, bool kPacked>
  using Producer = BilinearProducer<T, kBlockM, kPacked>;
  const T* data;  // (n, h, w, in_channels)
  DeformMap<const T> offset, mask;
  int group_channels;  // to an offset group

  __device__ static int64_t output_pixel(const ConvGeometry&, int64_t row) { return row; }
};

// Samples the inputs where the offsets say. With kPacked channels of a group and of an offset group come in
// whole packs, so that a chunk is one sample.
template <class T, int kBlockM, bool kPacked>
class BilinearProducer {
 public:
  __device__ __forceinline__ BilinearProducer(const ConvGeometry& g, const DeformInputs<T>& source, int group,
                                              int64_t first_row, int first_stage)
      : g_(g),
        source_(source),
        first_channel_(group * g.group_in),
        chunk_(static_cast<int>(threadIdx.x) % kChunks),
        row_(static_cast<int>(threadIdx.x) / kChunks),
        tap_(g, int64_t{first_stage} * kDepth + chunk_ * kPack<T>) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int64_t row = first_row + row_ + i * kRowsApart;  // [0, n * out_h * out_w) or beyond
      const int64_t pixel = row < g.rows ? row : 0;
      column_[i] = static_cast<int>(pixel % g.out_w);
      line_[i] = row < g.rows ? static_cast<int>(pixel / g.out_w % g.out_h) : -1;
      image_[i] = static_cast<int>(pixel / g.out_w / g.out_h);
    }
  }

  __device__ __forceinline__ void fill(unsigned char* tile) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      unsigned char* const to = tile + swizzled(row_ + i * kRowsApart, chunk_);
      if constexpr (kPacked) {
        float values[kPack<T>] = {};
        sample(i, tap_, values);
        T items[kPack<T>];
        for (int j = 0; j < kPack<T>; ++j) items[j] = from_float<T>(values[j]);
        uint4 raw;
        memcpy(&raw, items, sizeof raw);
        *reinterpret_cast<uint4*>(to) = raw;
      } else {
        Tap tap = tap_;
#pragma unroll 1  // few layers come here, and unrolled they would take most of the time to compile
        for (int j = 0; j < kPack<T>; ++j, tap.advance(g_, 1)) {
          float value[1] = {};
          sample(i, tap, value);
          reinterpret_cast<T*>(to)[j] = from_float<T>(value[0]);
        }
      }
    }
    tap_.advance(g_, kDepth);
  }

 private:
  static constexpr int kRows = kBlockM / kRowsApart, kDepth = kRowBytes / static_cast<int>(sizeof(T));

  template <int kVec>
  __device__ __forceinline__ void sample(int i, const Tap& tap, float (&to)[kVec]) const {
    if (line_[i] < 0 || tap.kh >= g_.kernel_h) return;
    const int channel = first_channel_ + tap.channel;
    const int64_t place = int64_t{channel / source_.group_channels} * g_.kernel_h * g_.kernel_w +
                          tap.kh * g_.kernel_w + tap.kw;  // [0, offset_groups * taps)
    const int n = image_[i], oh = line_[i], ow = column_[i];
    const float y = static_cast<float>(oh * g_.stride_h - g_.pad_top + tap.kh * g_.dilation_h) +
                    to_float(*at(source_.offset, n, 2 * place, oh, ow));
    const float x = static_cast<float>(ow * g_.stride_w - g_.pad_left + tap.kw * g_.dilation_w) +
                    to_float(*at(source_.offset, n, 2 * place + 1, oh, ow));
    BilinearPoint point;
    if (!point.locate(y, x, g_.h, g_.w)) return;
    const float scale = source_.mask.data == nullptr ? 1.0f : to_float(*at(source_.mask, n, place, oh, ow));
    add_sample(source_.data + int64_t{n} * g_.h * g_.w * g_.in_channels + channel, g_.w, g_.in_channels,
               point, scale, to);
  }

  const ConvGeometry& g_;
  const DeformInputs<T>& source_;
  int first_channel_, chunk_, row_;
  Tap tap_;
  int image_[kRows], line_[kRows], column_[kRows];  // of the output pixel; line -1: beyond the last
};

template <class T>
void run(const char* op, const Stream& stream, const DeformProblem& p, void* workspace) {
  const ConvGeometry g = geometry_of(p.conv);
  const Plan plan = plan_of(stream, g, p.conv.dtype, /*wide=*/false);
  const auto group_channels = static_cast<int>(p.conv.params.in_channels / p.offset_groups);
  const bool packed = packs(g, p.conv.dtype, p.conv.input, p.conv.weight) && group_channels % kPack<T> == 0;
  const DeformInputs<T> inputs = {static_cast<const T*>(p.conv.input), typed<const T>(p.offset),
                                  typed<const T>(p.mask), group_channels};
  run_gemm(op, stream, g, plan, inputs, static_cast<const T*>(p.conv.weight), epilogue_of<T>(p.conv),
           workspace, [&](const Conv<DeformInputs<T>>& job) { start_narrow(op, stream, plan, packed, job); });
}

}  // namespace

size_t deform_conv2d_workspace_bytes(const Stream& stream, const DeformProblem& p) {
  const ConvGeometry g = geometry_of(p.conv);
  return partial_bytes(plan_of(stream, g, p.conv.dtype, /*wide=*/false), g);
}

void deform_conv2d(const char* op, const Stream& stream, const DeformProblem& p, void* workspace) {
  with_float(p.conv.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, workspace); });
}

}  // namespace pyvision::cuda
