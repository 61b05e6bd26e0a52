#include "runtime/executor/numerics.h"

#include <cstring>
#include <limits>

#include "ir/base/text.h"

namespace weft {

namespace {

// By their bits: exponents of ones alone.
template <class U>
void look_at(const StridedRef& t, U exponent, OddValues* found) {
  constexpr U kSign = U{1} << (std::numeric_limits<U>::digits - 1);
  int64_t count = 1;
  for (int i = 0; i < t.rank; ++i) count *= t.dims[i];
  std::vector<int64_t> at(static_cast<size_t>(t.rank), 0);
  int64_t offset = 0;
  for (int64_t n = 0; n < count; ++n) {
    U bits;
    std::memcpy(&bits, t.data + offset * static_cast<int64_t>(sizeof bits), sizeof bits);
    if ((bits & exponent) == exponent) {
      const bool nan = (bits & static_cast<U>(~(exponent | kSign))) != 0, minus = (bits & kSign) != 0;
      if (nan && !std::exchange(found->nan, true)) found->nan_at = n;
      if (!nan && minus) found->minus_inf = true;
      if (!nan && !minus && !std::exchange(found->inf, true)) found->inf_at = n;
    }
    for (int i = t.rank - 1; i >= 0; --i) {
      offset += t.strides[i];
      if (++at[static_cast<size_t>(i)] < t.dims[i]) break;
      offset -= t.strides[i] * t.dims[i];
      at[static_cast<size_t>(i)] = 0;
    }
  }
}

std::string place_text(int64_t at, const std::vector<int64_t>& dims) {
  std::string text;
  for (size_t i = dims.size(); i-- > 0; at /= dims[i]) text = std::to_string(at % dims[i]) + (text.empty() ? "" : ",") + text;
  return "[" + text + "]";
}

}  // namespace

OddValues& OddValues::operator|=(const OddValues& o) {
  nan = nan || o.nan;
  inf = inf || o.inf;
  minus_inf = minus_inf || o.minus_inf;
  return *this;
}

OddValues odd_values(const StridedRef& t) {
  OddValues found;
  switch (t.dtype) {
    case DType::f16: look_at<uint16_t>(t, 0x7c00, &found); break;
    case DType::bf16: look_at<uint16_t>(t, 0x7f80, &found); break;
    case DType::f32: look_at<uint32_t>(t, 0x7f800000, &found); break;
    case DType::f64: look_at<uint64_t>(t, 0x7ff0000000000000, &found); break;
    default: break;
  }
  return found;
}

Result<OddValues> NumericsChecker::look(int tensor, std::vector<int64_t>* dims) {
  const DType type = plan_.tensors[static_cast<size_t>(tensor)].dtype;
  if (!is_float(type) || byte_size(type) < 2) return OddValues{};
  TRY_ASSIGN(const StridedRef t, fetch_(tensor));
  if (dims) dims->assign(t.dims, t.dims + t.rank);
  return odd_values(t);
}

Status NumericsChecker::begin() {
  held_.assign(plan_.buffers.size(), {});
  for (int t : program_.tensors) {
    const auto buffer = static_cast<size_t>(plan_.tensors[static_cast<size_t>(t)].buffer);
    const Storage s = plan_.buffers[buffer].storage;
    if (s != Storage::input && s != Storage::constant && s != Storage::prepared && s != Storage::state) continue;
    auto found = look(t);
    if (!found.ok()) continue;  // a view whose place only the run decides
    held_[buffer] |= *found;
    if (found->nan && given_nan_ < 0) given_nan_ = t;
  }
  return {};
}

std::string NumericsChecker::kind_of(const Command& c) const {
  std::string text = c.kind == CommandKind::launch ? "kernel " + plan_.kernels[static_cast<size_t>(c.kernel)].name : command_name(c.kind);
  if (!c.nodes.empty()) text += " of " + join(c.nodes, ", ");
  return text;
}

Status NumericsChecker::after(const Command& c) {
  OddValues read;
  std::vector<int> written;
  for_each_access(c, [&](int t, Access a) {
    if (a != Access::write) read |= held_[static_cast<size_t>(plan_.tensors[static_cast<size_t>(t)].buffer)];
    if (a != Access::read) written.push_back(t);
  });
  for (int t : written) {
    const PlanTensor& tensor = plan_.tensors[static_cast<size_t>(t)];
    std::vector<int64_t> dims;
    TRY_ASSIGN(const OddValues found, look(t, &dims));
    held_[static_cast<size_t>(tensor.buffer)] = found;
    const bool nan = found.nan && !read.nan, inf = found.inf && !read.inf && !read.minus_inf;
    if (!nan && !inf) continue;
    const std::string name = tensor.name.empty() ? "a result" : "tensor " + name_text(tensor.name);
    Error e = error(Code::kCheckFailed, kind_of(c) + " makes " + (nan ? "a NaN" : "an infinity") + " of numbers: " + name + ", element " +
                                            place_text(nan ? found.nan_at : found.inf_at, dims));
    if (!c.nodes.empty()) e.at_node(c.nodes[0]);
    if (!tensor.name.empty()) e.at_tensor(tensor.name);
    return e;
  }
  return {};
}

Status NumericsChecker::end() {
  if (given_nan_ < 0) return {};
  for (const PlanPort& q : plan_.outputs) {
    if (!held_[static_cast<size_t>(plan_.tensors[static_cast<size_t>(q.tensor)].buffer)].nan) continue;
    const PlanTensor& from = plan_.tensors[static_cast<size_t>(given_nan_)];
    Error e = error(Code::kCheckFailed, "output " + name_text(q.name) + " has a NaN, and so has " + name_text(from.name) + ", which no kernel made");
    return e.at_tensor(from.name), e;
  }
  return {};
}

}  // namespace weft
