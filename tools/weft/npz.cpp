// .npz: the part of the zip format that NumPy writes. Found through the central directory at the file's end; entries are
// stored or deflated, zip64 sizes included. Every offset and size is compared with the file.
#include <algorithm>
#include <array>
#include <cstring>

#ifdef WEFT_HAS_ZLIB
#include <zlib.h>
#endif

#include "ir/base/mapped_file.h"
#include "ir/base/result.h"
#include "ir/base/text.h"
#include "tools/weft/npy.h"

namespace weft::cli {

namespace {

struct ZipEntry {
  std::string name;
  int method = 0;
  uint64_t packed = 0, size = 0, header = 0;
};

uint64_t little(const unsigned char* p, int bytes) {
  uint64_t v = 0;
  for (int i = bytes - 1; i >= 0; --i) v = v << 8 | p[i];
  return v;
}

Error bad_zip(const std::string& what) { return usage("not a readable .npz file: " + what); }

class Zip {
 public:
  Zip(const std::byte* data, size_t size) : p_(reinterpret_cast<const unsigned char*>(data)), size_(size) {}

  Result<std::vector<ZipEntry>> entries() const {
    TRY_ASSIGN(size_t end, find_end());
    uint64_t count = little(p_ + end + 10, 2), offset = little(p_ + end + 16, 4);
    if (end >= 20 && little(p_ + end - 20, 4) == 0x07064b50) {  // zip64's locator stands before
      uint64_t at = little(p_ + end - 12, 8);
      if (!fits(at, 56) || little(p_ + at, 4) != 0x06064b50) return bad_zip("its zip64 directory");
      count = little(p_ + at + 32, 8);
      offset = little(p_ + at + 48, 8);
    }
    std::vector<ZipEntry> out;
    for (uint64_t i = 0; i < count; ++i) {
      if (!fits(offset, 46) || little(p_ + offset, 4) != 0x02014b50) return bad_zip("its directory");
      uint64_t name = little(p_ + offset + 28, 2), extra = little(p_ + offset + 30, 2), comment = little(p_ + offset + 32, 2);
      if (!fits(offset, 46 + name + extra + comment)) return bad_zip("its directory");
      out.push_back(entry(offset, name, extra));
      offset += 46 + name + extra + comment;
    }
    return out;
  }

  Result<std::vector<std::byte>> read(const ZipEntry& e) const {
    if (!fits(e.header, 30) || little(p_ + e.header, 4) != 0x04034b50) return bad_zip("entry " + e.name);
    uint64_t data = e.header + 30 + little(p_ + e.header + 26, 2) + little(p_ + e.header + 28, 2);
    if (!fits(data, e.packed)) return bad_zip("entry " + e.name + " is cut off");
    if (e.method == 0) {
      const auto* from = reinterpret_cast<const std::byte*>(p_ + data);
      return std::vector<std::byte>(from, from + e.packed);
    }
    if (e.method == 8) return inflated(e, p_ + data);
    return unsupported("a .npz entry packed by method " + std::to_string(e.method));
  }

 private:
  bool fits(uint64_t at, uint64_t n) const { return at <= size_ && n <= size_ - at; }

  Result<size_t> find_end() const {
    if (size_ >= 22)
      for (size_t at = size_ - 22, n = 0; n <= 65535; --at, ++n) {
        if (little(p_ + at, 4) == 0x06054b50) return at;
        if (at == 0) break;
      }
    return bad_zip("it is not a zip file");
  }

  ZipEntry entry(uint64_t at, uint64_t name, uint64_t extra) const {
    ZipEntry e;
    e.method = static_cast<int>(little(p_ + at + 10, 2));
    e.packed = little(p_ + at + 20, 4);
    e.size = little(p_ + at + 24, 4);
    e.header = little(p_ + at + 42, 4);
    e.name.assign(reinterpret_cast<const char*>(p_ + at + 46), name);
    const unsigned char* x = p_ + at + 46 + name;
    for (uint64_t k = 0; k + 4 <= extra;) {
      uint64_t id = little(x + k, 2), n = little(x + k + 2, 2), from = k + 4, to = std::min(from + n, extra);
      if (id == 1)  // zip64: the fields that hold all ones, in this order
        for (uint64_t* f : {&e.size, &e.packed, &e.header})
          if (*f == 0xffffffff && from + 8 <= to) *f = little(x + from, 8), from += 8;
      k = k + 4 + n;
    }
    return e;
  }

