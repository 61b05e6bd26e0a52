// Random values for inputs, and what the model says about their range.
#include <algorithm>
#include <cmath>
#include <optional>

#include "ir/base/hash.h"
#include "ir/base/text.h"
#include "ir/core/op_def.h"
#include "tools/weft/inputs.h"

namespace weft::cli {

namespace {

struct SplitMix {
  uint64_t state;
  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }
};

ValueRange default_range(DType t) {
  if (is_float(t) || is_complex(t)) return {-1, 1, false};
  if (t == DType::u8) return {0, 255, false};
  if (t == DType::i8) return {-128, 127, false};
  return {0, 1, false};
}

}  // namespace

Result<api::Tensor> random_tensor(const std::string& name, DType dtype, std::vector<int64_t> dims, ValueRange range, int64_t seed) {
  TRY_ASSIGN(api::Tensor t, api::Tensor::make(dtype, std::move(dims)));
  if (!range.set) range = default_range(dtype);
  SplitMix random{hash_bytes(name.data(), name.size(), static_cast<uint64_t>(seed)).lo};
  const int64_t n = t.numel();
  std::vector<std::byte> unpacked(is_subbyte(dtype) ? static_cast<size_t>(n) : 0);
  auto* data = is_subbyte(dtype) ? unpacked.data() : static_cast<std::byte*>(t.mutable_data());
  const int size = byte_size(dtype);
  switch (dtype_class(dtype)) {
    case 'f':
      for (int64_t i = 0; i < n; ++i) {
        double v = range.lo + (range.hi - range.lo) * random.unit();
        store_row_f64(dtype, &v, data + i * size, 1);
      }
      break;
    case 'c':
      for (int64_t i = 0; i < n; ++i) {
        double v[2] = {range.lo + (range.hi - range.lo) * random.unit(), range.lo + (range.hi - range.lo) * random.unit()};
        store_row_f64(dtype, v, data + i * size, 1);
      }
      break;
    case 's':
      for (int64_t i = 0; i < n; ++i) t.data_as<std::string>()[i] = "s" + std::to_string(random.next() % 10);
      break;
    default: {
      double lo = std::max(std::ceil(range.lo), static_cast<double>(int_min(dtype))),
             hi = std::min(std::floor(range.hi), static_cast<double>(int_max(dtype)));
      if (lo > hi) return usage("no value of type " + std::string(dtype_name(dtype)) + " lies in the range for input " + name_text(name));
      for (int64_t i = 0; i < n; ++i) {
        auto v = static_cast<int64_t>(lo + std::floor((hi - lo + 1) * random.unit()));
        if (is_unsigned_int(dtype)) {
          auto u = static_cast<uint64_t>(v);
          store_row_u64(dtype, &u, data + i * size, 1);
        } else {
          store_row_i64(dtype, &v, data + i * size, 1);
        }
      }
    }
  }
  if (is_subbyte(dtype)) pack_subbyte(dtype, unpacked.data(), t.mutable_data(), n);
  return t;
}

// --- hints ------------------------------------------------------------------------------------------------------------

namespace {

// Follows an integer value through ops that keep its elements to the tables it indexes.
void find_rows(const Value* v, int depth, std::optional<int64_t>& rows) {
  if (depth > 8) return;
  for (const Use& u : v->uses) {
    switch (u.op->kind) {
      case OpKind::cast:
      case OpKind::reshape:
      case OpKind::squeeze:
      case OpKind::unsqueeze:
      case OpKind::identity:
      case OpKind::flatten:
      case OpKind::transpose:
        if (u.index == 0) find_rows(u.op->result(), depth + 1, rows);
        break;
      case OpKind::gather: {
        const Type& t = u.op->operands[0]->type;
        if (u.index != 1 || !t.is_ranked()) break;
        int64_t axis = 0;
        for (const AttrText& a : attr_texts(*u.op->attrs))
          if (a.name == "axis") axis = std::strtoll(a.value.c_str(), nullptr, 10);
        if (axis < 0) axis += t.rank();
        if (axis < 0 || axis >= t.rank() || !t.shape[axis].is_const()) break;
        rows = std::min(rows.value_or(INT64_MAX), t.shape[axis].value());
        break;
      }
      default: break;
    }
  }
}

}  // namespace

InputHints input_hints(const Module& m) {
  InputHints hints;
  for (auto& in : m.main()->inputs) {
    if (!in->type.is_tensor() || !is_int(in->type.dtype)) continue;
    std::optional<int64_t> rows;
    find_rows(in.get(), 0, rows);
    if (rows && *rows > 0) hints[in->name] = {0, static_cast<double>(*rows - 1), true};
  }
  return hints;
}

}  // namespace weft::cli
