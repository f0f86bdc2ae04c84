// SPDX-License-Identifier: Apache-2.0
#include "max_unpool2d.cuh"

#include "common/numbers.cuh"
#include "common/rows.cuh"
#include "common/workspace.h"

namespace pyvision::cuda {
namespace {

// Rows of the grids below: pixels of a map in NHWC, one item a channel.

// Nobody's places.
__global__ void __launch_bounds__(kRowThreads) clear_owners(uint32_t* owners, RowGrid grid) {
  const RowItems items(grid);
  for (int c = items.first; c < items.end; c += items.step) owners[items.row * grid.items + c] = 0;
}

// Of several values for one place the last owns it, whichever comes first: a maximum knows no order.
__global__ void __launch_bounds__(kRowThreads)
    find_owners(const int64_t* indices, int64_t values, int64_t places, uint32_t* owners, RowGrid grid) {
  const RowItems items(grid);
  const int64_t image = items.row / values * places;
  const auto owner = static_cast<uint32_t>(items.row % values + 1);
  for (int c = items.first; c < items.end; c += items.step) {
    const int64_t place = indices[items.row * grid.items + c];
    if (place >= 0 && place < places) atomicMax(&owners[(image + place) * grid.items + c], owner);
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    place_values(const T* x, const uint32_t* owners, int64_t values, int64_t places, T* y, RowGrid grid) {
  const RowItems items(grid);
  const int64_t image = items.row / places * values;
  for (int c = items.first; c < items.end; c += items.step) {
    const int64_t at = items.row * grid.items + c;
    const uint32_t owner = owners[at];
    y[at] = owner == 0 ? from_float<T>(0) : x[(image + owner - 1) * grid.items + c];
  }
}

template <class T>
__global__ void __launch_bounds__(kRowThreads)
    gather_values(const T* y, const int64_t* indices, int64_t values, int64_t places, T* x, RowGrid grid) {
  const RowItems items(grid);
  const int64_t image = items.row / values * places;
  for (int c = items.first; c < items.end; c += items.step) {
    const int64_t at = items.row * grid.items + c, place = indices[at];
    x[at] = place >= 0 && place < places ? y[(image + place) * grid.items + c] : from_float<T>(0);
  }
}

uint32_t* owners_of(const MaxUnpoolProblem& p, Workspace* workspace) {
  return workspace->take<uint32_t>(p.n * p.places * p.channels);
}

}  // namespace

size_t max_unpool2d_workspace(const MaxUnpoolProblem& problem) {
  Workspace counted;
  owners_of(problem, &counted);
  return counted.bytes();
}

void max_unpool2d(const char* op, const Stream& stream, const MaxUnpoolProblem& p, const void* input,
                  void* memory, void* output) {
  check(p.values < UINT32_MAX, op, "expected fewer than 2^32 - 1 values in a plane, got ", p.values);
  Workspace workspace(memory);
  uint32_t* const owners = owners_of(p, &workspace);
  const RowGrid from(op, p.n * p.values, p.channels), to(op, p.n * p.places, p.channels);
  launch(op, stream, to.shape(), clear_owners, owners, to);
  launch(op, stream, from.shape(), find_owners, p.indices, p.values, p.places, owners, from);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(op, stream, to.shape(), place_values<T>, static_cast<const T*>(input), owners, p.values, p.places,
           static_cast<T*>(output), to);
  });
}

void max_unpool2d_backward(const char* op, const Stream& stream, const MaxUnpoolProblem& p,
                           const void* grad_output, void* grad_input) {
  const RowGrid grid(op, p.n * p.values, p.channels);
  with_float(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch(op, stream, grid.shape(), gather_values<T>, static_cast<const T*>(grad_output), p.indices,
           p.values, p.places, static_cast<T*>(grad_input), grid);
  });
}

}  // namespace pyvision::cuda
