// What a rule sees of one ONNX node, without protobuf: its operands as Values, its attributes by name, and short ways to
// build ops.
//
// Errors stick: the first one stops all building (every builder then returns null and does nothing), and `done` hands it
// on. So a rule reads like the formula it writes down. Null operands are absent optional ones.
//
// An op with bodies (if_else, loop, scan, sequence_map) is built by with_bodies, which imports the sub-graphs and finds
// their captures:
//
//   std::vector<Type> in{Type::tensor(DType::i64, {}), Type::tensor(DType::b1, {})};     // a Loop: iteration, condition
//   for (int i = 2; i < n.num_inputs(); ++i) in.push_back(n.type_of(n.in(i)));           // carried
//   return n.done(n.with_bodies(OpKind::loop, operands, {{"body", in}}, attrs, n.body_outputs("body") - 1));
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ir/core/builder.h"

namespace ONNX_NAMESPACE {
class AttributeProto;
class GraphProto;
class NodeProto;
}  // namespace ONNX_NAMESPACE

namespace weft {

struct ImportState;
struct Scope;

class Node {
 public:
  Node(ImportState& state, Scope& scope, const ONNX_NAMESPACE::NodeProto& proto, std::string label);

  ImportState& state;
  Scope& scope;
  const ONNX_NAMESPACE::NodeProto& proto;
  const std::string label;  // provenance: the node's name
  int version = 0;          // opset of the node's domain
  Builder build;
  std::vector<Value*> inputs;
  bool poisoned = false;    // an input, or part of its body, could not be imported: no results

  const std::string& type() const;
  const std::string& domain() const;
  std::string describe() const;  // "Conv `conv1`"

  // --- operands and results ---
  int num_inputs() const { return static_cast<int>(inputs.size()); }
  Value* in(int i) const { return i < num_inputs() ? inputs[i] : nullptr; }
  Value* need(int i);                // Error when absent
  int num_outputs() const;           // up to the last one that has a name
  bool wants(int i) const;           // result i has a name

  // --- attributes; reading one marks it as understood ---
  bool has(const char* name);
  int64_t int_attr(const char* name, int64_t otherwise);
  int64_t need_int(const char* name);
  double float_attr(const char* name, double otherwise);
  std::string text_attr(const char* name, const std::string& otherwise);
  std::vector<int64_t> ints_attr(const char* name);
  std::vector<double> floats_attr(const char* name);
  std::vector<std::string> texts_attr(const char* name);
  DType dtype_attr(const char* name, DType otherwise);  // absent and 0 (UNDEFINED) alike; also ONNX's words
  int constant_attr(const char* name);                  // a tensor's pool entry, -1 when absent
  Type type_attr(const char* name);
  void ignore(const char* name) { read_.insert(name); }
  // Fills every field of the op's attributes from the attribute of that name; a field has_x says whether x is there.
  std::unique_ptr<Attrs> attrs_for(OpKind kind);
  // The attribute itself, references to a function's attributes resolved; null when absent. home: the scope that a graph
  // in it belongs to.
  const ONNX_NAMESPACE::AttributeProto* attribute(const std::string& name, Scope** home = nullptr);
  // Error kUnsupported when an attribute was never read.
  Status all_read() const;

  // --- errors ---
  void fail(Error e);
  bool failed() const { return error_.has_value(); }
  Result<std::vector<Value*>> done(std::vector<Value*> results);
  Result<std::vector<Value*>> done(Value* result) { return done(std::vector<Value*>{result}); }

  // --- facts; neutral values after an error ---
  const Type& type_of(const Value* v);
  DType dtype(const Value* v) { return type_of(v).dtype; }
  int rank(const Value* v);                                  // Error when not a ranked tensor
  int axis(int64_t axis, int rank);                          // counted from the front; Error when out of range
  std::vector<int64_t> const_ints_of(const Value* v, const char* what);  // Error kUnsupported unless constant

