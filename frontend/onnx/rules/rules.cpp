// The table of rules, and what several families share.
#include "frontend/onnx/rules/rules.h"

#include <map>

#include "ir/base/check.h"

namespace weft {

Rule find_rule(const std::string& domain, const std::string& type) {
  static const std::map<std::pair<std::string, std::string>, Rule> table = {
#define WEFT_RULE(domain, type, name) {{domain, type}, rule_##name},
#include "frontend/onnx/rules/rules.def"
#undef WEFT_RULE
  };
  auto it = table.find({domain, type});
  return it == table.end() ? nullptr : it->second;
}

OpKind kind_of(const Node& n) {
  auto kind = op_from_onnx(n.type());
  CHECK(kind);
  return *kind;
}

Value* int_vector(Node& n, Value* v) { return n.reshape(n.cast(v, DType::i64), {-1}); }

Value* along(Node& n, Value* v, int axis, int rank) {
  if (!v || n.rank(v) != 1) return v;
  if (axis < 0 || axis >= rank) n.fail(invalid(n.describe() + " of a tensor of rank " + std::to_string(rank)));
  if (n.failed()) return nullptr;
  std::vector<int64_t> dims(rank - axis, 1);
  dims[0] = -1;
  return rank - axis == 1 ? v : n.reshape(v, dims);
}

Value* float_vector(Node& n, const std::vector<double>& values, DType t) {
  int64_t count = static_cast<int64_t>(values.size());
  std::vector<std::byte> bytes(values.size() * byte_size(t));
  store_row_f64(t, values.data(), bytes.data(), count);
  return n.constant(n.build.module().constants.add_bytes("", t, {count}, std::move(bytes)));
}

}  // namespace weft
