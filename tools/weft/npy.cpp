#include "tools/weft/npy.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

#include "ir/base/mapped_file.h"
#include "ir/base/result.h"
#include "ir/base/text.h"

namespace weft::cli {

namespace {

struct NpyHeader {
  std::string descr;
  bool fortran = false;
  std::vector<int64_t> dims;
  size_t data = 0;  // offset
};

Error bad_npy(const std::string& what) { return usage("not a readable .npy file: " + what); }

// The value behind 'key': in the header's Python dictionary, up to the comma or brace that ends it.
std::optional<std::string_view> dict_value(std::string_view dict, const std::string& key) {
  size_t at = dict.find("'" + key + "'");
  if (at == std::string_view::npos) return std::nullopt;
  at = dict.find(':', at);
  if (at == std::string_view::npos) return std::nullopt;
  size_t from = dict.find_first_not_of(' ', at + 1);
  if (from == std::string_view::npos) return std::nullopt;
  char open = dict[from];
  size_t to = open == '(' ? dict.find(')', from) : open == '\'' ? dict.find('\'', from + 1) : dict.find_first_of(",}", from);
  if (to == std::string_view::npos) return std::nullopt;
  return dict.substr(from, to - from + (open == '(' || open == '\''));
}

Status parse_shape(std::string_view text, std::vector<int64_t>* dims) {
  const char* p = text.data() + 1;
  const char* end = text.data() + text.size() - 1;
  while (p < end) {
    if (*p == ' ' || *p == ',') {
      ++p;
      continue;
    }
    int64_t v = 0;
    auto [next, ec] = std::from_chars(p, end, v);
    if (ec != std::errc() || v < 0 || dims->size() == 64) return bad_npy("shape " + std::string(text));
    dims->push_back(v);
    p = next;
  }
  return {};
}

Result<NpyHeader> parse_header(std::span<const std::byte> bytes) {
  const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
  if (bytes.size() < 10 || std::memcmp(p, "\x93NUMPY", 6) != 0) return bad_npy("the magic bytes are missing");
  int major = p[6];
  if (major < 1 || major > 3) return bad_npy("version " + std::to_string(major));
  size_t length = p[8] | p[9] << 8, start = 10;
  if (major > 1) {
    if (bytes.size() < 12) return bad_npy("it is cut off");
    length |= static_cast<size_t>(p[10]) << 16 | static_cast<size_t>(p[11]) << 24;
    start = 12;
  }
  if (length > bytes.size() - start) return bad_npy("it is cut off");
  std::string_view dict(reinterpret_cast<const char*>(p) + start, length);
  auto descr = dict_value(dict, "descr"), order = dict_value(dict, "fortran_order"), shape = dict_value(dict, "shape");
  if (!descr || !order || !shape || descr->size() < 4 || descr->front() != '\'' || shape->size() < 2 || shape->front() != '(')
    return bad_npy("its header " + quote(dict));
  NpyHeader h;
  h.descr = std::string(descr->substr(1, descr->size() - 2));
  h.fortran = order->substr(0, 4) == "True";
  TRY(parse_shape(*shape, &h.dims));
  h.data = start + length;
  return h;
}

std::optional<DType> dtype_of_descr(char kind, int64_t size) {
  switch (kind) {
    case 'f': return size == 4 ? DType::f32 : size == 8 ? DType::f64 : size == 2 ? std::optional(DType::f16) : std::nullopt;
    case 'i': return size == 8 ? DType::i64 : size == 4 ? DType::i32 : size == 2 ? DType::i16 : size == 1 ? std::optional(DType::i8) : std::nullopt;
    case 'u': return size == 8 ? DType::u64 : size == 4 ? DType::u32 : size == 2 ? DType::u16 : size == 1 ? std::optional(DType::u8) : std::nullopt;
    case 'b': return size == 1 ? std::optional(DType::b1) : std::nullopt;
    case 'c': return size == 8 ? DType::c64 : size == 16 ? std::optional(DType::c128) : std::nullopt;
    default: return std::nullopt;
  }
}

void append_utf8(std::string& s, uint32_t c) {
  if (c < 0x80) s += static_cast<char>(c);
  else if (c < 0x800) (s += static_cast<char>(0xc0 | c >> 6)) += static_cast<char>(0x80 | (c & 63));
  else if (c < 0x10000) ((s += static_cast<char>(0xe0 | c >> 12)) += static_cast<char>(0x80 | (c >> 6 & 63))) += static_cast<char>(0x80 | (c & 63));
  else
    (((s += static_cast<char>(0xf0 | (c >> 18 & 7))) += static_cast<char>(0x80 | (c >> 12 & 63))) += static_cast<char>(0x80 | (c >> 6 & 63))) +=
        static_cast<char>(0x80 | (c & 63));
}

// U<n>: n UTF-32 code points an element, S<n>: n bytes; both padded with zeros.
std::string string_element(const unsigned char* p, int64_t n, bool wide, bool swap) {
  std::string s;
  for (int64_t i = 0; i < n; ++i) {
    if (!wide) {
      s += static_cast<char>(p[i]);
      continue;
    }
    uint32_t c;
    std::memcpy(&c, p + i * 4, 4);
    if (swap) c = __builtin_bswap32(c);
    if (c) append_utf8(s, c);
  }
  if (!wide) s.resize(s.find_last_not_of('\0') + 1);
  return s;
}

void swap_bytes(std::byte* p, int64_t count, int size) {
  for (int64_t i = 0; i < count; ++i) std::reverse(p + i * size, p + (i + 1) * size);
}

Tensor in_fortran_order(const Tensor& t, const std::vector<int64_t>& dims) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (size_t i = 1; i < dims.size(); ++i) strides[i] = strides[i - 1] * dims[i - 1];
  return Tensor::view(t.data(), t.dtype(), dims, strides);
}

// One element a byte, as the file has them, into ours, packed.
Result<Tensor> pack(const Tensor& bytes, DType type) {
  TRY_ASSIGN(Tensor out, Tensor::make(type, bytes.dims()));
  pack_subbyte(type, bytes.data(), out.mutable_data(), bytes.numel());
  return out;
}

}  // namespace

