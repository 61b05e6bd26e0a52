// string_concat, string_split, string_normalizer, regex_full_match: types here, text in kernels/host.
#include "ir/ops/strings.h"

#include <algorithm>
#include <set>

#include "ir/ops/move.h"
#include "kernels/host/regex.h"
#include "kernels/host/strings.h"

namespace weft {

static Status need_strings(const Op& op, int i) {
  const Type& t = type_of(op, i);
  if (t.is_tensor() && t.dtype == DType::str) return {};
  return invalid(std::string(op_name(op.kind)) + " takes strings, got " + t.to_string());
}
template <class A>
static OpDef string_op(const char* onnx, int operands, Status (*infer)(Op&, InferContext&), Result<std::vector<HostValue>> (*eval)(EvalCall&)) {
  OpDef d;
  d.onnx = onnx;
  d.family = Family::sequence;
  d.traits = kHostOnly;
  d.min_operands = d.max_operands = operands;
  d.attrs = make_attrs<A>;
  d.infer = infer;
  d.eval = eval;
  return d;
}
static Type with_dtype(Type t, DType dtype) {
  t.dtype = dtype;
  t.layout = Layout();
  return t;
}

// --- string_concat ----------------------------------------------------------------------------------------------------

static Status infer_string_concat(Op& op, InferContext& cx) {
  for (int i : {0, 1}) TRY(need_strings(op, i));
  for (int i : {0, 1})
    if (unranked_operand(op, i)) return {};
  TRY_ASSIGN(Shape shape, broadcast_shapes({&type_of(op, 0).shape, &type_of(op, 1).shape}, cx, "string_concat's operands"));
  set_type(op, 0, Type::tensor(DType::str, std::move(shape)));
  return {};
}
static Result<std::vector<HostValue>> eval_string_concat(EvalCall& call) {
  const Tensor &a = call.tensor(0), &b = call.tensor(1);
  TRY_ASSIGN(std::vector<int64_t> dims, broadcast_dims({&a.dims, &b.dims}));
  TRY_ASSIGN(Tensor out, read_window(a, {0, broadcast_strides(a.dims, dims)}, dims));
  TRY_ASSIGN(Tensor tail, read_window(b, {0, broadcast_strides(b.dims, dims)}, dims));
  for (size_t k = 0; k < out.strings->size(); ++k) (*out.strings)[k] += (*tail.strings)[k];
  return one(std::move(out));
}
OpDef def_string_concat() { return string_op<NoAttrs>("StringConcat", 2, infer_string_concat, eval_string_concat); }

// --- string_split -----------------------------------------------------------------------------------------------------

static Status infer_string_split(Op& op, InferContext& cx) {
  TRY(need_strings(op, 0));
  Type parts = with_dtype(type_of(op, 0), DType::str);
  if (parts.ranked) parts.shape.push_back(data_dim(op, 0, parts.rank(), cx));
  set_type(op, 0, std::move(parts));
  set_type(op, 1, with_dtype(type_of(op, 0), DType::i64));
  return {};
}
static Result<std::vector<HostValue>> eval_string_split(EvalCall& call) {
  const StringSplitAttrs& a = call.attr<StringSplitAttrs>();
  const Tensor& x = call.tensor(0);
  std::vector<std::vector<std::string>> parts;
  std::vector<int64_t> counts;
  size_t most = 0;
  for (const std::string& s : *x.strings) {
    parts.push_back(split_text(s, a.delimiter, a.maxsplit));
    counts.push_back(static_cast<int64_t>(parts.back().size()));
    most = std::max(most, parts.back().size());
  }
  std::vector<int64_t> dims = x.dims;
  dims.push_back(static_cast<int64_t>(most));
  TRY_ASSIGN(Tensor out, Tensor::make(DType::str, dims));
  for (size_t k = 0; k < parts.size(); ++k) std::move(parts[k].begin(), parts[k].end(), out.strings->begin() + static_cast<int64_t>(k * most));
  TRY_ASSIGN(Tensor number, store_all(DType::i64, x.dims, counts));
  return std::vector<HostValue>{std::move(out), std::move(number)};
}
OpDef def_string_split() { return string_op<StringSplitAttrs>("StringSplit", 1, infer_string_split, eval_string_split); }

// --- string_normalizer ------------------------------------------------------------------------------------------------

static Status check_row(const std::vector<Dim>& dims) {
  if (dims.size() == 1 || (dims.size() == 2 && (!dims[0].is_const() || dims[0].is(1)))) return {};
  return invalid("string_normalizer takes strings [c] or [1, c], got [" + shape_text(dims) + "]");
}
static Status infer_string_normalizer(Op& op, InferContext& cx) {
  TRY(need_strings(op, 0));
  const StringNormalizerAttrs& a = op.attr<StringNormalizerAttrs>();
  if (a.case_change_action != "NONE" && a.case_change_action != "LOWER" && a.case_change_action != "UPPER")
    return invalid("string_normalizer's case_change_action must be \"LOWER\", \"UPPER\" or \"NONE\", is " + quote(a.case_change_action));
  if (unranked_operand(op, 0)) return {};
  Shape shape = type_of(op, 0).shape;
  TRY(check_row(shape));
  int last = static_cast<int>(shape.size()) - 1;
  // An empty result becomes one empty string.
  if (!a.stopwords.empty() || !known_ge(shape[last], 1, cx.module.symbols)) shape[last] = data_dim(op, 0, last, cx);
  if (last == 1) shape[0] = 1;
  set_type(op, 0, Type::tensor(DType::str, std::move(shape)));
  return {};
}
static Result<std::vector<HostValue>> eval_string_normalizer(EvalCall& call) {
  const StringNormalizerAttrs& a = call.attr<StringNormalizerAttrs>();
  const Tensor& x = call.tensor(0);
  TRY(check_row(to_shape(x.dims)));
  std::set<std::string> stop;
  for (const std::string& s : a.stopwords) stop.insert(a.is_case_sensitive ? s : lower_case(s));
  std::vector<std::string> kept;
  for (const std::string& s : *x.strings) {
    if (stop.count(a.is_case_sensitive ? s : lower_case(s))) continue;
    kept.push_back(a.case_change_action == "LOWER" ? lower_case(s) : a.case_change_action == "UPPER" ? upper_case(s) : s);
  }
  if (kept.empty()) kept.emplace_back();
  std::vector<int64_t> dims = x.dims;
  dims.back() = static_cast<int64_t>(kept.size());
  TRY_ASSIGN(Tensor out, Tensor::make(DType::str, dims));
  *out.strings = std::move(kept);
  return one(std::move(out));
}
OpDef def_string_normalizer() {
  OpDef d = string_op<StringNormalizerAttrs>("StringNormalizer", 1, infer_string_normalizer, eval_string_normalizer);
  d.traits |= kDataDependent;
  return d;
}

// --- regex_full_match -------------------------------------------------------------------------------------------------

static Status infer_regex_full_match(Op& op, InferContext&) {
  TRY(need_strings(op, 0));
  TRY(Regex::compile(op.attr<RegexFullMatchAttrs>().pattern));
  set_type(op, 0, with_dtype(type_of(op, 0), DType::b1));
  return {};
}
static Result<std::vector<HostValue>> eval_regex_full_match(EvalCall& call) {
  TRY_ASSIGN(Regex regex, Regex::compile(call.attr<RegexFullMatchAttrs>().pattern));
  std::vector<int64_t> out;
  for (const std::string& s : *call.tensor(0).strings) out.push_back(regex.matches(s));
  return one(store_all(DType::b1, call.tensor(0).dims, out));
}
OpDef def_regex_full_match() { return string_op<RegexFullMatchAttrs>("RegexFullMatch", 1, infer_regex_full_match, eval_regex_full_match); }

}  // namespace weft
