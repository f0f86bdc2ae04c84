// SPDX-License-Identifier: Apache-2.0
// For headers that the CPU and the GPU compile alike, so that both do the same, rounding by rounding.
#pragma once

#ifdef __CUDACC__
#define PYVISION_DEVICE __device__ inline
#define PYVISION_HOST_DEVICE __host__ __device__ inline
#else
#define PYVISION_DEVICE inline
#define PYVISION_HOST_DEVICE inline
#endif
