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

Value* bring(Scope& scope, Value* v) {
  Scope& at = scope.owner ? *scope.owner : scope;
  if (v->graph == at.graph) return v;
  if (auto it = at.inner.find(v); it != at.inner.end()) return it->second;
  Value* inner = nullptr;
  if (v->def && v->def->kind == OpKind::constant) {
    inner = Builder(at.graph).constant(v->def->attr<ConstantAttrs>().value.id);
    inner->name = v->name;
  } else {
    CHECK(at.holder);
    Value* outer = bring(*at.holder, v);
    inner = at.graph->add_input(outer->type, outer->name);
    inner->known = outer->known;
    at.captures.push_back({outer, inner});
  }
  at.inner.emplace(v, inner);
  return inner;
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
  TRY_ASSIGN(Value* outer, look_up(s, *scope.outer, name, poisoned));
  if (!outer) return outer;
  Value* inner = bring(scope, outer);
  scope.names[name] = {.value = inner};
  return inner;
}

Status define(Scope& scope, const std::string& name, Binding b) {
  if (!scope.names.emplace(name, b).second) return invalid("`" + name + "` is defined twice").at_tensor(name);
  return {};
}

std::set<std::string> initializer_names(const pb::GraphProto& g) {
  std::set<std::string> out;
  for (const auto& t : g.initializer()) out.insert(t.name());
  for (const auto& t : g.sparse_initializer()) out.insert(t.values().name());
  return out;
}

Status define_initializers(ImportState& s, Scope& scope, const pb::GraphProto& g) {
  auto add = [&](const std::string& name, Binding b) -> Status {
    if (name.empty()) return invalid("an initialiser has no name");
    if (s.options.overridable.count(name) && !scope.outer && scope.names.count(name)) return {};
    return define(scope, name, b);
  };
  for (const auto& t : g.initializer()) TRY(add(t.name(), {.initializer = &t}));
  for (const auto& t : g.sparse_initializer()) TRY(add(t.values().name(), {.sparse = &t}));
  return {};
}

}  // namespace weft
