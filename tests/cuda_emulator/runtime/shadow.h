// SPDX-License-Identifier: Apache-2.0
// What is known of each word of memory: who touched it since the last barrier, which of its bytes hold
// anything.
#pragma once

#include <cstdint>
#include <vector>

namespace cuda_emulator {

// A moment in the life of one thread. Two accesses are ordered when a barrier of their block lies between
// them, or, within a warp, a __syncwarp.
struct Moment {
  uint32_t launch, block, epoch, warp_epoch;  // serial numbers that never repeat
  int16_t thread, warp;
  bool atomic;
};

class Cell {
 public:
  static constexpr int kBytes = 4;

  enum class Conflict : uint8_t { kNone, kWithWriter, kWithReader };
  struct Result {
    Conflict conflict = Conflict::kNone;
    int thread = -1;  // the other one, -1: several
    bool other_block = false;
  };

  // mask: the bytes touched. Cells of one byte's neighbours never conflict.
  Result touch(const Moment& now, bool write, uint8_t mask) {
    Result result;
    if (writer_.launch == now.launch && (writer_mask_ & mask) != 0 && !ordered(writer_, now))
      result = {Conflict::kWithWriter, writer_.thread, writer_.block != now.block};
    if (write && reader_.launch == now.launch && (reader_mask_ & mask) != 0 && !ordered(reader_, now))
      result = {Conflict::kWithReader, reader_.thread, reader_.block != now.block};
    if (write && hides(writer_, now)) {
      writer_mask_ |= mask;
    } else if (write) {
      writer_ = now;
      writer_mask_ = mask;
    } else {
      remember_reader(now, mask);
    }
    return result;
  }

 private:
  static constexpr int16_t kSeveral = -1;

  static bool ordered(const Moment& before, const Moment& now) {
    if (before.atomic && now.atomic) return true;
    if (before.block != now.block) return false;
    if (before.epoch != now.epoch || (before.thread == now.thread && now.thread != kSeveral)) return true;
    return before.warp == now.warp && before.warp_epoch != now.warp_epoch;
  }

  // Whether a thread's plain write races with all that an atomic one of the same thread after it races with.
  static bool hides(const Moment& before, const Moment& now) {
    return now.atomic && !before.atomic && before.launch == now.launch && before.block == now.block &&
           before.thread == now.thread && before.epoch == now.epoch && before.warp_epoch == now.warp_epoch;
  }

  // One moment stands for all readers since the last barrier: the latest, or "several".
  void remember_reader(const Moment& now, uint8_t mask) {
    const bool together =
        reader_.launch == now.launch && (reader_mask_ & mask) != 0 && !ordered(reader_, now);
    if (!together) {
      reader_ = now;
      reader_mask_ = mask;
      return;
    }
    if (reader_.block != now.block) reader_.block = 0;  // of no block: ordered with none
    if (reader_.warp != now.warp) reader_.warp = kSeveral;
    reader_.thread = kSeveral;
    reader_mask_ |= mask;
  }

  Moment writer_ = {}, reader_ = {};
  uint8_t writer_mask_ = 0, reader_mask_ = 0;
};

// Cells and the initialised bytes of one range of memory.
class Shadow {
 public:
  explicit Shadow(size_t bytes = 0) { resize(bytes); }
  void resize(size_t bytes) {
    cells_.resize((bytes + 2 * Cell::kBytes - 1) / Cell::kBytes);  // the range may begin amid a word
    bytes_.assign(bytes, Byte::kEmpty);
  }
  size_t bytes() const { return bytes_.size(); }

  enum class Byte : uint8_t { kEmpty, kWritten, kInFlight };
  Byte& byte(size_t offset) { return bytes_[offset]; }
  void fill(size_t offset, size_t count, Byte state) {
    for (size_t i = 0; i < count; ++i) bytes_[offset + i] = state;
  }

  // Calls visit(result) for each word of [offset, offset + count) that conflicts; skew: of the range's start
  // from a word.
  template <class Visit>
  void touch(size_t offset, size_t count, size_t skew, const Moment& now, bool write, Visit visit) {
    for (size_t at = offset + skew, end = at + count; at < end;) {
      const size_t word = at / Cell::kBytes, next = word * Cell::kBytes + Cell::kBytes;
      const size_t stop = next < end ? next : end;
      const unsigned first = at % Cell::kBytes, width = static_cast<unsigned>(stop - at);
      const Cell::Result result =
          cells_[word].touch(now, write, static_cast<uint8_t>(((1u << width) - 1) << first));
      if (result.conflict != Cell::Conflict::kNone) visit(result);
      at = stop;
    }
  }

 private:
  std::vector<Cell> cells_;
  std::vector<Byte> bytes_;
};

}  // namespace cuda_emulator