Result<Tensor> parse_npy(std::span<const std::byte> bytes, std::optional<DType> expected) {
  TRY_ASSIGN(NpyHeader h, parse_header(bytes));
  char order = h.descr[0], kind = h.descr[1];
  int64_t size = 0;
  auto [end, ec] = std::from_chars(h.descr.data() + 2, h.descr.data() + h.descr.size(), size);
  if (ec != std::errc() || end != h.descr.data() + h.descr.size() || size < 0 || size > (1 << 20)) return bad_npy("elements of type " + h.descr);
  const bool swap = order == '>';
  const bool text = kind == 'U' || kind == 'S';
  std::optional<DType> type = dtype_of_descr(kind, size);
  bool narrow = expected && is_subbyte(*expected) && size == 1;
  if (text) type = DType::str;
  else if (kind == 'V' && expected && !narrow && byte_size(*expected) == size) type = expected;
  else if (narrow && kind == 'V') type = DType::u8;
  if (!type) return unsupported("a .npy file with elements of type " + h.descr);
  int64_t element = kind == 'U' ? size * 4 : size, need = element;
  for (int64_t d : h.dims)
    if (__builtin_mul_overflow(need, d, &need)) return bad_npy("its shape overflows");
  if (static_cast<uint64_t>(need) > bytes.size() - h.data)
    return bad_npy("it has " + std::to_string(bytes.size() - h.data) + " bytes of data, its shape needs " + std::to_string(need));
  TRY_ASSIGN(Tensor t, Tensor::make(*type, h.dims));
  const auto* from = reinterpret_cast<const unsigned char*>(bytes.data()) + h.data;
  if (text) {
    for (int64_t i = 0; i < t.numel(); ++i) t.data_as<std::string>()[i] = string_element(from + i * element, size, kind == 'U', swap);
  } else {
    std::memcpy(t.mutable_data(), from, static_cast<size_t>(need));
    if (swap)
      swap_bytes(static_cast<std::byte*>(t.mutable_data()), t.numel() * (kind == 'c' ? 2 : 1), static_cast<int>(kind == 'c' ? size / 2 : size));
  }
  if (h.fortran && h.dims.size() > 1) {
    TRY_ASSIGN(t, in_fortran_order(t, h.dims).copy());
  }
  if (narrow) return pack(t, *expected);
  return t;
}

