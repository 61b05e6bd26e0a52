// Two steps: the text becomes ops and values with the types that it states; then inference and the verifier check them.
#include "ir/text/parser.h"

#include <algorithm>
#include <unordered_map>

#include "ir/core/verifier.h"
#include "ir/text/attr_parser.h"
#include "ir/text/constant_text.h"

namespace weft {

namespace {

constexpr size_t kMaxTextBytes = size_t{1} << 30;
constexpr int kMaxNesting = 12;  // bodies in bodies: inference looks at a body more than once for each around it

// Lexer::fail counts lines from the start, which is dear: an Error that may go unused holds on to the offset only.
Error fail_at(std::string_view text, size_t offset, Error e) {
  size_t line = 1 + static_cast<size_t>(std::count(text.begin(), text.begin() + offset, '\n'));
  size_t newline = text.rfind('\n', offset == 0 ? 0 : offset - 1);
  size_t column = newline == std::string_view::npos || newline >= offset ? offset + 1 : offset - newline;
  e.prefix("line " + std::to_string(line) + ", column " + std::to_string(column) + ": ");
  e.offset = static_cast<long long>(offset);
  return e;
}

class ModuleParser {
 public:
  ModuleParser(std::string_view text, const std::string& base_dir)
      : text_(text), lx_(text), m_(std::make_unique<Module>()), constants_(m_->constants, base_dir) {}

  Result<std::unique_ptr<Module>> run() {
    if (text_.size() > kMaxTextBytes) return resources("the text is larger than 1 GiB");
    TRY(header());
    while (lx_.peek().kind != Token::end) TRY(declaration());
    if (m_->graphs.empty()) return lx_.fail("the module has no graph, before");
    if (m_->concrete_layouts) m_->complete_layouts();
    const Op* where = nullptr;
    Status typed = infer_and_compare(*m_, &where);
    if (!typed.ok()) return where && offsets_.count(where) ? fail_at(text_, offsets_.at(where), std::move(typed.error())) : std::move(typed.error());
    TRY(verify_module(*m_, {.types = false}));
    return std::move(m_);
  }

 private:
  // --- declarations -------------------------------------------------------------------------------------------------

