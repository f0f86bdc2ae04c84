// SPDX-License-Identifier: Apache-2.0
#include "conv2d.cuh"

#include "conv_gemm.cuh"

namespace pyvision::cuda {
namespace {

// Mma: what mma.sync takes
template <class Mma, class T>
void start_mma(const char* op, const Stream& stream, const Plan& plan, bool packed,
               const Conv<DenseInputs<T>>& job) {
  if (plan.block_n == 128) return start<MmaConsumer<Mma, 128, 128>>(op, stream, plan, packed, job);
  if (plan.block_m == 128) return start<MmaConsumer<Mma, 128, 64>>(op, stream, plan, packed, job);
  start<MmaConsumer<Mma, 64, 64>>(op, stream, plan, packed, job);
}

Plan plan_of(const Stream& stream, const ConvProblem& p) {
  return plan_of(stream, geometry_of(p), p.dtype, /*wide=*/p.dtype != DType::kF32 || p.tf32);
}

template <class T>
void run(const char* op, const Stream& stream, const ConvProblem& p, void* workspace) {
  const ConvGeometry g = geometry_of(p);
  const Plan plan = plan_of(stream, p);
  const bool packed = packs(g, p.dtype, p.input, p.weight);
  const DenseInputs<T> inputs = {static_cast<const T*>(p.input)};
  run_gemm(op, stream, g, plan, inputs, static_cast<const T*>(p.weight), epilogue_of<T>(p), workspace,
           [&](const Conv<DenseInputs<T>>& job) {
             if constexpr (sizeof(T) == 2) {
               start_mma<T>(op, stream, plan, packed, job);
             } else if (p.tf32) {
               start_mma<Tf32>(op, stream, plan, packed, job);
             } else {
               start_narrow(op, stream, plan, packed, job);
             }
           });
}

}  // namespace

ConvGeometry geometry_of(const ConvProblem& p) {
  const Conv2dParams& q = p.params;
  const auto narrow = [](int64_t value) { return static_cast<int>(value); };
  return {narrow(p.h),
          narrow(p.w),
          narrow(p.out_h()),
          narrow(p.out_w()),
          narrow(q.kernel_h),
          narrow(q.kernel_w),
          narrow(q.stride_h),
          narrow(q.stride_w),
          narrow(q.pad_top),
          narrow(q.pad_left),
          narrow(q.dilation_h),
          narrow(q.dilation_w),
          narrow(q.in_channels),
          narrow(q.out_channels),
          narrow(q.in_channels / q.groups),
          narrow(q.out_channels / q.groups),
          p.n * p.out_h() * p.out_w()};
}

size_t conv2d_workspace_bytes(const Stream& stream, const ConvProblem& p) {
  return partial_bytes(plan_of(stream, p), geometry_of(p));
}

void conv2d(const char* op, const Stream& stream, const ConvProblem& p, void* workspace) {
  with_float(p.dtype, [&](auto zero) { run<decltype(zero)>(op, stream, p, workspace); });
}

}  // namespace pyvision::cuda