Result<Tensor> read_npy(const std::string& path, std::optional<DType> expected) {
  TRY_ASSIGN(auto file, MappedFile::open(path));
  Result<Tensor> t = parse_npy({file->data(), file->size()}, expected);
  if (!t.ok()) t.error().prefix(path + ": ");
  return t;
}

// --- writing ----------------------------------------------------------------------------------------------------------

namespace {

std::string descr_of(DType t) {
  int bits = bit_width(t);
  switch (dtype_class(t)) {
    case 'f':
      if (t == DType::f64 || t == DType::f32 || t == DType::f16) return "<f" + std::to_string(bits / 8);
      return bits == 16 ? "<V2" : "|V1";
    case 'i': return bits <= 8 ? "|i1" : "<i" + std::to_string(bits / 8);
    case 'u': return bits <= 8 ? "|u1" : "<u" + std::to_string(bits / 8);
    case 'b': return "|b1";
    default: return "<c" + std::to_string(bits / 8);
  }
}

uint32_t next_code_point(const std::string& s, size_t& i) {
  auto c = static_cast<unsigned char>(s[i++]);
  int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
  uint32_t v = more == 3 ? c & 7 : more == 2 ? c & 15 : more == 1 ? c & 31 : c;
  for (; more > 0 && i < s.size(); --more) v = v << 6 | (static_cast<unsigned char>(s[i++]) & 63);
  return v;
}

std::vector<std::vector<uint32_t>> code_points(const Tensor& t, size_t* longest) {
  std::vector<std::vector<uint32_t>> all(static_cast<size_t>(t.numel()));
  *longest = 1;
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string& s = t.data_as<const std::string>()[i];
    for (size_t at = 0; at < s.size();) all[i].push_back(next_code_point(s, at));
    *longest = std::max(*longest, all[i].size());
  }
  return all;
}

std::string npy_header(const std::string& descr, const Tensor& t) {
  std::string shape;
  for (int64_t d : t.dims()) shape += std::to_string(d) + ", ";
  std::string dict = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  size_t total = (10 + dict.size() + 1 + 63) / 64 * 64;
  dict.resize(total - 10 - 1, ' ');
  dict += '\n';
  std::string head = "\x93NUMPY";
  head += '\1';
  head += '\0';
  head += static_cast<char>(dict.size() & 255);
  head += static_cast<char>(dict.size() >> 8);
  return head + dict;
}

}  // namespace

Result<std::string> npy_bytes(const Tensor& given) {
  TRY_ASSIGN(Tensor t, given.copy());
  if (t.dtype() == DType::str) {
    size_t longest = 1;
    auto all = code_points(t, &longest);
    std::string out = npy_header("<U" + std::to_string(longest), t);
    for (auto& s : all) {
      s.resize(longest);
      out.append(reinterpret_cast<const char*>(s.data()), longest * 4);
    }
    return out;
  }
  std::string out = npy_header(descr_of(t.dtype()), t);
  size_t at = out.size();
  out.resize(at + static_cast<size_t>(t.numel() * byte_size(t.dtype())));
  if (is_subbyte(t.dtype())) unpack_subbyte(t.dtype(), t.data(), out.data() + at, t.numel());
  else std::memcpy(out.data() + at, t.data(), out.size() - at);
  return out;
}

Status write_file(const std::string& path, std::string_view bytes) {
  std::FILE* f = std::fopen(path.c_str(), "wb");
  if (!f) return resources("cannot write " + path + ": " + std::strerror(errno));
  bool ok = std::fwrite(bytes.data(), 1, bytes.size(), f) == bytes.size();
  ok = std::fclose(f) == 0 && ok;
  if (!ok) return resources("cannot write " + path + ": " + std::strerror(errno));
  return {};
}

Status write_npy(const std::string& path, const Tensor& t) {
  TRY_ASSIGN(std::string bytes, npy_bytes(t));
  return write_file(path, bytes);
}

}  // namespace weft::cli
