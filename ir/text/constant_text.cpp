#include "ir/text/constant_text.h"

#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

namespace weft {

// Above this many elements sizes in bytes could overflow.
static constexpr int64_t kMaxElements = int64_t{1} << 56;

// --- elements -------------------------------------------------------------------------------------------------------

static Status parse_element(Lexer& lx, DType t, std::byte* out) {
  if (is_float(t)) {
    TRY_ASSIGN(double v, lx.number());
    store_row_f64(t, &v, out, 1);
  } else if (t == DType::b1) {
    bool yes = lx.accept("true");
    if (!yes) TRY(lx.expect("false"));
    *out = std::byte{yes};
  } else if (is_int(t)) {
    TRY_ASSIGN(int64_t v, lx.integer());
    if (v < int_min(t) || v > int_max(t)) return lx.fail(std::to_string(v) + " is out of range for " + dtype_name(t) + " before");
    uint64_t u = static_cast<uint64_t>(v);
    if (is_unsigned_int(t)) store_row_u64(t, &u, out, 1);
    else store_row_i64(t, &v, out, 1);
  } else {
    return lx.fail(std::string("elements of type ") + dtype_name(t) + " are written in hex");
  }
  return {};
}

// The shortest decimal text that rounds to the same element.
static std::string float_text(DType t, double v) {
  if (t == DType::f64 || std::isnan(v) || std::isinf(v)) return number_text(v);
  char buf[40];
  for (int digits = 1; digits <= 17; ++digits) {
    std::snprintf(buf, sizeof buf, "%.*g", digits, v);
    double back = std::strtod(buf, nullptr);
    if (round_to(t, back) == v) return number_text(back);
  }
  return number_text(v);
}
static std::string element_text(DType t, const std::byte* p) {
  if (is_float(t)) {
    double v;
    load_row_f64(t, p, &v, 1);
    return float_text(t, v);
  }
  if (t == DType::b1) return *p == std::byte{0} ? "false" : "true";
  if (is_unsigned_int(t)) {
    uint64_t v;
    load_row_u64(t, p, &v, 1);
    return std::to_string(v);
  }
  int64_t v;
  load_row_i64(t, p, &v, 1);
  return std::to_string(v);
}

static std::string hex_text(const std::byte* p, size_t n) {
  static const char* const kDigits = "0123456789abcdef";
  std::string s = "hex \"";
  s.reserve(n * 2 + 6);
  for (size_t i = 0; i < n; ++i) {
    s += kDigits[std::to_integer<int>(p[i]) >> 4];
    s += kDigits[std::to_integer<int>(p[i]) & 15];
  }
  return s + "\"";
}

// `n` elements in readable form, or in hex where that would lose something (NaN payloads, booleans other than 0 and 1).
static std::string elements_text(DType t, const std::byte* p, int64_t n, const char* open, const char* close) {
  const size_t size = byte_size(t);
  std::string s = open;
  std::byte back[16];
  bool exact = !is_complex(t);
  for (int64_t i = 0; exact && i < n; ++i) {
    std::string e = element_text(t, p + i * size);
    Lexer lx(e);
    exact = parse_element(lx, t, back).ok() && std::memcmp(back, p + i * size, size) == 0;
    if (i) s += ", ";
    s += e;
  }
  return exact ? s + close : hex_text(p, size * n);
}

// Elements one a byte_size, as pools keep them in memory. n > 0.
static std::vector<std::byte> unpacked(const Constant& c) {
  std::vector<std::byte> v(c.numel() * byte_size(c.dtype));
  if (v.empty()) return v;
  if (const std::byte* p = c.data()) std::memcpy(v.data(), p, v.size());
  else unpack_subbyte(c.dtype, c.file->data() + c.offset, v.data(), c.numel());
  return v;
}

std::vector<std::byte> file_bytes(const Constant& c) {
  std::vector<std::byte> v(packed_bytes(c.dtype, c.numel()));
  if (v.empty()) return v;
  if (c.source == Constant::Source::file) std::memcpy(v.data(), c.file->data() + c.offset, v.size());
  else if (is_subbyte(c.dtype)) pack_subbyte(c.dtype, c.bytes->data(), v.data(), c.numel());
  else std::memcpy(v.data(), c.bytes->data(), v.size());
  return v;
}

// --- print ----------------------------------------------------------------------------------------------------------

static std::string shown_path(const std::string& path, const PrintOptions& options) {
  namespace fs = std::filesystem;
  const std::string& base_dir = options.base_dir;
  if (base_dir.empty()) return path;
  std::error_code ec;
  fs::path full = fs::absolute(path, ec).lexically_normal(), base = fs::absolute(base_dir, ec).lexically_normal();
  fs::path relative = full.lexically_relative(base);
  if (!relative.empty() && *relative.begin() != "..") return relative.string();
  return options.by_reference ? full.filename().string() : full.string();
}

static std::string file_text(const std::string& path, uint64_t offset, uint64_t size, const Hash& hash) {
  return "file " + quote(path) + " offset " + std::to_string(offset) + " size " + std::to_string(size) + " hash \"" + hash.hex() + "\"";
}

std::string constant_text(const Constant& c, int id, const PrintOptions& options) {
  if (c.source == Constant::Source::strings) {
    std::string s = "strings [";
    for (const std::string& x : *c.strings) s += (s.back() == '[' ? "" : ", ") + quote(x);
    return s + "]";
  }
  if (c.source == Constant::Source::splat) {
    std::string s = elements_text(c.dtype, c.bytes->data(), 1, "splat(", ")");
    return s.starts_with("splat") ? s : "splat(" + s + ")";
  }
  if (c.source == Constant::Source::absent) return "hash \"" + c.hash.hex() + "\"";
  const bool is_small = c.numel() <= options.inline_elements;
  if (is_small && c.dims.empty()) return elements_text(c.dtype, unpacked(c).data(), 1, "", "");
  if (is_small) return elements_text(c.dtype, unpacked(c).data(), c.numel(), "[", "]");
  if (!options.contents || (options.by_reference && c.source == Constant::Source::bytes)) return "hash \"" + c.hash.hex() + "\"";
  if (auto it = options.side_offsets.find(id); it != options.side_offsets.end())
    return file_text(options.side_file, it->second, packed_bytes(c.dtype, c.numel()), c.hash);
  if (c.source == Constant::Source::file) return file_text(shown_path(c.file->path(), options), c.offset, c.size, c.hash);
  return hex_text(c.bytes->data(), c.bytes->size());
}

std::string constant_summary(const Constant& c, int64_t limit) {
  if (c.source == Constant::Source::strings || c.source == Constant::Source::absent || is_complex(c.dtype) || c.numel() > limit) return "";
  std::string s = "[";
  const bool splat = c.source == Constant::Source::splat;
  std::vector<std::byte> all = splat ? *c.bytes : unpacked(c);
  for (int64_t i = 0; i < c.numel(); ++i) s += (i ? ", " : "") + element_text(c.dtype, all.data() + (splat ? 0 : i * byte_size(c.dtype)));
  return c.dims.empty() ? s.substr(1) : s + "]";
}

// --- parse ----------------------------------------------------------------------------------------------------------

Result<ConstantParser::Head> ConstantParser::head(Lexer& lx, const std::string& name) {
  TRY(lx.expect(":"));
  TRY_ASSIGN(Type t, Type::parse(lx));
  if (!t.is_ranked() || !is_static(t.shape) || !t.layout.is_any()) return lx.fail("a constant's type is a tensor's with fixed dims before");
  Head h{name, t.dtype, static_dims(t.shape), 1};
  bool empty = false;
  for (int64_t d : h.dims) {
    if (d < 0) return lx.fail("a dim is negative before");
    empty = empty || d == 0;
  }
  for (int64_t d : h.dims)
    if (!empty && __builtin_mul_overflow(h.numel, d, &h.numel)) h.numel = kMaxElements + 1;
  if (h.numel > kMaxElements) return lx.fail("a constant of too many elements before");
  if (empty) h.numel = 0;
  TRY(lx.expect("="));
  return h;
}

Result<int> ConstantParser::list(Lexer& lx, const Head& h) {
  const bool scalar = h.dims.empty();
  std::vector<std::byte> bytes;
  const size_t size = byte_size(h.dtype);
  if (h.dtype == DType::str) return lx.fail("expected `strings`");
  if (!scalar) TRY(lx.expect("["));
  for (int64_t i = 0; i < h.numel; ++i) {
    if (i) TRY(lx.expect(","));
    bytes.resize(bytes.size() + size);
    TRY(parse_element(lx, h.dtype, bytes.data() + bytes.size() - size));
  }
  if (!scalar) TRY(lx.expect("]"));
  return pool_.add_bytes(h.name, h.dtype, h.dims, std::move(bytes));
}

static Result<std::vector<std::byte>> parse_hex(Lexer& lx, size_t size) {
  TRY(lx.expect("hex"));
  if (lx.peek().kind != Token::string) return lx.fail("expected a string");
  std::string_view s = lx.peek().text;
  if (s.size() % 2 || s.size() / 2 != size) return lx.fail("expected " + std::to_string(size) + " bytes in hex");
  std::vector<std::byte> bytes(size);
  for (size_t i = 0; i < size; ++i) {
    uint8_t v = 0;
    auto r = std::from_chars(s.data() + 2 * i, s.data() + 2 * i + 2, v, 16);
    if (r.ec != std::errc() || r.ptr != s.data() + 2 * i + 2) return lx.fail("expected hex digits");
    bytes[i] = std::byte{v};
  }
  lx.next();
  return bytes;
}
Result<int> ConstantParser::hex(Lexer& lx, const Head& h) {
  if (h.dtype == DType::str) return lx.fail("expected `strings`");
  TRY_ASSIGN(std::vector<std::byte> bytes, parse_hex(lx, h.numel * byte_size(h.dtype)));
  return pool_.add_bytes(h.name, h.dtype, h.dims, std::move(bytes));
}
Result<int> ConstantParser::splat(Lexer& lx, const Head& h) {
  TRY(lx.expect("splat"));
  TRY(lx.expect("("));
  if (h.dtype == DType::str) return lx.fail("strings have no splat");
  std::vector<std::byte> element(byte_size(h.dtype));
  if (lx.at("hex")) {
    TRY_ASSIGN(element, parse_hex(lx, element.size()));
  } else {
    TRY(parse_element(lx, h.dtype, element.data()));
  }
  TRY(lx.expect(")"));
  return pool_.add_splat(h.name, h.dtype, h.dims, element.data());
}
Result<int> ConstantParser::strings(Lexer& lx, const Head& h) {
  TRY(lx.expect("strings"));
  if (h.dtype != DType::str) return lx.fail("only constants of type str hold strings");
  TRY(lx.expect("["));
  std::vector<std::string> values;
  while (!lx.at("]")) {
    TRY_ASSIGN(std::string s, lx.quoted());
    values.push_back(std::move(s));
    if (!lx.accept(",")) break;
  }
  if (static_cast<int64_t>(values.size()) != h.numel)
    return lx.fail("expected " + std::to_string(h.numel) + " strings, got " + std::to_string(values.size()));
  TRY(lx.expect("]"));
  return pool_.add_strings(h.name, h.dims, std::move(values));
}

Result<std::shared_ptr<const MappedFile>> ConstantParser::open(const std::string& path) {
  std::filesystem::path p(path);
  if (p.is_relative() && !base_dir_.empty()) p = std::filesystem::path(base_dir_) / p;
  auto it = files_.find(p.string());
  if (it != files_.end()) return it->second;
  auto file = MappedFile::open(p.string());
  if (!file.ok()) return file.error().with_hint("the file lies where the text says, relative to the text's folder; save both together");
  files_.emplace(p.string(), *file);
  return *file;
}

// The hash is required: a text cannot show what it does not know.
Result<int> ConstantParser::in_file(Lexer& lx, const Head& h) {
  TRY(lx.expect("file"));
  if (h.dtype == DType::str) return lx.fail("expected `strings`");
  TRY_ASSIGN(std::string path, lx.quoted());
  TRY(lx.expect("offset"));
  TRY_ASSIGN(int64_t offset, lx.integer());
  TRY(lx.expect("size"));
  TRY_ASSIGN(int64_t size, lx.integer());
  TRY(lx.expect("hash"));
  TRY_ASSIGN(std::string digits, lx.quoted());
  Hash hash;
  if (!Hash::from_hex(digits, &hash)) return lx.fail("expected 32 hex digits of a hash before");
  if (size != packed_bytes(h.dtype, h.numel)) return lx.fail("the size is not that of the elements before");
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, open(path));
  uint64_t at = static_cast<uint64_t>(offset), length = static_cast<uint64_t>(size);
  if (offset < 0 || at > file->size() || length > file->size() - at)
    return lx.fail("constant " + quote(h.name) + " reaches beyond the end of " + quote(path) + " before");
  int id = pool_.add_file(h.name, h.dtype, h.dims, std::move(file), at, length);
  if (pool_[id].hash != hash) {
    Error e = lx.fail("constant " + quote(h.name) + " in " + quote(path) + " has another hash than the text says, before");
    return e.with_hint("the file was changed after the text was written");
  }
  return id;
}

Result<int> ConstantParser::parse(Lexer& lx, const std::string& name) {
  TRY_ASSIGN(Head h, head(lx, name));
  if (lx.at("splat")) return splat(lx, h);
  if (lx.at("hex")) return hex(lx, h);
  if (lx.at("strings")) return strings(lx, h);
  if (lx.at("file")) return in_file(lx, h);
  if (lx.at("hash")) return lx.fail("the text has only the hash of constant " + quote(name) + ", not its contents");
  return list(lx, h);
}

}  // namespace weft
