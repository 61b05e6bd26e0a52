// The table of OpDefs, filled from ops.def.
#include <string>
#include <unordered_map>

#include "ir/base/check.h"
#include "ir/core/op_def.h"

namespace weft {

#define WEFT_OP(name) OpDef def_##name();
#include "ir/ops/ops.def"
#undef WEFT_OP

namespace {
struct Registry {
  OpDef defs[static_cast<int>(OpKind::kCount)];
  const char* names[static_cast<int>(OpKind::kCount)];
  std::string text;  // storage of the names whose enumerator carries a trailing underscore
  std::unordered_map<std::string_view, OpKind> by_name, by_onnx;

  Registry() {
#define WEFT_OP(name) set(OpKind::name, #name, def_##name);
#include "ir/ops/ops.def"
#undef WEFT_OP
  }
  void set(OpKind k, const char* name, OpDef (*def)()) {
    int i = static_cast<int>(k);
    // `and_`, `or_`, `xor_`, `not_` exist because C++ keeps the plain words.
    static const char* const kPlain[] = {"and", "or", "xor", "not"};
    for (const char* p : kPlain)
      if (std::string(name) == std::string(p) + "_") name = p;
    names[i] = name;
    by_name[name] = k;
    defs[i] = def();
    if (defs[i].onnx) by_onnx[defs[i].onnx] = k;
  }
};
const Registry& registry() {
  static const Registry r;
  return r;
}
}  // namespace

const OpDef& op_def(OpKind k) { return registry().defs[static_cast<int>(k)]; }
const char* op_name(OpKind k) { return registry().names[static_cast<int>(k)]; }
std::optional<OpKind> op_from_name(std::string_view name) {
  auto it = registry().by_name.find(name);
  if (it == registry().by_name.end()) return std::nullopt;
  return it->second;
}
std::optional<OpKind> op_from_onnx(std::string_view type) {
  auto it = registry().by_onnx.find(type);
  if (it == registry().by_onnx.end()) return std::nullopt;
  return it->second;
}

}  // namespace weft