  Status header() {
    TRY(lx_.expect("weft.module"));
    TRY_ASSIGN(int64_t version, lx_.integer());
    if (version != 1) return unsupported("the text has version " + std::to_string(version) + ", this build reads 1");
    TRY_ASSIGN(m_->name, lx_.quoted());
    return {};
  }
  Status declaration() {
    if (lx_.accept("symbol")) return symbol();
    if (lx_.accept("mesh")) return mesh();
    if (lx_.accept("interface")) return interface();
    if (lx_.accept("metadata")) return metadata();
    if (lx_.accept("layouts")) return layouts();
    if (lx_.accept("const")) return constant();
    if (lx_.accept("state")) return state();
    if (lx_.accept("given")) return m_->given.parse(lx_);
    if (lx_.at("prepare")) return top_graph(true);
    if (lx_.at("graph")) return top_graph(false);
    return lx_.fail("expected symbol, mesh, interface, metadata, layouts, const, state, given, prepare or graph");
  }
  Status symbol() {
    TRY_ASSIGN(std::string name, lx_.identifier());
    SymbolInfo info;
    TRY(lx_.expect("="));
    TRY_ASSIGN(info.lo, lx_.integer());
    TRY(lx_.expect(".."));
    if (lx_.peek().kind == Token::integer || lx_.at("-")) {
      TRY_ASSIGN(info.hi, lx_.integer());
    }
    if (lx_.accept("@")) {
      TRY_ASSIGN(info.opt, lx_.integer());
    }
    if (info.lo > info.hi) return lx_.fail("the range of symbol " + name + " is empty before");
    m_->symbols[name] = info;
    return {};
  }
  Status mesh() {
    TRY_ASSIGN(Mesh mesh, Mesh::parse(lx_));
    m_->meshes.push_back(std::move(mesh));
    return {};
  }
  Status interface() {
    TRY_ASSIGN(m_->interface.inputs, names());
    TRY(lx_.expect("->"));
    TRY_ASSIGN(m_->interface.outputs, names());
    return {};
  }
  Result<std::vector<std::string>> names() {
    std::vector<std::string> out;
    TRY(lx_.expect("("));
    while (!lx_.at(")")) {
      TRY_ASSIGN(std::string name, lx_.name());
      out.push_back(std::move(name));
      if (!lx_.accept(",")) break;
    }
    TRY(lx_.expect(")"));
    return out;
  }
  Status metadata() {
    TRY_ASSIGN(std::string key, lx_.quoted());
    TRY(lx_.expect("="));
    TRY_ASSIGN(m_->metadata[key], lx_.quoted());
    return {};
  }
  Status layouts() {
    TRY(lx_.expect("concrete"));
    m_->concrete_layouts = true;
    return {};
  }
  Status constant() {
    TRY(lx_.expect("@"));
    TRY_ASSIGN(std::string name, lx_.name());
    if (constant_ids_.count(name)) return lx_.fail("constant " + quote(name) + " is declared twice, before");
    TRY_ASSIGN(int id, constants_.parse(lx_, name));
    constant_ids_[name] = id;
    return {};
  }
  Status state() {
    State s;
    TRY_ASSIGN(s.name, lx_.name());
    TRY(lx_.expect(":"));
    if (lx_.accept("append")) {
      s.kind = State::Kind::append;
      TRY(lx_.expect("("));
      TRY(lx_.expect("axis"));
      TRY(lx_.expect("="));
      TRY_ASSIGN(int64_t axis, lx_.integer());
      if (axis < 0 || axis > 64) return lx_.fail("the axis is out of range before");
      s.axis = static_cast<int>(axis);
      for (auto [word, dim] : {std::pair{"length", &s.length}, std::pair{"capacity", &s.capacity}}) {
        TRY(lx_.expect(","));
        TRY(lx_.expect(word));
        TRY(lx_.expect("="));
        TRY_ASSIGN(*dim, parse_dim(lx_));
        declare(*dim);
      }
      TRY(lx_.expect(")"));
    } else {
      TRY(lx_.expect("overwrite"));
    }
    TRY(lx_.expect("@"));
    TRY_ASSIGN(s.graph, lx_.name());
    TRY(lx_.expect("%"));
    TRY_ASSIGN(s.input, lx_.name());
    TRY(lx_.expect("->"));
    TRY(lx_.expect("%"));
    TRY_ASSIGN(s.output, lx_.name());
    if (lx_.at("shard")) {
      TRY_ASSIGN(s.share, RankShare::parse(lx_));
      for (const Dim& d : s.share.whole) declare(d);
    }
    m_->states.push_back(std::move(s));
    return {};
  }

  // --- graphs -------------------------------------------------------------------------------------------------------

  // Names of one graph's values; a graph sees no others.
  struct Scope {
    Graph& graph;
    int depth;
    std::unordered_map<std::string, Value*> values;  // "x" or "7", with a mark for which
  };

