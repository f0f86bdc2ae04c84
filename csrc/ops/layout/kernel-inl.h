// SPDX-License-Identifier: Apache-2.0
#include "ops/layout/layout.h"

namespace pyvision::PYVISION_ISA_NS {

// A few long rows (an RGB image's planes) woven into pixels. The compiler turns the fixed inner loop into
// permutes, which fill whole vectors where register blocks would be mostly padding.
// x: (kRows, cols), y: (cols, kRows) dense
template <int kRows>
inline void interleave(const float* x, int64_t x_stride, float* __restrict y, int64_t cols) {
  for (int64_t j = 0; j < cols; ++j)
    for (int r = 0; r < kRows; ++r) y[j * kRows + r] = x[r * x_stride + j];
}

// x: (rows, kCols) dense, y: (kCols, rows)
template <int kCols>
inline void deinterleave(const float* x, float* __restrict y, int64_t y_stride, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i)
    for (int c = 0; c < kCols; ++c) y[c * y_stride + i] = x[i * kCols + c];
}

// kLanes x kLanes in registers. x: (rows <= kLanes, cols <= kLanes), y: (cols, rows)
template <bool kFull>
inline void transpose_block(const float* x, int64_t x_stride, float* y, int64_t y_stride, int rows,
                            int cols) {
  constexpr int kLanes = F32::kLanes;
  F32 block[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    if (kFull)
      block[i] = F32::load(x + i * x_stride);
    else
      block[i] = i < rows ? F32::load_n(x + i * x_stride, cols) : F32::zero();
  }
  transpose(block);
  for (int j = 0; j < kLanes; ++j) {
    if (kFull)
      block[j].store(y + j * y_stride);
    else if (j < cols)
      block[j].store_n(y + j * y_stride, rows);
  }
}

inline void transpose_matrix(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows,
                             int64_t cols) {
  if (y_stride == rows && rows == 2) return interleave<2>(x, x_stride, y, cols);
  if (y_stride == rows && rows == 3) return interleave<3>(x, x_stride, y, cols);
  if (y_stride == rows && rows == 4) return interleave<4>(x, x_stride, y, cols);
  if (x_stride == cols && cols == 2) return deinterleave<2>(x, y, y_stride, rows);
  if (x_stride == cols && cols == 3) return deinterleave<3>(x, y, y_stride, rows);
  if (x_stride == cols && cols == 4) return deinterleave<4>(x, y, y_stride, rows);
  constexpr int64_t kLanes = F32::kLanes;
  constexpr int64_t kPanel =
      32;  // columns walked together: their output lines stay in L1 until they are full
  for (int64_t panel = 0; panel < cols; panel += kPanel) {
    const int64_t panel_end = panel + kPanel < cols ? panel + kPanel : cols;
    for (int64_t i = 0; i < rows; i += kLanes) {
      const int64_t block_rows = rows - i < kLanes ? rows - i : kLanes;
      for (int64_t j = panel; j < panel_end; j += kLanes) {
        const int64_t block_cols = panel_end - j < kLanes ? panel_end - j : kLanes;
        const float* from = x + i * x_stride + j;
        float* to = y + j * y_stride + i;
        if (block_rows == kLanes && block_cols == kLanes)
          transpose_block<true>(from, x_stride, to, y_stride, kLanes, kLanes);
        else
          transpose_block<false>(from, x_stride, to, y_stride, static_cast<int>(block_rows),
                                 static_cast<int>(block_cols));
      }
    }
  }
}

const LayoutKernels layout = {F32::kIsaName, transpose_matrix};

}  // namespace pyvision::PYVISION_ISA_NS
