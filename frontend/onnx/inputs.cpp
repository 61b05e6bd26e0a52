// The main graph's inputs: their types, and what the dims in these are called.
#include "frontend/onnx/importer.h"
#include "ir/core/shapes.h"

namespace weft {

namespace {

// Longer dim_params are names, never expressions.
constexpr size_t kMaxExpression = 128;

bool is_identifier(const std::string& s) {
  auto letter = [](char c) { return isalpha(static_cast<unsigned char>(c)) || c == '_'; };
  if (s.empty() || !letter(s[0]) || s == "_" || s == "_empty") return false;
  for (const char* word : {"overflow", "floordiv", "mod", "min", "max"})
    if (s == word) return false;
  return std::all_of(s.begin(), s.end(), [&](char c) { return letter(c) || isdigit(static_cast<unsigned char>(c)) || c == '.'; });
}

class InputDims : public DimReader {
 public:
  InputDims(Module& m, std::set<std::string> names) : m_(m), names_(std::move(names)) {
    // Before any fresh symbol, which then has another name.
    for (const std::string& n : names_) m_.symbols.emplace(n, SymbolInfo());
  }
  Result<Dim> dim(const pb::TensorShapeProto_Dimension& d) override {
    if (d.has_dim_value()) return d.dim_value() >= 0 ? Dim(d.dim_value()) : m_.fresh_symbol("d");
    const std::string& text = d.dim_param();
    if (text.empty() || text == "?") return m_.fresh_symbol("d");
    auto it = known_.find(text);
    if (it == known_.end()) it = known_.emplace(text, read(text)).first;
    return it->second;
  }

 private:
  Dim read(const std::string& text) {
    if (names_.count(text)) return Dim::symbol(text);
    if (text.size() <= kMaxExpression)
      if (auto e = Dim::parse(text); e.ok() && is_expression(*e)) return *e;
    std::string name;
    for (char c : text) name += isalnum(static_cast<unsigned char>(c)) ? c : '_';
    name = (isdigit(static_cast<unsigned char>(name[0])) ? "d" : "") + name;
    if (is_identifier(name) && m_.symbols.emplace(name, SymbolInfo()).second) return Dim::symbol(name);
    return m_.fresh_symbol(name + "_");
  }
  bool is_expression(const Dim& d) const {
    if (d.is_const() || d.is_overflow()) return false;
    for (const std::string& s : d.symbols())
      if (!names_.count(s)) return false;
    return true;
  }

  Module& m_;
  const std::set<std::string> names_;  // dim_params that are identifiers
  std::map<std::string, Dim> known_;
};

void collect_names(const pb::TypeProto& t, std::set<std::string>& out) {
  if (t.has_sequence_type()) return collect_names(t.sequence_type().elem_type(), out);
  if (t.has_optional_type()) return collect_names(t.optional_type().elem_type(), out);
  for (const auto& d : t.tensor_type().shape().dim())
    if (is_identifier(d.dim_param())) out.insert(d.dim_param());
}

Status import_input(ImportState& s, Scope& scope, const pb::ValueInfoProto& in, InputDims& dims) {
  if (in.name().empty()) return invalid("a graph input has no name");
  TRY_ASSIGN(Type type, type_from_onnx(in.type(), dims, s.options.limits.max_rank));
  if (type.kind == Type::Kind::none) return invalid("the input has no type");
  if (type.is_ranked() && numel(type.shape).is_overflow()) return resources("the input's element count overflows 64 bits: " + type.to_string());
  return define(scope, in.name(), {.value = scope.graph->add_input(std::move(type), in.name())});
}

Status apply_overrides(ImportState& s) {
  std::vector<ShapeSpec> specs;
  for (const auto& [name, dims] : s.options.shapes) {
    TRY_ASSIGN(ShapeSpec spec, parse_shape_spec(name + "=" + dims));
    specs.push_back(std::move(spec));
  }
  return apply_shapes(s.module, specs);
}

}  // namespace

Status import_inputs(ImportState& s, Scope& scope, const pb::GraphProto& g) {
  std::set<std::string> constants = initializer_names(g), declared, names;
  for (const auto& in : g.input()) declared.insert(in.name());
  for (const std::string& name : s.options.overridable) {
    if (!declared.count(name)) return usage("the model has no input `" + name + "` that could be overridden").at_tensor(name);
    constants.erase(name);
  }
  for (const auto& in : g.input())
    if (!constants.count(in.name())) collect_names(in.type(), names);
  InputDims dims(s.module, std::move(names));
  for (const auto& in : g.input()) {
    if (constants.count(in.name())) continue;
    if (Status st = import_input(s, scope, in, dims); !st.ok()) return st.error().at_tensor(in.name());
  }
  return apply_overrides(s);
}

}  // namespace weft