  Status top_graph(bool prepare) {
    lx_.next();
    if (prepare) {
      if (m_->prepare) return lx_.fail("prepare is there twice, before");
      return graph(*m_->ensure_prepare(), 0);
    }
    TRY(lx_.expect("@"));
    TRY_ASSIGN(std::string name, lx_.name());
    if (m_->graph(name)) return lx_.fail("graph " + quote(name) + " is there twice, before");
    return graph(*m_->add_graph(std::move(name)), 0);
  }
  // (inputs) -> (outputs) { ops }. The outputs' names come before the values that they name.
  Status graph(Graph& g, int depth) {
    if (depth > kMaxNesting) return lx_.fail("graphs are nested more than " + std::to_string(kMaxNesting) + " deep, before");
    Scope scope{g, depth, {}};
    TRY(lx_.expect("("));
    while (!lx_.at(")")) {
      Value* v = g.add_input({}, "");
      TRY(define(scope, *v));
      TRY(lx_.expect(":"));
      TRY(value_type(*v));
      if (!lx_.accept(",")) break;
    }
    TRY(lx_.expect(")"));
    TRY(lx_.expect("->"));
    TRY_ASSIGN(std::vector<OutputText> outputs, graph_outputs(g));
    TRY(lx_.expect("{"));
    while (!lx_.accept("}")) TRY(op(scope));
    for (const OutputText& o : outputs) {
      auto it = scope.values.find(o.key);
      if (o.key.empty()) g.outputs.push_back(nullptr);
      else if (it == scope.values.end()) return fail_at(text_, o.offset, invalid("the graph returns a value that it does not define"));
      else g.outputs.push_back(it->second);
    }
    return {};
  }
  struct OutputText {
    std::string key;
    size_t offset;
  };
  Result<std::vector<OutputText>> graph_outputs(Graph& g) {
    std::vector<OutputText> out;
    std::vector<std::string> names;
    bool named = false;
    TRY(lx_.expect("("));
    while (!lx_.at(")")) {
      names.emplace_back();
      if (!lx_.at("%") && !lx_.at("_")) {
        TRY_ASSIGN(names.back(), lx_.name());
        TRY(lx_.expect("="));
        named = true;
      }
      out.push_back({"", lx_.peek().offset});
      if (!lx_.accept("_")) {
        TRY(lx_.expect("%"));
        TRY_ASSIGN(out.back().key, value_key());
      }
      if (!lx_.accept(",")) break;
    }
    TRY(lx_.expect(")"));
    if (named) g.output_names = std::move(names);
    return out;
  }

  // --- ops ----------------------------------------------------------------------------------------------------------

  Status op(Scope& scope) {
    auto op = std::make_unique<Op>();
    const size_t offset = lx_.peek().offset;
    if (lx_.at("%")) TRY(result_names(scope, *op));
    TRY_ASSIGN(op->kind, op_kind());
    op->attrs = op_def(op->kind).attrs();
    std::vector<Value*> operands;
    if (op->kind == OpKind::constant) {
      TRY_ASSIGN(op->attr<ConstantAttrs>().value.id, parse_constant_ref(lx_, constant_ids_));
    } else {
      TRY_ASSIGN(operands, operand_list(scope));
      if (lx_.at("{")) TRY(parse_attrs(lx_, *op->attrs, constant_ids_));
    }
    if (op->results.empty() && op->kind != OpKind::send) return lx_.fail("the op's results need names: `%y = ...`, before");
    Op* p = scope.graph.insert(std::move(op));
    offsets_[p] = offset;
    for (Value* v : operands) p->add_operand(v);
    TRY(bodies(*p, scope.depth));
    if (lx_.accept(":")) {
      for (auto& r : p->results) {
        if (r->index) TRY(lx_.expect(","));
        TRY(value_type(*r));
      }
    }
    if (lx_.accept("stage")) {
      TRY(lx_.expect("("));
      const size_t at = lx_.peek().offset;
      TRY_ASSIGN(int64_t stage, lx_.integer());
      if (stage < 0 || stage >= kMaxStages) return fail_at(text_, at, invalid("a stage is from 0 to " + std::to_string(kMaxStages - 1)));
      p->stage = static_cast<int>(stage);
      TRY(lx_.expect(")"));
    }
    if (lx_.accept("loc")) TRY(provenance(*p));
    // Results are seen by the ops that follow only.
    for (auto& r : p->results) TRY(enter(scope, *r));
    return {};
  }
  Status result_names(Scope& scope, Op& op) {
    do {
      auto v = std::make_unique<Value>();
      v->def = &op;
      v->graph = &scope.graph;
      v->index = op.num_results();
      TRY(declare_name(*v));
      op.results.push_back(std::move(v));
    } while (lx_.accept(","));
    return lx_.expect("=");
  }
  Result<OpKind> op_kind() {
    Error unknown = lx_.peek().kind == Token::identifier && !op_from_name(lx_.peek().text) ? lx_.fail("there is no such op") : Error();
    TRY_ASSIGN(std::string name, lx_.identifier());
    auto kind = op_from_name(name);
    if (!kind) return unknown;
    return *kind;
  }
  Result<std::vector<Value*>> operand_list(Scope& scope) {
    std::vector<Value*> out;
    TRY(lx_.expect("("));
    while (!lx_.at(")")) {
      if (lx_.accept("_")) {
        out.push_back(nullptr);
      } else {
        const size_t offset = lx_.peek().offset;
        TRY(lx_.expect("%"));
        TRY_ASSIGN(std::string key, value_key());
        auto it = scope.values.find(key);
        if (it == scope.values.end())
          return fail_at(text_, offset, invalid("%" + key.substr(1) + " is not defined before this use in this graph").at_tensor(key.substr(1)));
        out.push_back(it->second);
      }
      if (!lx_.accept(",")) break;
    }
    TRY(lx_.expect(")"));
    return out;
  }
  Status bodies(Op& op, int depth) {
    while (lx_.peek().kind == Token::string || (lx_.peek().kind == Token::identifier && !lx_.at("loc") && !op_follows())) {
      auto g = std::make_unique<Graph>();
      TRY_ASSIGN(g->name, lx_.name());
      g->module = m_.get();
      g->parent = &op;
      op.graphs.push_back(std::move(g));
      TRY(graph(*op.graphs.back(), depth + 1));
    }
    return {};
  }
  // `send(…)` begins a line without results; no body is called that unless in quotes.
  bool op_follows() const { return lx_.at("send"); }
  Status provenance(Op& op) {
    TRY(lx_.expect("("));
    do {
      TRY_ASSIGN(std::string s, lx_.quoted());
      op.provenance.push_back(std::move(s));
    } while (lx_.accept(","));
    return lx_.expect(")");
  }

