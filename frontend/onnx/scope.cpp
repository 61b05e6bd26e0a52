// Names to Values: constants appear when first used, outer names become captures of nested graphs.
#include "frontend/onnx/importer.h"

namespace weft {

static Result<Value*> materialise(ImportState& s, Scope& scope, const std::string& name, Binding& b) {
  int id = -1;
  if (b.sparse) {
    TRY_ASSIGN(id, pool_sparse(*b.sparse, s.source, s.module.constants, name));
  } else {
    TRY_ASSIGN(id, pool_tensor(*b.initializer, s.source, s.module.constants, name));
  }
  b.value = Builder(scope.graph).constant(id);
  b.value->name = name;
  return b.value;
}

Result<Value*> look_up(ImportState& s, Scope& scope, const std::string& name, bool* poisoned) {
  auto it = scope.names.find(name);
  if (it != scope.names.end()) {
    Binding& b = it->second;
    *poisoned = *poisoned || b.poisoned;
    if (!b.value && (b.initializer || b.sparse)) return materialise(s, scope, name, b);
    return b.value;  // null: poisoned, or an absent optional input of a function
  }
  if (!scope.outer) return invalid("`" + name + "` is used but never defined").at_tensor(name);
  bool outer_poisoned = false;
  TRY_ASSIGN(Value* outer, look_up(s, *scope.outer, name, &outer_poisoned));
  *poisoned = *poisoned || outer_poisoned;
  if (!outer) return outer;
  Binding inner;
  if (outer->def && outer->def->kind == OpKind::constant) {
    inner.value = Builder(scope.graph).constant(outer->def->attr<ConstantAttrs>().value.id);
    inner.value->name = name;
  } else {
    inner.value = scope.graph->add_input(outer->type, outer->name);
    inner.value->known = outer->known;
    scope.captures.push_back({outer, inner.value});
  }
  scope.names[name] = inner;
  return inner.value;
}

Status define(Scope& scope, const std::string& name, Binding b) {
  if (!scope.names.emplace(name, b).second) return invalid("`" + name + "` is defined twice").at_tensor(name);
  return {};
}

Status define_initializers(ImportState& s, Scope& scope, const pb::GraphProto& g) {
  for (const auto& t : g.initializer()) {
    Binding b;
    b.initializer = &t;
    if (t.name().empty()) return invalid("an initialiser has no name");
    TRY(define(scope, t.name(), b));
  }
  for (const auto& t : g.sparse_initializer()) {
    Binding b;
    b.sparse = &t;
    if (t.values().name().empty()) return invalid("a sparse initialiser has no name");
    TRY(define(scope, t.values().name(), b));
  }
  return {};
}

}  // namespace weft
