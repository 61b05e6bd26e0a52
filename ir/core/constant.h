// The constant pool: entries {dtype, dims, hash, source}. Large bytes are never copied: a source is owned bytes, a range
// of a mapped file, a splat (one element repeated), or absent: read for planning, which needs dims alone; computing with it is an
// Error. Passes do not touch bytes; they move work to `prepare`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"
#include "ir/base/result.h"

namespace weft {

struct Constant {
  enum class Source : uint8_t { bytes, file, splat, strings, absent };
  std::string name;
  DType dtype = DType::f32;
  std::vector<int64_t> dims;
  Source source = Source::bytes;
  // bytes: all elements; splat: one element. Row-major, one element per byte_size(dtype) (sub-byte types unpacked),
  // little endian.
  std::shared_ptr<const std::vector<std::byte>> bytes;
  std::shared_ptr<const MappedFile> file;  // file: elements lie at [offset, offset + size), packed if sub-byte
  uint64_t offset = 0, size = 0;
  std::shared_ptr<const std::vector<std::string>> strings;
  Hash hash;  // of dtype, dims and content; of an absent one its place

  int64_t numel() const;
  // The elements as they lie, when they are addressable without a copy (bytes, or file with a whole-byte dtype).
  const std::byte* data() const;
};

class ConstantPool {
 public:
  // Each returns the entry's index; equal content gives the same entry. A name is made unique by a suffix.
  int add_bytes(std::string name, DType t, std::vector<int64_t> dims, std::vector<std::byte> bytes);
  int add_file(std::string name, DType t, std::vector<int64_t> dims, std::shared_ptr<const MappedFile> file, uint64_t offset, uint64_t size);
  // place: what tells it from others, as where it lies.
  int add_absent(std::string name, DType t, std::vector<int64_t> dims, const std::string& place);
  int add_splat(std::string name, DType t, std::vector<int64_t> dims, const void* element);
  int add_strings(std::string name, std::vector<int64_t> dims, std::vector<std::string> values);
  int add_i64(std::string name, std::vector<int64_t> dims, const std::vector<int64_t>& values);

  int size() const { return static_cast<int>(entries_.size()); }
  const Constant& operator[](int id) const { return entries_[id]; }
  int find(const std::string& name) const;  // -1: none
  std::vector<std::string> names() const;

 private:
  int add(Constant c);
  std::vector<Constant> entries_;
  std::unordered_map<Hash, int> by_hash_;
  std::unordered_map<std::string, int> by_name_;
};

// Elements as int64 (any integer or bool type); empty result for other types or above `limit` elements.
std::vector<int64_t> constant_ints(const Constant& c, int64_t limit = 4096, bool* ok = nullptr);
// Elements as double (float types and integers).
std::vector<double> constant_floats(const Constant& c, int64_t limit = 4096, bool* ok = nullptr);

}  // namespace weft
