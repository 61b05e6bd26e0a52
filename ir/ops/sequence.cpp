// Sequences: sequence_empty, _construct, _insert, _erase, _at, _length. Positions count from the end when negative.
#include "ir/ops/sequence.h"

#include "ir/ops/control.h"
#include "ir/ops/move.h"

namespace weft {

Dim varying_dim() { return Dim::symbol("_"); }
bool is_varying(const Dim& d) { return d.is_symbol() && d.symbol_name() == "_"; }
Type empty_element(DType t) { return Type::tensor(t, {Dim::symbol("_empty")}); }
bool is_empty_element(const Type& t) { return t.is_ranked() && t.rank() == 1 && t.shape[0] == Dim::symbol("_empty"); }
Type declared_sequence(Type element) {
  for (Dim& d : element.shape)
    if (!d.is_const()) d = varying_dim();
  return Type::sequence(std::move(element));
}

Status need_sequence(const Op& op, int i) {
  if (has_operand(op, i) && type_of(op, i).kind == Type::Kind::sequence) return {};
  return invalid("operand " + std::to_string(i) + " must be a sequence, is " + (has_operand(op, i) ? type_of(op, i).to_string() : "absent"));
}
std::optional<std::vector<Type>> known_elements(const Value* v) {
  if (v->def && v->def->kind == OpKind::sequence_empty) return std::vector<Type>();
  if (!v->def || v->def->kind != OpKind::sequence_construct) return std::nullopt;
  std::vector<Type> out;
  for (const Value* e : v->def->operands) out.push_back(e->type);
  return out;
}
static Type without_layout(Type t) {
  t.layout = Layout();
  return t;
}
static OpDef sequence_op(const char* onnx, int least, int most, Status (*infer)(Op&, InferContext&),
    Result<std::vector<HostValue>> (*eval)(EvalCall&)) {
  OpDef d;
  d.onnx = onnx;
  d.family = Family::sequence;
  d.traits = kHostOnly;
  d.min_operands = least;
  d.max_operands = most;
  d.infer = infer;
  d.eval = eval;
  return d;
}

// --- making ---------------------------------------------------------------------------------------------------------

static Status infer_sequence_empty(Op& op, InferContext&) {
  set_type(op, 0, Type::sequence(empty_element(op.attr<SequenceEmptyAttrs>().dtype)));
  return {};
}
static Result<std::vector<HostValue>> eval_sequence_empty(EvalCall&) { return std::vector<HostValue>{HostValue::sequence({})}; }
OpDef def_sequence_empty() {
  OpDef d = sequence_op("SequenceEmpty", 0, 0, infer_sequence_empty, eval_sequence_empty);
  d.attrs = make_attrs<SequenceEmptyAttrs>;
  return d;
}

static Status infer_sequence_construct(Op& op, InferContext&) {
  Type t;
  for (int i = 0; i < op.num_operands(); ++i) {
    if (!has_operand(op, i)) return invalid("operand " + std::to_string(i) + " is absent");
    Type element = Type::sequence(without_layout(type_of(op, i)));
    if (i == 0) {
      t = std::move(element);
      continue;
    }
    TRY_ASSIGN(t, join_types(t, element, {}));
  }
  set_type(op, 0, std::move(t));
  return {};
}
static Result<std::vector<HostValue>> eval_sequence_construct(EvalCall& call) {
  std::vector<HostValue> items;
  for (const HostValue* v : call.in) items.push_back(*v);
  return std::vector<HostValue>{HostValue::sequence(std::move(items))};
}
OpDef def_sequence_construct() { return sequence_op("SequenceConstruct", 1, -1, infer_sequence_construct, eval_sequence_construct); }

static Status infer_sequence_insert(Op& op, InferContext&) {
  TRY(need_sequence(op, 0));
  TRY(need_int_vector(op, 2));
  TRY_ASSIGN(Type t, join_types(type_of(op, 0), Type::sequence(without_layout(type_of(op, 1))), {}));
  set_type(op, 0, std::move(t));
  return {};
}
static Result<std::vector<HostValue>> eval_sequence_insert(EvalCall& call) {
  std::vector<HostValue> items = call.in[0]->items;
  int64_t n = static_cast<int64_t>(items.size()), at = n;
  if (call.has(2)) {
    TRY_ASSIGN(at, int_scalar(call, 2));
  }
  if (at < -n || at > n) return invalid("insert at " + std::to_string(at) + " of a sequence of " + std::to_string(n));
  items.insert(items.begin() + (at < 0 ? at + n : at), *call.in[1]);
  return std::vector<HostValue>{HostValue::sequence(std::move(items))};
}
OpDef def_sequence_insert() { return sequence_op("SequenceInsert", 2, 3, infer_sequence_insert, eval_sequence_insert); }

static Status infer_sequence_erase(Op& op, InferContext&) {
  TRY(need_sequence(op, 0));
  TRY(need_int_vector(op, 1));
  set_type(op, 0, type_of(op, 0));
  return {};
}
static Result<std::vector<HostValue>> eval_sequence_erase(EvalCall& call) {
  std::vector<HostValue> items = call.in[0]->items;
  int64_t at = -1;
  if (call.has(1)) {
    TRY_ASSIGN(at, int_scalar(call, 1));
  }
  TRY_ASSIGN(at, wrap_index(at, static_cast<int64_t>(items.size())));
  items.erase(items.begin() + at);
  return std::vector<HostValue>{HostValue::sequence(std::move(items))};
}
OpDef def_sequence_erase() { return sequence_op("SequenceErase", 1, 2, infer_sequence_erase, eval_sequence_erase); }

// --- reading --------------------------------------------------------------------------------------------------------

static Status infer_sequence_at(Op& op, InferContext& cx) {
  TRY(need_sequence(op, 0));
  TRY(need_int_vector(op, 1));
  auto elements = known_elements(op.operands[0]);
  auto at = const_ints(op.operands[1]);
  if (elements && at && at->size() == 1) {
    TRY_ASSIGN(int64_t i, wrap_index((*at)[0], static_cast<int64_t>(elements->size())));
    set_type(op, 0, (*elements)[i]);
    return {};
  }
  Type t = *type_of(op, 0).elem;
  if (is_empty_element(t)) t = Type::unranked(t.dtype);
  for (int d = 0; d < t.rank(); ++d)
    if (is_varying(t.shape[d])) t.shape[d] = data_dim(op, 0, d, cx);
  set_type(op, 0, std::move(t));
  return {};
}
static Result<std::vector<HostValue>> eval_sequence_at(EvalCall& call) {
  const std::vector<HostValue>& items = call.in[0]->items;
  TRY_ASSIGN(int64_t at, int_scalar(call, 1));
  TRY_ASSIGN(at, wrap_index(at, static_cast<int64_t>(items.size())));
  return std::vector<HostValue>{items[at]};
}
OpDef def_sequence_at() { return sequence_op("SequenceAt", 2, 2, infer_sequence_at, eval_sequence_at); }

static Status infer_sequence_length(Op& op, InferContext&) {
  TRY(need_sequence(op, 0));
  set_type(op, 0, Type::tensor(DType::i64, {}));
  if (auto elements = known_elements(op.operands[0])) set_known(op, 0, {Dim(static_cast<int64_t>(elements->size()))});
  return {};
}
OpDef def_sequence_length() {
  return sequence_op("SequenceLength", 1, 1, infer_sequence_length, [](EvalCall& call) {
    return one(store_all(DType::i64, {}, std::vector<int64_t>{static_cast<int64_t>(call.in[0]->items.size())}));
  });
}

}  // namespace weft