  // --- values -------------------------------------------------------------------------------------------------------

  // After `%`: a key that tells names from numbers.
  Result<std::string> value_key() {
    if (lx_.peek().kind != Token::integer) {
      TRY_ASSIGN(std::string name, lx_.name());
      return "%" + name;
    }
    TRY_ASSIGN(int64_t number, lx_.integer());
    return "#" + std::to_string(number);
  }
  // `%x`, or `%7` with what it is called beside others of that name.
  Status declare_name(Value& v) {
    TRY(lx_.expect("%"));
    const size_t offset = lx_.peek().offset;
    TRY_ASSIGN(std::string key, value_key());
    if (key[0] == '%') v.name = key.substr(1);
    if (lx_.accept("named")) {
      TRY_ASSIGN(v.name, lx_.quoted());
    }
    keys_[&v] = {std::move(key), offset};
    return {};
  }
  Status enter(Scope& scope, Value& v) {
    auto node = keys_.extract(&v);
    auto& [key, offset] = node.mapped();
    if (scope.values.emplace(key, &v).second) return {};
    return fail_at(text_, offset, invalid("%" + key.substr(1) + " is defined twice in this graph").at_tensor(key.substr(1)));
  }
  Status define(Scope& scope, Value& v) {
    TRY(declare_name(v));
    return enter(scope, v);
  }
  Status value_type(Value& v) {
    TRY_ASSIGN(v.type, Type::parse(lx_));
    declare(v.type);
    if (lx_.accept("host")) v.place = Place::host;
    if (lx_.at("shard")) {
      TRY_ASSIGN(v.sharding, Sharding::parse(lx_));
    }
    return {};
  }
  // Symbols with the default range need no declaration.
  void declare(const Dim& d) {
    for (const std::string& s : d.symbols()) m_->symbols.emplace(s, SymbolInfo());
  }
  void declare(const Type& t) {
    if (t.elem) declare(*t.elem);
    for (const Dim& d : t.shape) declare(d);
  }

  std::string_view text_;
  Lexer lx_;
  std::unique_ptr<Module> m_;
  ConstantParser constants_;
  ConstantIds constant_ids_;
  std::unordered_map<const Op*, size_t> offsets_;
  std::unordered_map<const Value*, std::pair<std::string, size_t>> keys_;
};

}  // namespace

Result<std::unique_ptr<Module>> parse_module(std::string_view text, const std::string& base_dir) { return ModuleParser(text, base_dir).run(); }

}  // namespace weft