  Result<std::vector<std::byte>> inflated(const ZipEntry& e, const unsigned char* from) const {
#ifdef WEFT_HAS_ZLIB
    // Deflate packs at most 1032 to 1: a larger claim is a lie, and would cost memory.
    if (e.size / 1040 > e.packed + 1) return bad_zip("entry " + e.name + " claims " + std::to_string(e.size) + " bytes");
    std::vector<std::byte> out(e.size);
    z_stream z{};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) return resources("no memory to unpack " + e.name);
    z.next_in = const_cast<unsigned char*>(from);
    z.next_out = reinterpret_cast<unsigned char*>(out.data());
    uint64_t in = e.packed, room = e.size;
    int status = Z_OK;
    while (status == Z_OK) {
      z.avail_in = static_cast<unsigned>(std::min<uint64_t>(in, 1u << 30));
      z.avail_out = static_cast<unsigned>(std::min<uint64_t>(room, 1u << 30));
      unsigned a = z.avail_in, b = z.avail_out;
      status = inflate(&z, Z_NO_FLUSH);
      in -= a - z.avail_in;
      room -= b - z.avail_out;
      if (status == Z_OK && a == z.avail_in && b == z.avail_out) break;
    }
    inflateEnd(&z);
    if (status != Z_STREAM_END || room != 0) return bad_zip("entry " + e.name + " does not unpack");
    return out;
#else
    Error error = unsupported("this weft was built without zlib, and " + e.name + " is compressed");
    error.with_hint("write the file with numpy.savez instead of savez_compressed");
    return error;
#endif
  }

  const unsigned char* p_;
  size_t size_;
};

void put(std::string& s, uint64_t v, int bytes) {
  for (int i = 0; i < bytes; ++i) s += static_cast<char>(v >> (8 * i) & 255);
}

uint32_t crc32_of(std::string_view bytes) {
  static const auto table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      t[i] = c;
    }
    return t;
  }();
  uint32_t c = 0xffffffffu;
  for (char ch : bytes) c = table[(c ^ static_cast<unsigned char>(ch)) & 255] ^ (c >> 8);
  return c ^ 0xffffffffu;
}

std::string without_npy(const std::string& name) { return name.size() > 4 && name.ends_with(".npy") ? name.substr(0, name.size() - 4) : name; }

}  // namespace

Result<Tensor> read_npz(const std::string& path, const std::string& name, std::optional<DType> expected) {
  TRY_ASSIGN(auto file, MappedFile::open(path));
  Zip zip(file->data(), file->size());
  auto entries = zip.entries();
  if (!entries.ok()) return entries.error().prefix(path + ": ");
  const ZipEntry* found = nullptr;
  std::vector<std::string> names;
  for (const ZipEntry& e : *entries) {
    names.push_back(without_npy(e.name));
    if (names.back() == name || (name.empty() && entries->size() == 1)) found = &e;
  }
  if (!found) return usage(path + " has no array " + quote(name) + "; it has: " + join(names, ", "));
  auto bytes = zip.read(*found);
  if (!bytes.ok()) return bytes.error().prefix(path + ": ");
  auto t = parse_npy(*bytes, expected);
  if (!t.ok()) return t.error().prefix(path + ", " + found->name + ": ");
  return t;
}

Status write_npz(const std::string& path, const std::vector<NpzItem>& items) {
  std::string body, directory;
  for (const NpzItem& item : items) {
    TRY_ASSIGN(std::string data, npy_bytes(item.tensor));
    const std::string name = item.name + ".npy";
    const uint64_t at = body.size();
    if (at + data.size() > 0xfffffff0u) return unsupported("a .npz of more than 4 GiB; write .npy files");
    std::string common;
    put(common, 20, 2), put(common, 0, 2), put(common, 0, 2), put(common, 0, 4), put(common, crc32_of(data), 4);
    put(common, data.size(), 4), put(common, data.size(), 4), put(common, name.size(), 2), put(common, 0, 2);
    put(body, 0x04034b50, 4);
    body += common + name + data;
    put(directory, 0x02014b50, 4), put(directory, 20, 2);
    directory += common;
    put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 4), put(directory, at, 4);
    directory += name;
  }
  const uint64_t at = body.size();
  body += directory;
  put(body, 0x06054b50, 4), put(body, 0, 2), put(body, 0, 2), put(body, items.size(), 2), put(body, items.size(), 2);
  put(body, directory.size(), 4), put(body, at, 4), put(body, 0, 2);
  return write_file(path, body);
}

}  // namespace weft::cli