  // --- building ---
  Op* create(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr, int results = 1,
             std::vector<std::unique_ptr<Graph>> graphs = {});
  Value* op(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs = nullptr);
  template <class A>
  Value* op(OpKind kind, std::vector<Value*> operands, A attrs) {
    return op(kind, std::move(operands), std::unique_ptr<Attrs>(std::make_unique<A>(std::move(attrs))));
  }
  // The op of this kind with the node's own operands, attributes by name and as many results as the node has.
  Result<std::vector<Value*>> as(OpKind kind) { return as(kind, inputs); }
  Result<std::vector<Value*>> as(OpKind kind, std::vector<Value*> operands);
  Result<std::vector<Value*>> as(OpKind kind, std::vector<Value*> operands, std::unique_ptr<Attrs> attrs);

  // --- bodies ---
  // A graph attribute, and the types with which its own inputs start.
  struct Body {
    const char* attribute;
    std::vector<Type> inputs;
  };
  // All results of the op whose bodies these are (as many as the bodies give, whatever the node names). What the bodies read of the surrounding
  // graphs is appended to `operands` and to the inputs of each. Bodies are imported again until the types of their inputs are those that inference
  // finds, so a rule inside sees only facts that hold in every iteration. Poisons the node when something inside was refused.
  std::vector<Value*> with_bodies(OpKind kind, const std::vector<Value*>& operands, std::vector<Body> bodies, std::unique_ptr<Attrs> attrs,
                                  int results);
  // The outputs of a graph attribute without inputs, imported in place of the node. Poisons it as with_bodies does.
  std::vector<Value*> in_place(const char* name);
  int body_inputs(const char* name);   // initialisers do not count; Error when there is no such graph
  int body_outputs(const char* name);

  Value* constant(int id);
  Value* ints(const std::vector<int64_t>& values);           // i64[n]
  Value* int_scalar(int64_t value);                          // i64[]
  Value* scalar(DType t, double value);                      // t[]
  Value* add(Value* a, Value* b) { return op(OpKind::add, {a, b}); }
  Value* sub(Value* a, Value* b) { return op(OpKind::sub, {a, b}); }
  Value* mul(Value* a, Value* b) { return op(OpKind::mul, {a, b}); }
  Value* div(Value* a, Value* b) { return op(OpKind::div, {a, b}); }
  Value* cast(Value* v, DType t);                            // v itself when it has the type
  Value* reshape(Value* v, const std::vector<int64_t>& dims);  // 0 copies, -1 takes the rest
  Value* reshape_to(Value* v, Value* dims, bool allowzero = false);
  Value* transpose(Value* v, const std::vector<int64_t>& perm);
  Value* unsqueeze(Value* v, const std::vector<int64_t>& axes);
  Value* squeeze(Value* v, const std::vector<int64_t>& axes);
  // v, known to have so many dims where inference cannot see how many (behind an If that squeezes).
  Value* with_rank(Value* v, int rank);
  Value* shape_of(Value* v);                                 // i64[rank]
  Value* dim_of(Value* v, int64_t axis);                     // i64[1]
  Value* concat(std::vector<Value*> parts, int64_t axis);
  Value* slice(Value* v, int64_t axis, int64_t start, int64_t end);
  Value* gather(Value* v, Value* indices, int64_t axis);
  Value* reduce_sum(Value* v, const std::vector<int64_t>& axes, bool keepdims);
  Value* expand(Value* v, Value* dims);

 private:
  const ONNX_NAMESPACE::AttributeProto* typed(const char* name, int type);
  const ONNX_NAMESPACE::GraphProto* graph_attr(const char* name, Scope** home);
  Op* build_bodies(OpKind kind, std::vector<Value*> operands, const std::vector<Body>& bodies, const Attrs& attrs, int results);

  std::set<std::string> read_;
  std::optional<Error> error_;
};

using Rule = Result<std::vector<Value*>> (*)(Node&);
// The rule of an op that is not the op of the same name with the same attributes; null: none. domain "" is ONNX's own.
Rule find_rule(const std::string& domain, const std::string& type);

}  // namespace weft
