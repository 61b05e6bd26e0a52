// Operators of ai.onnx.ml that are a few tensor ops.
#include "ir/ops/reduce.h"

#include "frontend/onnx/rules/rules.h"

namespace weft {

// The listed elements of the last dim; a vector counts as one row.
Values rule_array_feature_extractor(Node& n) {
  Value *x = n.need(0), *y = n.gather(x, int_vector(n, n.need(1)), -1);
  return n.done({n.rank(x) == 1 ? n.unsqueeze(y, {0}) : y});
}

Values rule_binarizer(Node& n) {
  Value* x = n.need(0);
  return n.done({n.cast(n.op(OpKind::greater, {x, n.scalar(n.dtype(x), n.float_attr("threshold", 0))}), n.dtype(x))});
}

namespace {

// A list given as a tensor, or as strings, integers or floats; null: none.
Value* listed(Node& n, const std::string& what) {
  ConstantPool& pool = n.build.module().constants;
  std::string tensor = what + "_tensor", strings = what + "_strings", ints = what + "_int64s", floats = what + "_floats";
  if (n.has(tensor.c_str())) return n.constant(n.constant_attr(tensor.c_str()));
  if (n.has(ints.c_str())) return n.ints(n.ints_attr(ints.c_str()));
  if (n.has(floats.c_str())) return float_vector(n, n.floats_attr(floats.c_str()));
  if (!n.has(strings.c_str())) return nullptr;
  std::vector<std::string> texts = n.texts_attr(strings.c_str());
  int64_t count = static_cast<int64_t>(texts.size());
  return n.constant(pool.add_strings("", {count}, std::move(texts)));
}

// What keys that are not listed give, as [1].
Value* default_label(Node& n, DType t) {
  if (n.has("default_tensor")) return n.reshape(n.constant(n.constant_attr("default_tensor")), {1});
  if (t == DType::str) return n.constant(n.build.module().constants.add_strings("", {1}, {n.text_attr("default_string", "_Unused")}));
  if (is_float(t)) return n.unsqueeze(n.scalar(t, n.float_attr("default_float", -0.0)), {0});
  return n.unsqueeze(n.scalar(t, static_cast<double>(n.int_attr("default_int64", -1))), {0});
}

}  // namespace

// Each element becomes the value of the first key that it equals; NaN equals NaN here.
Values rule_label_encoder(Node& n) {
  for (const char* name : {"default_string", "default_float", "default_int64"}) n.ignore(name);
  Value *x = n.need(0), *keys = listed(n, "keys"), *values = listed(n, "values");
  if (!keys || !values) return unsupported("LabelEncoder-1");
  const Dim count = n.type_of(keys).is_ranked() && n.rank(keys) == 1 ? n.type_of(keys).dim(0) : Dim(0);
  if (!count.is_const() || count.value() < 1) return unsupported("LabelEncoder without keys");
  Value* element = n.unsqueeze(x, {n.rank(x)});
  Value* equal = n.op(OpKind::equal, {element, keys});
  if (is_float(n.dtype(x))) {
    Value* both_nan = n.op(OpKind::and_, {n.op(OpKind::is_nan, {element}), n.op(OpKind::is_nan, {keys})});
    equal = n.op(OpKind::or_, {equal, both_nan});
  }
  Value* hit = n.cast(equal, DType::i32);
  ArgReduceAttrs first;
  first.axis = -1;
  first.keepdims = false;
  Value* found = n.op(OpKind::greater, {n.reduce_sum(hit, {n.rank(x)}, false), n.scalar(DType::i32, 0)});
  Value* at = n.op(OpKind::where, {found, n.op(OpKind::arg_max, {hit}, first), n.int_scalar(count.value())});
  return n.done({n.gather(n.concat({values, default_label(n, n.dtype(values))}, 0), at, 0)});
}

}  // namespace weft
