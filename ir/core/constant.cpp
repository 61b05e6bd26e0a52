#include "ir/core/constant.h"

#include <cstring>

#include "ir/base/check.h"

namespace weft {

int64_t Constant::numel() const {
  int64_t n = 1;
  for (int64_t d : dims) n *= d;
  return n;
}

const std::byte* Constant::data() const {
  if (source == Source::bytes) return bytes->data();
  if (source == Source::file && !is_subbyte(dtype)) return file->data() + offset;
  return nullptr;
}

static Hash content_hash(const Constant& c) {
  std::string head = dtype_name(c.dtype);
  for (int64_t d : c.dims) head += "," + std::to_string(d);
  Hash body;
  switch (c.source) {
    case Constant::Source::bytes:
      if (is_subbyte(c.dtype)) {  // packed, as a file holds them
        std::vector<std::byte> packed(packed_bytes(c.dtype, c.numel()));
        pack_subbyte(c.dtype, c.bytes->data(), packed.data(), c.numel());
        body = hash_bytes(packed.data(), packed.size());
      } else {
        body = hash_bytes(c.bytes->data(), c.bytes->size());
      }
      break;
    case Constant::Source::file: body = hash_bytes(c.file->data() + c.offset, c.size); break;
    case Constant::Source::absent: break;
    case Constant::Source::splat: body = hash_bytes(c.bytes->data(), c.bytes->size(), 2); break;
    case Constant::Source::strings:
      for (const std::string& s : *c.strings) head += ";" + std::to_string(s.size()) + ":" + s;
      break;
  }
  return hash_text(head + body.hex());
}

// base.<k> with the first k that is free, where those that are taken have no gaps: found by doubling, since thousands of
// constants may share a name.
template <class F>
static std::string free_name(const std::string& base, F taken) {
  auto name = [&](int64_t k) { return base + "." + std::to_string(k); };
  int64_t lo = 0, hi = 1;
  for (; taken(name(hi)); hi *= 2) lo = hi;
  while (hi - lo > 1) {
    int64_t mid = lo + (hi - lo) / 2;
    (taken(name(mid)) ? lo : hi) = mid;
  }
  return name(hi);
}

int ConstantPool::add(Constant c) {
  if (c.source != Constant::Source::absent) c.hash = content_hash(c);
  if (auto it = by_hash_.find(c.hash); it != by_hash_.end()) return it->second;
  if (c.name.empty()) c.name = "c";
  if (by_name_.count(c.name)) c.name = free_name(c.name, [&](const std::string& n) { return by_name_.count(n) > 0; });
  int id = size();
  by_hash_[c.hash] = id;
  by_name_[c.name] = id;
  entries_.push_back(std::move(c));
  return id;
}

static Constant entry(std::string name, DType t, std::vector<int64_t> dims, Constant::Source s) {
  Constant c;
  c.name = std::move(name);
  c.dtype = t;
  c.dims = std::move(dims);
  c.source = s;
  return c;
}

int ConstantPool::add_bytes(std::string name, DType t, std::vector<int64_t> dims, std::vector<std::byte> bytes) {
  Constant c = entry(std::move(name), t, std::move(dims), Constant::Source::bytes);
  CHECK(static_cast<int64_t>(bytes.size()) == c.numel() * byte_size(t));
  c.bytes = std::make_shared<const std::vector<std::byte>>(std::move(bytes));
  return add(std::move(c));
}
int ConstantPool::add_file(std::string name, DType t, std::vector<int64_t> dims, std::shared_ptr<const MappedFile> file, uint64_t offset,
                           uint64_t size) {
  Constant c = entry(std::move(name), t, std::move(dims), Constant::Source::file);
  CHECK(size == static_cast<uint64_t>(packed_bytes(t, c.numel())) && offset <= file->size() && size <= file->size() - offset);
  c.file = std::move(file);
  c.offset = offset;
  c.size = size;
  return add(std::move(c));
}
int ConstantPool::add_absent(std::string name, DType t, std::vector<int64_t> dims, const std::string& place) {
  Constant c = entry(std::move(name), t, std::move(dims), Constant::Source::absent);
  c.hash = hash_text("absent " + std::string(dtype_name(t)) + " " + place);
  return add(std::move(c));
}
int ConstantPool::add_splat(std::string name, DType t, std::vector<int64_t> dims, const void* element) {
  Constant c = entry(std::move(name), t, std::move(dims), Constant::Source::splat);
  std::vector<std::byte> e(byte_size(t));
  std::memcpy(e.data(), element, e.size());
  c.bytes = std::make_shared<const std::vector<std::byte>>(std::move(e));
  return add(std::move(c));
}
int ConstantPool::add_strings(std::string name, std::vector<int64_t> dims, std::vector<std::string> values) {
  Constant c = entry(std::move(name), DType::str, std::move(dims), Constant::Source::strings);
  CHECK(static_cast<int64_t>(values.size()) == c.numel());
  c.strings = std::make_shared<const std::vector<std::string>>(std::move(values));
  return add(std::move(c));
}
int ConstantPool::add_i64(std::string name, std::vector<int64_t> dims, const std::vector<int64_t>& values) {
  const auto* bytes = reinterpret_cast<const std::byte*>(values.data()); // null where there are none
  return add_bytes(std::move(name), DType::i64, std::move(dims), {bytes, bytes + values.size() * sizeof(int64_t)});
}

int ConstantPool::find(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? -1 : it->second;
}
std::vector<std::string> ConstantPool::names() const {
  std::vector<std::string> out;
  for (const Constant& c : entries_) out.push_back(c.name);
  return out;
}

// Reads every element through one carrier's row loader.
template <class T, class Load>
static std::vector<T> read_all(const Constant& c, int64_t limit, bool* ok, bool type_ok, Load load) {
  std::vector<T> out;
  bool good = type_ok && c.source != Constant::Source::strings && c.source != Constant::Source::absent && c.numel() <= limit;
  if (ok) *ok = good;
  if (!good) return out;
  int64_t n = c.numel();
  if (n == 0) return out;  // no elements may have no address
  out.resize(n);
  if (c.source == Constant::Source::splat) {
    T v{};
    load(c.bytes->data(), &v, 1);
    std::fill(out.begin(), out.end(), v);
  } else if (const std::byte* p = c.data()) {
    load(p, out.data(), n);
  } else {
    std::vector<std::byte> unpacked(n);
    unpack_subbyte(c.dtype, c.file->data() + c.offset, unpacked.data(), n);
    load(unpacked.data(), out.data(), n);
  }
  return out;
}

std::vector<int64_t> constant_ints(const Constant& c, int64_t limit, bool* ok) {
  bool uns = is_unsigned_int(c.dtype);
  return read_all<int64_t>(c, limit, ok, is_int(c.dtype) || c.dtype == DType::b1, [&](const void* p, int64_t* d, int64_t n) {
    if (uns) load_row_u64(c.dtype, p, reinterpret_cast<uint64_t*>(d), n);
    else load_row_i64(c.dtype, p, d, n);
  });
}
std::vector<double> constant_floats(const Constant& c, int64_t limit, bool* ok) {
  if (!is_float(c.dtype)) {
    std::vector<int64_t> v = constant_ints(c, limit, ok);
    return {v.begin(), v.end()};
  }
  return read_all<double>(c, limit, ok, true, [&](const void* p, double* d, int64_t n) { load_row_f64(c.dtype, p, d, n); });
}

}  // namespace weft
