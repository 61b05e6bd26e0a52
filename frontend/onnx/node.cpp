// Node: attributes, errors, facts. Short ways to build ops are in node_build.cpp, bodies in body.cpp.
#include "frontend/onnx/node.h"

#include <algorithm>

#include "frontend/onnx/importer.h"
#include "ir/ops/common.h"

namespace weft {

Node::Node(ImportState& st, Scope& sc, const pb::NodeProto& p, std::string name)
    : state(st), scope(sc), proto(p), label(std::move(name)), build(sc.graph) {
  build.provenance = {label};
}

const std::string& Node::type() const { return proto.op_type(); }
const std::string& Node::domain() const {
  static const std::string onnx;
  return proto.domain() == "ai.onnx" ? onnx : proto.domain();
}
std::string Node::describe() const { return type() + " `" + label + "`"; }

Value* Node::need(int i) {
  if (!in(i)) fail(invalid(describe() + " lacks input " + std::to_string(i)));
  return in(i);
}
int Node::num_outputs() const {
  int n = proto.output_size();
  while (n > 0 && proto.output(n - 1).empty()) --n;
  return n;
}
bool Node::wants(int i) const { return i < proto.output_size() && !proto.output(i).empty(); }

// --- attributes -------------------------------------------------------------------------------------------------------

using AP = pb::AttributeProto;

// The type that an attribute of IR version 1 does not state.
static int type_of_attribute(const AP& a) {
  if (a.type() != AP::UNDEFINED) return a.type();
  if (a.has_f()) return AP::FLOAT;
  if (a.has_i()) return AP::INT;
  if (a.has_s()) return AP::STRING;
  if (a.has_t()) return AP::TENSOR;
  if (a.has_g()) return AP::GRAPH;
  if (a.floats_size()) return AP::FLOATS;
  if (a.ints_size()) return AP::INTS;
  if (a.strings_size()) return AP::STRINGS;
  return a.has_tp() ? AP::TYPE_PROTO : AP::UNDEFINED;
}

const AP* Node::attribute(const std::string& name, Scope** home) {
  read_.insert(name);
  for (const AP& a : proto.attribute()) {
    if (a.name() != name) continue;
    if (a.ref_attr_name().empty()) {
      if (home) *home = &scope;
      return &a;
    }
    auto it = scope.frame->attributes.find(a.ref_attr_name());
    if (it == scope.frame->attributes.end()) return nullptr;
    if (home) *home = it->second.home;
    return it->second.proto;
  }
  return nullptr;
}
// Null when absent or of another type, which is an error.
const AP* Node::typed(const char* name, int type) {
  const AP* a = attribute(name);
  if (!a) return nullptr;
  int have = type_of_attribute(*a);
  // Writers leave the type of an empty list open.
  bool empty_list = have == AP::UNDEFINED && (type == AP::INTS || type == AP::FLOATS || type == AP::STRINGS);
  if (have == type || empty_list) return a;
  fail(invalid("attribute `" + std::string(name) + "` of " + describe() + " has the wrong type"));
  return nullptr;
}

bool Node::has(const char* name) { return attribute(name) != nullptr; }
int64_t Node::int_attr(const char* name, int64_t otherwise) {
  const AP* a = typed(name, AP::INT);
  return a ? a->i() : otherwise;
}
int64_t Node::need_int(const char* name) {
  if (!has(name)) fail(invalid(describe() + " lacks attribute `" + name + "`"));
  return int_attr(name, 0);
}
double Node::float_attr(const char* name, double otherwise) {
  const AP* a = typed(name, AP::FLOAT);
  return a ? a->f() : otherwise;
}
std::string Node::text_attr(const char* name, const std::string& otherwise) {
  const AP* a = typed(name, AP::STRING);
  return a ? a->s() : otherwise;
}
std::vector<int64_t> Node::ints_attr(const char* name) {
  const AP* a = typed(name, AP::INTS);
  return a ? std::vector<int64_t>(a->ints().begin(), a->ints().end()) : std::vector<int64_t>();
}
std::vector<double> Node::floats_attr(const char* name) {
  const AP* a = typed(name, AP::FLOATS);
  return a ? std::vector<double>(a->floats().begin(), a->floats().end()) : std::vector<double>();
}
std::vector<std::string> Node::texts_attr(const char* name) {
  const AP* a = typed(name, AP::STRINGS);
  return a ? std::vector<std::string>(a->strings().begin(), a->strings().end()) : std::vector<std::string>();
}
DType Node::dtype_attr(const char* name, DType otherwise) {
  const AP* a = attribute(name);
  if (!a) return otherwise;
  bool word = type_of_attribute(*a) == AP::STRING;
  if (!word && !(a = typed(name, AP::INT))) return otherwise;
  if (!word && a->i() == pb::TensorProto::UNDEFINED) return otherwise;
  auto t = word ? dtype_from_onnx_word(a->s()) : dtype_from_onnx(a->i());
  if (t.ok()) return *t;
  fail(std::move(t.error()));
  return otherwise;
}
int Node::constant_attr(const char* name) {
  const AP* a = attribute(name);
  if (!a || failed()) return -1;
  bool sparse = type_of_attribute(*a) == AP::SPARSE_TENSOR;
  if (!sparse && !typed(name, AP::TENSOR)) return -1;
  const std::string& own = sparse ? a->sparse_tensor().values().name() : a->t().name();
  std::string entry = own.empty() ? label : own;
  auto id = sparse ? pool_sparse(a->sparse_tensor(), state.source, state.module.constants, entry)
                   : pool_tensor(a->t(), state.source, state.module.constants, entry);
  if (id.ok()) return *id;
  fail(std::move(id.error()));
  return -1;
}

namespace {
// In a type that stands in an attribute only numbers mean something.
struct AttributeDims : DimReader {
  explicit AttributeDims(Module& m) : module(m) {}
  Module& module;
  Result<Dim> dim(const pb::TensorShapeProto_Dimension& d) override {
    return d.has_dim_value() && d.dim_value() >= 0 ? Dim(d.dim_value()) : module.fresh_symbol();
  }
};

// Fills fields from the node's attributes.
class AttributeReader : public FieldVisitor {
 public:
  explicit AttributeReader(Node& n) : n_(n) {}
  void field(const char* name, int64_t& v) override { v = n_.int_attr(name, v); }
  void field(const char* name, double& v) override { v = n_.float_attr(name, v); }
  void field(const char* name, std::string& v) override { v = n_.text_attr(name, v); }
  void field(const char* name, DType& v) override { v = n_.dtype_attr(name, v); }
  void field(const char* name, bool& v) override {
    if (std::string_view(name).starts_with("has_")) v = n_.has(name + 4);
    else v = n_.int_attr(name, v) != 0;
  }
  void field(const char* name, std::vector<int64_t>& v) override {
    if (n_.has(name)) v = n_.ints_attr(name);
  }
  void field(const char* name, std::vector<double>& v) override {
    if (n_.has(name)) v = n_.floats_attr(name);
  }
  void field(const char* name, std::vector<std::string>& v) override {
    if (n_.has(name)) v = n_.texts_attr(name);
  }
  void field(const char* name, Shape& v) override {
    if (n_.has(name)) v = to_shape(n_.ints_attr(name));
  }
  void field(const char* name, Type& v) override {
    if (n_.has(name)) v = n_.type_attr(name);
  }
  void field(const char* name, ConstantRef& v) override { v.id = n_.constant_attr(name); }

