// SPDX-License-Identifier: Apache-2.0
#include "ops/rle/rle.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "core/arena.h"

namespace pyvision {
namespace {

// Bits [begin, end).
void set_bits(uint64_t* bits, int64_t begin, int64_t end) {
  while (begin < end) {
    const int64_t bit = begin % 64, length = std::min(end - begin, 64 - bit);
    bits[begin / 64] |= ~uint64_t{0} >> (64 - length) << bit;
    begin += length;
  }
}

// The runs of columns as bits (w, ceil(h / 64)), of which those beyond h do not matter. Returns how many.
int64_t find_runs(const uint64_t* bits, int64_t h, int64_t w, uint32_t* runs) {
  const int64_t words = (h + 63) / 64;
  uint64_t before = 0;  // the pixel before
  int64_t position = 0, run_start = 0, count = 0;
  for (int64_t c = 0; c < w; ++c) {
    for (int64_t k = 0; k < words; ++k) {
      const uint64_t word = *bits++;
      const int64_t valid = std::min<int64_t>(64, h - 64 * k);
      uint64_t changes = word ^ (word << 1 | before);
      if (valid < 64) changes &= (uint64_t{1} << valid) - 1;
      for (; changes != 0; changes &= changes - 1) {
        const int64_t change = position + __builtin_ctzll(changes);
        runs[count++] = static_cast<uint32_t>(change - run_start);
        run_start = change;
      }
      before = word >> (valid - 1) & 1;
      position += valid;
    }
  }
  runs[count++] = static_cast<uint32_t>(h * w - run_start);
  return count;
}

}  // namespace

int64_t rle_compress(RunsView runs, char* text) {
  char* out = text;
  for (int64_t i = 0; i < runs.count; ++i) {
    int64_t value = int64_t{runs.data[i]} - (i > 2 ? runs.data[i - 2] : 0);
    for (bool more = true; more;) {
      const int64_t digit = value & 31;
      value >>= 5;
      more = value != (digit & 16 ? -1 : 0);  // what is left is not merely the sign
      *out++ = static_cast<char>(48 + digit + (more ? 32 : 0));
    }
  }
  return out - text;
}

const char* rle_decompress(const char* text, int64_t length, uint32_t* runs, int64_t* count) {
  constexpr uint64_t kEveryByte = 0x0101010101010101;
  bool bad = false;
  for (int64_t p = 0; p < length; ++p) bad |= static_cast<uint8_t>(text[p] - 48) > 63;
  if (bad) return "characters from '0' to 'o'";
  int64_t i = 0;
  // How many digits a number has could not be foreseen, so it takes no branch.
  for (int64_t p = 0; p < length; ++i) {
    uint64_t digits = 48 * kEveryByte;
    if (length - p >= 8)
      std::memcpy(&digits, text + p, 8);
    else
      std::memcpy(&digits, text + p, static_cast<size_t>(length - p));
    digits -= 48 * kEveryByte;
    const uint64_t last = ~digits & 32 * kEveryByte;
    const int digit_count = last == 0 ? 8 : __builtin_ctzll(last) / 8 + 1;
    if (digit_count > kMaxRleDigits) return "numbers of at most 7 digits";
    p += digit_count;
    if (p > length) return "a last number that is whole";
    digits &=
        31 * kEveryByte;  // five bits of each eight, then ten of sixteen, twenty of thirty-two, all forty
    digits = (digits & 0x00ff00ff00ff00ff) | (digits & 0xff00ff00ff00ff00) >> 3;
    digits = (digits & 0x0000ffff0000ffff) | (digits & 0xffff0000ffff0000) >> 6;
    digits = (digits & 0x00000000ffffffff) | (digits & 0xffffffff00000000) >> 12;
    const int unused = 64 - 5 * digit_count;
    int64_t value = static_cast<int64_t>(digits << unused) >> unused;  // its highest bit is the sign
    if (i > 2) value += runs[i - 2];
    if (value < 0 || value > kMaxRlePixels) return "lengths of 0 to 2^32 - 1";
    runs[i] = static_cast<uint32_t>(value);
  }
  *count = i;
  return nullptr;
}

bool rle_sums_to(RunsView runs, int64_t pixels) {
  int64_t sum = 0;
  for (int64_t i = 0; i < runs.count; ++i) sum += runs.data[i];  // fewer than 2^31 of less than 2^32
  return sum == pixels;
}

int64_t rle_encode(const uint8_t* mask, int64_t h, int64_t w, uint32_t* runs) {
  const int64_t words = (h + 63) / 64;
  Scratch<uint64_t> blocks(64 * ((w + 63) / 64)), bits(w * words);
  rle_kernels().pack_columns(mask, h, w, blocks, bits);
  return find_runs(bits, h, w, runs);
}

void rle_decode(RunsView runs, int64_t h, int64_t w, uint8_t* mask) {
  const int64_t words = (h + 63) / 64;
  const auto unpack = rle_kernels().unpack_columns;
  Scratch<uint64_t> memory(64 * words);
  uint64_t* const bits = memory;
  int64_t i = 1;
  int64_t start = runs.count > 1 ? runs.data[0] : h * w, end = runs.count > 1 ? start + runs.data[1] : h * w;
  for (int64_t first = 0; first < w; first += 64) {
    const int64_t columns = std::min<int64_t>(64, w - first);
    if (start >= (first + columns) * h) continue;
    std::fill_n(bits, columns * words, uint64_t{0});
    for (int64_t c = 0; c < columns; ++c) {
      const int64_t top = (first + c) * h;
      while (start < top + h) {
        set_bits(bits + c * words, std::max(start, top) - top, std::min(end, top + h) - top);
        if (end > top + h) break;  // the next column has the rest
        const bool more = i + 2 < runs.count;
        start = more ? end + runs.data[i + 1] : h * w;
        end = more ? start + runs.data[i + 2] : h * w;
        i += 2;
      }
    }
    unpack(bits, h, w, first, columns, mask);
  }
}

int64_t rle_area(RunsView runs) {
  int64_t area = 0;
  for (int64_t i = 1; i < runs.count; i += 2) area += runs.data[i];
  return area;
}

void rle_to_bbox(RunsView runs, int64_t h, double* bbox) {
  int64_t x1 = INT64_MAX, y1 = INT64_MAX, x2 = -1, y2 = -1, position = 0;
  for (int64_t i = 0; i < runs.count; ++i) {
    const int64_t start = position;
    position += runs.data[i];
    if (i % 2 == 0 || position == start) continue;
    const int64_t left = start / h, right = (position - 1) / h;
    const bool one_column = left == right;
    x1 = std::min(x1, left);
    x2 = std::max(x2, right);
    y1 = std::min(y1, one_column ? start % h : 0);
    y2 = std::max(y2, one_column ? (position - 1) % h : h - 1);
  }
  const bool empty = x2 < 0;
  bbox[0] = empty ? 0 : static_cast<double>(x1);
  bbox[1] = empty ? 0 : static_cast<double>(y1);
  bbox[2] = empty ? 0 : static_cast<double>(x2 - x1 + 1);
  bbox[3] = empty ? 0 : static_cast<double>(y2 - y1 + 1);
}

Runs rle_merge(const std::vector<Rle>& rles, bool intersect) {
  const int64_t pixels = rles[0].h * rles[0].w, words = (pixels + 63) / 64;
  Scratch<uint64_t> memory(words);
  uint64_t* const bits = memory;
  std::fill_n(bits, words, uint64_t{0});
  size_t most = 2;
  for (const Rle& rle : rles) {
    most += rle.runs.size();
    int64_t position = 0;
    bool marked = intersect;  // all have a pixel set unless any has it unset
    for (const uint32_t run : rle.runs) {
      if (marked) set_bits(bits, position, position + run);
      position += run;
      marked = !marked;
    }
  }
  if (intersect)
    for (int64_t k = 0; k < words; ++k) bits[k] = ~bits[k];
  Runs merged(most);
  merged.resize(static_cast<size_t>(find_runs(bits, pixels, 1, merged.data())));
  return merged;
}

RleSpans::RleSpans(RunsView runs, int64_t h) {
  uint32_t position = 0;
  starts.reserve(static_cast<size_t>(runs.count / 2));
  ends.reserve(static_cast<size_t>(runs.count / 2));
  for (int64_t i = 0; i + 1 < runs.count; i += 2) {
    const uint32_t start = position + runs.data[i], end = start + runs.data[i + 1];
    position = end;
    if (start == end) continue;
    starts.push_back(start);
    ends.push_back(end);
    area += end - start;
  }
  if (h == 0) return;
  double bbox[4];
  rle_to_bbox(runs, h, bbox);
  first_row = static_cast<int64_t>(bbox[1]);
  last_row = first_row + static_cast<int64_t>(bbox[3]) - 1;
}

double rle_iou(const RleSpans& a, const RleSpans& b, bool crowd) {
  if (a.area == 0 || b.area == 0 || a.last_row < b.first_row || b.last_row < a.first_row) return 0;
  if (a.ends.back() <= b.starts.front() || b.ends.back() <= a.starts.front()) return 0;
  // Spans are in order: those before the other's first, and after its last, share nothing with it.
  size_t i = std::upper_bound(a.ends.begin(), a.ends.end(), b.starts.front()) - a.ends.begin();
  size_t j = std::upper_bound(b.ends.begin(), b.ends.end(), a.starts.front()) - b.ends.begin();
  const size_t m = std::lower_bound(a.starts.begin(), a.starts.end(), b.ends.back()) - a.starts.begin();
  const size_t n = std::lower_bound(b.starts.begin(), b.starts.end(), a.ends.back()) - b.starts.begin();
  int64_t both = 0;
  while (i < m && j < n) {
    const int64_t end_a = a.ends[i], end_b = b.ends[j];
    const int64_t common = std::min(end_a, end_b) - std::max<int64_t>(a.starts[i], b.starts[j]);
    both += common & ~(common >> 63);  // unless negative; without branches, which could not be foreseen
    i += end_a <= end_b;
    j += end_b <= end_a;
  }
  if (both == 0) return 0;
  return static_cast<double>(both) / static_cast<double>(crowd ? a.area : a.area + b.area - both);
}

Runs rle_from_polygon(const double* xy, int64_t k, int64_t h, int64_t w) {
  constexpr int64_t kSamples = 5;  // per pixel and axis; the middle one, 2, stands for the pixel
  // In samples, rounded by truncation, which is what makes the results those of maskApi.
  const auto sample = [](double x) { return static_cast<int64_t>(kSamples * x + 0.5); };
  std::vector<int64_t> crossings;                 // where a column's pixels begin or end
  const auto cross = [&](int64_t u, int64_t v) {  // from u to u + 1, v the upper of the two points
    if (u < 2 || u % kSamples != 2 || u / kSamples >= w) return;
    crossings.push_back(u / kSamples * h + std::min(h, v <= 2 ? 0 : (v + 2) / kSamples));
  };
  for (int64_t j = 0; j < k; ++j) {
    const int64_t next = j + 1 < k ? j + 1 : 0;
    int64_t x1 = sample(xy[2 * j]), y1 = sample(xy[2 * j + 1]);
    int64_t x2 = sample(xy[2 * next]), y2 = sample(xy[2 * next + 1]);
    const int64_t dx = std::abs(x2 - x1), dy = std::abs(y2 - y1), steps = std::max(dx, dy);
    const bool flat = dx >= dy;
    if (flat ? x1 > x2 : y1 > y2) {  // an edge has the same points from either end
      std::swap(x1, x2);
      std::swap(y1, y2);
    }
    const double slope =
        static_cast<double>(flat ? y2 - y1 : x2 - x1) / static_cast<double>(std::max<int64_t>(1, steps));
    const auto along = [&](int64_t start, int64_t t) {
      return static_cast<int64_t>(static_cast<double>(start) + slope * static_cast<double>(t) + 0.5);
    };
    if (flat) {
      const int64_t first = std::max<int64_t>(x1, 0),
                    to_middle = (2 + kSamples - first % kSamples) % kSamples;
      const int64_t stop = std::min(x2, kSamples * w);
      for (int64_t u = first + to_middle; u < stop; u += kSamples)
        cross(u, std::min(along(y1, u - x1), along(y1, u - x1 + 1)));
    } else {
      int64_t u = along(x1, 0);
      for (int64_t t = 1; t <= steps; ++t) {
        const int64_t before = u;
        u = along(x1, t);
        if (u != before) cross(std::min(u, before), y1 + t - 1);
      }
    }
  }
  std::sort(crossings.begin(), crossings.end());
  Runs runs;
  int64_t run_start = 0;
  for (size_t i = 0; i < crossings.size();) {
    const size_t same =
        std::upper_bound(crossings.begin() + i, crossings.end(), crossings[i]) - crossings.begin();
    if ((same - i) % 2 == 1 && crossings[i] < h * w) {  // two at one place cancel
      runs.push_back(static_cast<uint32_t>(crossings[i] - run_start));
      run_start = crossings[i];
    }
    i = same;
  }
  runs.push_back(static_cast<uint32_t>(h * w - run_start));
  return runs;
}

}  // namespace pyvision
