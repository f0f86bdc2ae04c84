// SPDX-License-Identifier: Apache-2.0
#include "conv2d.cuh"

#include "conv_gemm.cuh"

namespace pyvision::cuda {
namespace {

// Mma: what mma.sync takes
template <class Mma, class T>
void start_mma(const char* op, const Stream& stream, const ConvProblem& p, const Plan& plan,
               const Conv<DenseInputs<T>>& job) {
  const bool packed = packs(p);
  if (plan.block_n == 128) return start<MmaConsumer<Mma, 128, 128>>(op, stream, p, plan, packed, job);
  if (plan.block_m == 128) return start<MmaConsumer<Mma, 128, 64>>(op, stream, p, plan, packed, job);
  start<MmaConsumer<Mma, 64, 64>>(op, stream, p, plan, packed, job);
}

bool has_wide_tiles(const ConvProblem& p) { return p.dtype != DType::kF32 || p.tf32; }

template <class T>
void run(const char* op, const Stream& stream, const ConvProblem& p, void* workspace) {
  const Plan plan = plan_of(stream, p, has_wide_tiles(p));
  const DenseInputs<T> inputs = {static_cast<const T*>(p.input)};
  run_gemm(op, stream, p, plan, inputs, workspace, [&](const Conv<DenseInputs<T>>& job) {
    if constexpr (sizeof(T) == 2) {
      start_mma<T>(op, stream, p, plan, job);
    } else if (p.tf32) {
      start_mma<Tf32>(op, stream, p, plan, job);
    } else if (plan.block_m == 128) {
      start<FmaConsumer<128, 64>>(op, stream, p, plan, packs(p), job);
    } else {
      start<FmaConsumer<64, 64>>(op, stream, p, plan, packs(p), job);
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
  return partial_bytes(plan_of(stream, p, has_wide_tiles(p)), p);
}

void conv2d(const char* op, const Stream& stream, const ConvProblem& p, void* workspace) {
  if (p.dtype == DType::kF16) return run<__half>(op, stream, p, workspace);
  if (p.dtype == DType::kBf16) return run<__nv_bfloat16>(op, stream, p, workspace);
  run<float>(op, stream, p, workspace);
}

}  // namespace pyvision::cuda