 private:
  Node& n_;
};
}  // namespace

Type Node::type_attr(const char* name) {
  const AP* a = typed(name, AP::TYPE_PROTO);
  if (!a) return Type();
  AttributeDims dims(state.module);
  auto t = type_from_onnx(a->tp(), dims, state.options.limits.max_rank);
  if (t.ok()) return *t;
  fail(std::move(t.error()));
  return Type();
}

std::unique_ptr<Attrs> Node::attrs_for(OpKind kind) {
  std::unique_ptr<Attrs> attrs = op_def(kind).attrs();
  AttributeReader reader(*this);
  attrs->visit(reader);
  return attrs;
}

Status Node::all_read() const {
  std::set<std::string_view> seen;
  for (const AP& a : proto.attribute()) {
    if (!seen.insert(a.name()).second) return invalid(describe() + " has two attributes `" + a.name() + "`");
    if (read_.count(a.name())) continue;
    if (!a.ref_attr_name().empty() && !scope.frame->attributes.count(a.ref_attr_name())) continue;  // absent
    return unsupported("attribute `" + a.name() + "` of " + describe() + " (opset " + std::to_string(version) + ")");
  }
  return {};
}

// --- errors and facts -------------------------------------------------------------------------------------------------

void Node::fail(Error e) {
  if (!error_) error_ = std::move(e);
}
Result<std::vector<Value*>> Node::done(std::vector<Value*> results) {
  if (error_) return *error_;
  return results;
}

const Type& Node::type_of(const Value* v) {
  static const Type none;
  if (v) return v->type;
  fail(invalid(describe() + " lacks an input"));
  return none;
}
int Node::rank(const Value* v) {
  const Type& t = type_of(v);
  if (t.is_ranked()) return t.rank();
  fail(t.is_tensor() ? unsupported(describe() + " of a tensor of unknown rank") : invalid(describe() + " takes tensors, not " + t.to_string()));
  return 0;
}
int Node::axis(int64_t axis, int rank) {
  if (failed()) return 0;
  auto r = normalize_axis(axis, rank);
  if (r.ok()) return *r;
  fail(r.error().prefix(describe() + ": "));
  return 0;
}
std::vector<int64_t> Node::const_ints_of(const Value* v, const char* what) {
  if (!v) type_of(v);
  if (failed()) return {};
  if (auto values = const_ints(v)) return *values;
  fail(unsupported(describe() + " with " + what + " that are not constant"));
  return {};
}

}  // namespace weft
