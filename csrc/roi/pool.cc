// SPDX-License-Identifier: Apache-2.0
#include "roi/pool.h"

#include <cstring>
#include <type_traits>

#include "core/arena.h"
#include "ops/layout/layout.h"

namespace pyvision {
namespace {

// x: (rows, cols) with rows x_stride apart, y: (cols, rows) with rows y_stride apart
template <class T>
void transpose(const T* x, int64_t x_stride, T* y, int64_t y_stride, int64_t rows, int64_t cols) {
  if constexpr (std::is_same_v<T, float>) {
    layout_kernels().transpose(x, x_stride, y, y_stride, rows, cols);
  } else {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < cols; ++j) y[j * y_stride + i] = x[i * x_stride + j];
  }
}

template <class T>
void gather_planar(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                   GatherRegion<T> run, T* out) {
  const int64_t block = std::min<int64_t>(maps.channels, 64 / sizeof(T));  // one cache line a pixel
  const int64_t blocks = (maps.channels + block - 1) / block, bins = grid.bins();
  const std::vector<RegionGroup>& groups = regions.groups();
  parallel_for(static_cast<int64_t>(groups.size()) * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const RegionGroup& group = groups[static_cast<size_t>(task / blocks)];
      const int64_t c = task % blocks * block, channels = std::min(block, maps.channels - c);
      const RoiLevel<const T>& level = maps.levels[regions[group.begin].level];
      int64_t row_begin = level.h, row_end = 0;
      for (int64_t i = group.begin; i < group.end; ++i) {
        row_begin = std::min(row_begin, regions[i].row_begin);
        row_end = std::max(row_end, regions[i].row_end);
      }
      const int64_t pixels = std::max<int64_t>(0, row_end - row_begin) * level.w, plane = level.h * level.w;
      Scratch<T> map(pixels * channels), pooled(bins * channels);
      const T* const planes = level.data + (regions[group.begin].image * maps.channels + c) * plane;
      transpose(planes + row_begin * level.w, plane, map.get(), channels, channels, pixels);
      for (int64_t i = group.begin; i < group.end; ++i) {
        const int64_t stride_h = level.w * channels;
        run(regions[i], map.get() - row_begin * stride_h, stride_h, channels, channels, pooled.get());
        transpose(pooled.get(), channels, out + (regions[i].box * maps.channels + c) * bins, bins, bins,
                  channels);
      }
    }
  });
}

template <class T>
void gather_interleaved(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                        GatherRegion<T> run, T* out) {
  const int64_t channels = maps.channels, cost = grid.bins() * (channels * 8 + 64);
  const int64_t grain = std::max<int64_t>(1, (int64_t{1} << 19) / std::max<int64_t>(cost, 1));
  parallel_for(regions.size(), grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Region<T>& region = regions[i];
      const RoiLevel<const T>& level = maps.levels[region.level];
      const int64_t stride_h = level.w * channels;
      run(region, level.data + region.image * level.h * stride_h, stride_h, channels, channels,
          out + region.box * grid.bins() * channels);
    }
  });
}

}  // namespace

template <class T>
void gather_regions(const RoiMaps<const T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                    GatherRegion<T> run, T* out) {
  if (maps.planar && maps.channels > 1)
    gather_planar(maps, grid, regions, run, out);
  else
    gather_interleaved(maps, grid, regions, run, out);
}

template <class T>
void scatter_regions(const RoiMaps<T>& maps, const RoiGrid& grid, const Regions<T>& regions,
                     ScatterBins<T> kernel, const T* grad) {
  const int64_t channels = maps.channels, bins = grid.bins();
  const bool planar = maps.planar && channels > 1;
  AlignedBuffer transposed;
  if (planar) {
    transposed = AlignedBuffer(static_cast<size_t>(regions.size() * bins * channels) * sizeof(T));
    parallel_for(regions.size(), 4, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k)
        transpose(grad + k * bins * channels, bins, transposed.as<T>() + k * bins * channels, channels,
                  channels, bins);
    });
    grad = transposed.as<T>();
  }
  // Strips of rows of all images of all levels.
  struct Strips {
    int64_t level, rows, per_image, count;
  };
  std::vector<Strips> strips;
  int64_t tasks = 0;
  for (int64_t l = 0; l < maps.level_count; ++l) {
    const RoiLevel<T>& level = maps.levels[l];
    const int64_t row_bytes = std::max<int64_t>(1, level.w * channels * static_cast<int64_t>(sizeof(T)));
    const int64_t rows = std::clamp<int64_t>((512 << 10) / row_bytes, 1, level.h);  // half of a usual L2
    strips.push_back({l, rows, (level.h + rows - 1) / rows, 0});
    strips.back().count = strips.back().per_image * maps.n;
    tasks += strips.back().count;
  }
  parallel_for(tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      int64_t rest = task;
      const Strips* strip = strips.data();
      while (rest >= strip->count) rest -= strip++->count;
      const RoiLevel<T>& level = maps.levels[strip->level];
      const int64_t image = rest / strip->per_image, row = rest % strip->per_image * strip->rows;
      const int64_t row_end = std::min(level.h, row + strip->rows), stride_h = level.w * channels;
      const int64_t first = image * level.h * stride_h, size = (row_end - row) * stride_h;
      Scratch<T> scratch(planar ? size : 0);
      T* const map = planar ? scratch.get() : level.data + first + row * stride_h;
      std::memset(map, 0, static_cast<size_t>(size) * sizeof(T));
      for (const RegionGroup& group : regions.groups()) {
        if (regions[group.begin].level != strip->level || regions[group.begin].image != image) continue;
        for (int64_t i = group.begin; i < group.end && regions[i].row_begin < row_end; ++i) {
          if (regions[i].row_end <= row) continue;
          kernel(grid, regions[i].taps, grad + regions[i].box * bins * channels, channels, row, row_end, map,
                 stride_h, channels);
        }
      }
      if (planar)
        transpose(map, channels, level.data + first + row * level.w, level.h * level.w, size / channels,
                  channels);
    }
  });
}

#define PYVISION_INSTANTIATE(T)                                                                             \
  template void gather_regions(const RoiMaps<const T>&, const RoiGrid&, const Regions<T>&, GatherRegion<T>, \
                               T*);                                                                         \
  template void scatter_regions(const RoiMaps<T>&, const RoiGrid&, const Regions<T>&, ScatterBins<T>,       \
                                const T*);
PYVISION_INSTANTIATE(float)
PYVISION_INSTANTIATE(double)
#undef PYVISION_INSTANTIATE

}  // namespace pyvision
