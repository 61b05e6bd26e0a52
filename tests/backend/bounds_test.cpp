// How far generated code may be from the reference evaluator, per op and type: a row for every op that becomes a kernel.
//
// The evaluator computes in double and rounds once. Units are epsilons of the type: of each wanted element itself, or, where
// terms of both signs are added up, of the largest element of the output ("of the range"). Integers and bools are exact.
#include "codegen/lower/spec_builder.h"
#include "ir/expand/expansions.h"
#include "tests/backend/support.h"

namespace weft::backend_test::bounds {

namespace {

constexpr double kNone = -1;  // the op does not take the type

struct Units {
  double f32 = 0, f64 = 0, f16 = 0, bf16 = 0;
  double of(DType t) const { return t == DType::f32 ? f32 : t == DType::f64 ? f64 : t == DType::f16 ? f16 : t == DType::bf16 ? bf16 : 0; }
};
struct Row {
  const char* inputs;  // T stands for the type
  const char* ops;     // the last result is %y
  Units units;
  double lo = -2, hi = 2;
  bool of_range = false;
  std::vector<DType> types = {DType::f32, DType::f64, DType::f16, DType::bf16};
};

const std::vector<DType> kIntegers = {DType::i8, DType::u8, DType::i16, DType::u16, DType::i32, DType::u32, DType::i64, DType::u64};
const std::vector<DType> kMoved = {DType::f32, DType::f16, DType::i8, DType::i64, DType::b1, DType::i4, DType::c64};
const std::vector<DType> kBool = {DType::b1}, kSingle = {DType::f32};
const char* const kOne = "%x: T[n,5,37]";
const char* const kTwo = "%x: T[n,1,37], %z: T[5,37]";

// One rounding, correctly; a narrow type may round twice.
constexpr Units kExact{0, 0, 0, 0}, kRounded{0.5, 0.5, 1, 1};

Row exact(const char* inputs, const char* ops, std::vector<DType> types) { return {inputs, ops, kExact, -2, 2, false, std::move(types)}; }

std::vector<Row> elementwise_rows() {
  return {
      {kOne, "%y = abs(%x)", kExact},
      {kOne, "%y = neg(%x)", kExact},
      {kOne, "%y = sign(%x)", kExact},
      {kOne, "%y = floor(%x)", kExact, -9, 9},
      {kOne, "%y = ceil(%x)", kExact, -9, 9},
      {kOne, "%y = round(%x)", kExact, -9, 9},
      {kOne, "%y = relu(%x)", kExact},
      {kOne, "%y = clip(%x, _, _)", kExact},
      {kOne, "%y = shrink(%x) {lambd=1.0}", kExact},
      {kOne, "%y = thresholded_relu(%x)", kExact},
      {kOne, "%y = is_nan(%x)", kExact},
      {kOne, "%y = is_inf(%x)", kExact},
      {kOne, "%y = sqrt(%x)", kRounded, 0, 9},
      {kOne, "%y = reciprocal(%x)", kRounded, 0.5, 4},
      {kOne, "%y = exp(%x)", {2, 2, 1, 1}, -9, 9},
      {kOne, "%y = log(%x)", {2, 2, 1, 1}, 0.1, 9},
      {kOne, "%y = tanh(%x)", {2, 2, 1, 1}, -4, 4},
      {kOne, "%y = erf(%x)", {2, 6, 1, 1}, -4, 4},
      {kOne, "%y = sigmoid(%x)", {2, 2, 1, 1}, -9, 9},
      {kOne, "%y = sin(%x)", {2, 2, 1, 1}, -9, 9},
      {kOne, "%y = cos(%x)", {2, 2, 1, 1}, -9, 9},
      {kOne, "%y = tan(%x)", {2, 4, 1, 1}, -1.5, 1.5},
      {kOne, "%y = asin(%x)", {2, 4, 1, 1}, -1, 1},
      {kOne, "%y = acos(%x)", {2, 4, 1, 1}, -1, 1},
      {kOne, "%y = atan(%x)", {2, 3, 1, 1}, -9, 9},
      {kOne, "%y = sinh(%x)", {2, 3, 1, 1}, -9, 9},
      {kOne, "%y = cosh(%x)", {3, 3, 1, 1}, -9, 9},
      {kOne, "%y = asinh(%x)", {2, 2, 1, 1}, -9, 9},
      {kOne, "%y = acosh(%x)", {2, 2, 1, 1}, 1.1, 9},
      {kOne, "%y = atanh(%x)", {2, 2, 1, 1}, -0.95, 0.95},
      {kOne, "%y = elu(%x)", {2, 2, 1, 1}, -4, 4},
      {kOne, "%y = celu(%x) {alpha=2.0}", {2, 2, 1, 1}, -4, 4},
      {kOne, "%y = selu(%x)", {2, 2, 1, 1}, -4, 4},
      {kOne, "%y = softplus(%x)", {2, 3, 1, 1}, -9, 9},
      {kOne, "%y = softsign(%x)", {2, 1, 1, 1}, -9, 9},
      {kOne, "%y = leaky_relu(%x)", kRounded},
      {kOne, "%y = hard_sigmoid(%x)", {1, 1, 1, 1}, -4, 4, true},
      {kOne, "%y = hard_swish(%x)", {1, 1, 1, 1}, -4, 4, true},
      {kOne, "%y = swish(%x)", {2, 2, 1, 1}, -9, 9},
      {kOne, "%y = mish(%x)", {3, 4, 1, 1}, -4, 4},
      {kOne, "%y = gelu(%x)", {1, 3, 1, 1}, -4, 4, true},
      {kOne, "%y = gelu(%x) {approximate=\"tanh\"}", {1, 3, 1, 1}, -4, 4, true},
      {kTwo, "%y = add(%x, %z)", kRounded},
      {kTwo, "%y = sub(%x, %z)", kRounded},
      {kTwo, "%y = mul(%x, %z)", kRounded},
      {kTwo, "%y = div(%x, %z)", kRounded, 0.5, 4},
      {kTwo, "%y = pow(%x, %z)", {2, 8, 1, 1}, 0.2, 4},
      {kTwo, "%y = mod(%x, %z) {fmod=true}", kExact, 0.5, 4},
      {kTwo, "%y = max(%x, %z, %x)", kExact},
      {kTwo, "%y = min(%x, %z)", kExact},
      {kTwo, "%y = sum(%x, %z, %x)", {1, 1, 1, 1}, 0, 2},
      {kTwo, "%y = mean(%x, %z)", {1, 1, 1, 1}, 0, 2},
      {"%x: T[n,5,37], %z: T[5,1]", "%y = prelu(%x, %z)", kRounded},
      {kTwo, "%y = less(%x, %z)", kExact},
      {kTwo, "%y = less_or_equal(%x, %z)", kExact},
      {kTwo, "%y = greater(%x, %z)", kExact},
      {kTwo, "%y = greater_or_equal(%x, %z)", kExact},
      {kTwo, "%y = equal(%x, %z)", kExact},
      {"%c: bool[n,5,1], %x: T[n,1,37], %z: T[5,37]", "%y = where(%c, %x, %z)", kExact},
  };
}

std::vector<Row> integer_rows() {
  std::vector<Row> rows;
  for (const char* op : {"add", "sub", "mul", "div", "mod", "pow", "max", "min", "equal", "less", "greater", "bitwise_and",
                         "bitwise_or", "bitwise_xor"})
    rows.push_back(exact(kTwo, op, kIntegers));
  for (const char* op : {"abs", "neg", "sign", "bitwise_not", "relu"}) rows.push_back(exact(kOne, op, kIntegers));
  rows.push_back(exact(kTwo, "bit_shift", {DType::u8, DType::u16, DType::u32, DType::u64}));
  for (const char* op : {"and", "or", "xor", "equal"}) rows.push_back(exact(kTwo, op, kBool));
  rows.push_back(exact(kOne, "not", kBool));
  return rows;
}

std::vector<Row> row_rows() {
  const char* const x = "%x: T[n,6,11]";
  const char* const axes = "%a = constant @axes : i64[1]  ";
  static std::vector<std::string> reductions;  // texts live as long as the rows
  std::vector<Row> rows;
  struct Reduced {
    const char* op;
    Units units;
    double lo, hi;
  };
  const std::vector<Reduced> reduced = {
      {"reduce_sum", {2, 1, 1, 1}, -2, 2},     {"reduce_mean", {2, 1, 1, 1}, -2, 2},      {"reduce_max", kExact, -2, 2},
      {"reduce_min", kExact, -2, 2},           {"reduce_prod", {3, 1, 1, 1}, 0.9, 1.1},   {"reduce_l1", {2, 1, 1, 1}, -2, 2},
      {"reduce_l2", {2, 2, 1, 1}, -2, 2},      {"reduce_log_sum", {2, 2, 1, 1}, 0.1, 2},  {"reduce_log_sum_exp", {2, 2, 1, 1}, -2, 2},
      {"reduce_sum_square", {2, 2, 1, 1}, -2, 2}};
  reductions.reserve(reduced.size());
  for (const Reduced& r : reduced) {
    reductions.push_back(std::string(axes) + "%y = " + r.op + "(%x, %a)");
    rows.push_back({x, reductions.back().c_str(), r.units, r.lo, r.hi, true});
  }
  const std::vector<Row> others = {
      {x, "%y = arg_max(%x) {axis=2}", kExact},
      {x, "%y = arg_min(%x) {axis=1}", kExact},
      {x, "%y = hardmax(%x)", kExact},
      {x, "%y = softmax(%x) {axis=1}", {2, 1, 1, 1}, -9, 9, true},
      {x, "%y = log_softmax(%x)", {2, 1, 1, 1}, -9, 9, true},
      {"%x: T[n,6,11], %s: T[11], %b: T[11]", "%y = layer_normalization(%x, %s, %b)", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[n,6,11], %s: T[11]", "%y = rms_normalization(%x, %s)", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[n,6,11], %z: T[n,6,11], %s: T[11], %b: T[11]", "%y, %m, %d, %a = skip_layer_normalization(%x, %z, %s, %b)", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[n,6,11], %s: T[6], %b: T[6], %m: T[6], %v: T[6]", "%y = batch_normalization(%x, %s, %b, %m, %v)", {2, 2, 2, 2}, 0.1, 2, true},
      {"%x: T[n,6,11], %s: T[6], %b: T[6]", "%y = instance_normalization(%x, %s, %b)", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[n,6,11], %s: T[6], %b: T[6]", "%y = group_normalization(%x, %s, %b) {num_groups=2}", {2, 2, 1, 1}, -2, 2, true},
      {x, "%y = lrn(%x) {size=3}", {2, 1, 1, 1}, -2, 2, true},
      {x, "%y = lp_normalization(%x) {axis=1}", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[n,5,4], %t: i64[n,4]",
       "%m = constant @five : i64[]  %u = mod(%t, %m)  %y = negative_log_likelihood_loss(%x, %u)", {2, 2, 1, 1}, -2, 2, true},
  };
  rows.insert(rows.end(), others.begin(), others.end());
  return rows;
}

std::vector<Row> product_rows() {
  const char* const picture = "%x: T[n,4,9,8]";
  return {
      {"%x: T[n,67], %z: T[67,35]", "%y = contract(%x, %z) {spec=\"mk,kn->mn\"}", {4, 4, 1, 1}, -2, 2, true},
      {"%x: T[2,n,600], %z: T[2,600,33]", "%y = contract(%x, %z) {spec=\"bmk,bkn->bmn\"}", {12, 16, 1, 1}, -2, 2, true},
      {"%x: T[n,4,9,8], %w: T[6,2,3,3], %b: T[6]", "%y = conv(%x, %w, %b) {group=2, pads=[1, 1, 1, 1]}", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[n,4,9,8], %w: T[4,1,3,3]", "%y = conv(%x, %w) {group=4, strides=[2, 1]}", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[n,40,9,8], %w: T[33,40,1,1]", "%y = conv(%x, %w)", {4, 4, 1, 1}, -2, 2, true},
      {"%x: T[n,4,5,6], %w: T[4,3,3,2], %b: T[3]", "%y = conv_transpose(%x, %w, %b) {strides=[2, 1]}", {2, 2, 1, 1}, -2, 2, true},
      {picture, "%y = max_pool(%x) {kernel_shape=[3, 2], strides=[2, 1]}", kExact},
      {picture, "%y = average_pool(%x) {kernel_shape=[3, 2], pads=[1, 0, 1, 1]}", {2, 1, 1, 1}, -2, 2, true},
      {picture, "%y = lp_pool(%x) {kernel_shape=[3, 2]}", {1, 1, 1, 1}, -2, 2, true},
      {picture, "%y = global_max_pool(%x)", kExact},
      {picture, "%y = global_average_pool(%x)", {2, 2, 1, 1}, -2, 2, true},
      {picture, "%y = global_lp_pool(%x)", {2, 2, 1, 1}, -2, 2, true},
      {picture, "%s = constant @sizes : i64[4]  %y = resize(%x, _, _, %s) {mode=\"linear\"}", {2, 2, 1, 1}, -2, 2, true, kSingle},
      {"%t: T[1,2,3]", "%s = constant @grid : i64[4]  %y = affine_grid(%t, %s)", {1, 1, 1, 1}, -2, 2, true},
      {"%x: T[n,4,9,8], %g: T[n,5,5,2]", "%y = grid_sample(%x, %g)", {2, 2, 2, 2}, -1, 1, true, kSingle},
      {"%q: T[n,2,5,8], %k: T[n,2,7,8], %v: T[n,2,7,8]", "%y = attention(%q, %k, %v) {is_causal=true}", {4, 4, 1, 1}, -2, 2, true},
      {"%x: T[n,2,5,8], %c: T[n,5,4], %s: T[n,5,4]", "%y = rotary_embedding(%x, %c, %s)", {1, 1, 1, 1}, -2, 2, true},
      {"%q: T[n,3,8], %k: T[n,3,8], %v: T[n,3,8]", "%y, %s = linear_attention(%q, %k, %v) {q_num_heads=2, kv_num_heads=2, update_rule=\"linear\"}",
       {2, 2, 2, 4}, -0.5, 0.5, true},
      {"%x: T[n,3,5], %w: T[3,1,4], %b: T[3]", "%y, %s = causal_conv_with_state(%x, %w, %b)", {2, 2, 1, 1}, -2, 2, true},
      {"%x: T[4,n,5], %w: T[1,24,5], %r: T[1,24,6], %b: T[1,48]", "%y, %h, %c = lstm(%x, %w, %r, %b) {hidden_size=6}", {3, 3, 1, 1}, -1, 1, true},
      {"%x: T[4,n,5], %w: T[1,18,5], %r: T[1,18,6], %b: T[1,36]", "%y, %h = gru(%x, %w, %r, %b) {hidden_size=6}", {3, 3, 1, 1}, -1, 1, true},
      {"%x: T[4,n,5], %w: T[1,6,5], %r: T[1,6,6], %b: T[1,12]", "%y, %h = rnn(%x, %w, %r, %b) {hidden_size=6}", {3, 3, 1, 1}, -1, 1, true},
      {"%x: T[n,16,1]", "%y = dft(%x)", {2, 2, kNone, kNone}, -2, 2, true},
      {"%x: T[n,64]", "%s = constant @step : i64[]  %l = constant @frame : i64[]  %y = stft(%x, %s, _, %l)", {2, 2, kNone, kNone}, -2, 2, true},
      {"%x: T[n,8], %s: T[]", "%q = quantize_linear(%x, %s)  %y = dequantize_linear(%q, %s)", {0.5, kNone, 1, 1}, 0.5, 2},
      {"%x: T[n,8]", "%q, %s, %z = dynamic_quantize_linear(%x)  %y = dequantize_linear(%q, %s, %z)", {1, kNone, kNone, kNone}},
  };
}

std::vector<Row> moving_rows() {
  const char* const x = "%x: T[n,4,6]";
  return {
      exact(x, "%y = identity(%x)", kMoved),
      exact(x, "%y = transpose(%x) {perm=[2, 0, 1]}", kMoved),
      exact(x, "%s = constant @to : i64[2]  %y = reshape(%x, %s)", kMoved),
      exact(x, "%y = flatten(%x)", kMoved),
      exact("%x: T[n,1,6]", "%a = constant @axes : i64[1]  %y = squeeze(%x, %a)", kMoved),
      exact(x, "%a = constant @axes : i64[1]  %y = unsqueeze(%x, %a)", kMoved),
      exact(x, "%a = constant @one : i64[1]  %b = constant @far : i64[1]  %y = slice(%x, %a, %b, %a)", kMoved),
      exact(x, "%z, %y = split(%x) {axis=1, num_outputs=2}", kMoved),
      exact("%x: T[4,1]", "%s = constant @sizes : i64[4]  %y = expand(%x, %s)", kMoved),
      exact("%x: T[2,1,4,1]", "%s = constant @sizes : i64[4]  %y = tile(%x, %s)", kMoved),
      exact("%x: T[n,4], %z: T[n,5]", "%y = concat(%x, %z) {axis=1}", kMoved),
      exact("%x: T[n,4]", "%p = constant @pads : i64[4]  %y = pad(%x, %p) {mode=\"reflect\"}", kMoved),
      exact("%x: T[n,8,2,3]", "%y = depth_to_space(%x) {blocksize=2}", kMoved),
      exact("%x: T[n,2,4,6]", "%y = space_to_depth(%x) {blocksize=2}", kMoved),
      exact(x, "%y = trilu(%x)", kMoved),
      exact("%x: T[9,4], %i: i64[3]", "%y = gather(%x, %i)", kMoved),
      exact("%x: T[9,4], %i: i64[3,4]", "%y = gather_elements(%x, %i)", kMoved),
      exact("%x: T[9,4], %i: i64[3,1]", "%y = gather_nd(%x, %i)", kMoved),
      exact("%x: T[9,2,3], %i: i64[2]", "%y = reverse_sequence(%x, %i) {batch_axis=1, time_axis=0}", kMoved),
      exact("%i: i64[5], %v: T[2]", "%d = constant @five : i64[]  %y = one_hot(%i, %d, %v)",
            {DType::f32, DType::f16, DType::i8, DType::i64, DType::b1}),
      exact("%x: T[4,5]", "%y = eye_like(%x) {k=1}", {DType::f32, DType::f64, DType::i32}),
      exact("%x: T[4,5]", "%s = constant @sizes : i64[4]  %y = constant_of_shape(%s)", kSingle),
      exact("%x: T[4,5]", "%a = constant @step : i64[]  %b = constant @frame : i64[]  %y = range(%a, %b, %a)", kSingle),
  };
}

// An op by its name alone stands for `%y = op(all inputs)`.
std::string module_text(const Row& row, DType t) {
  std::string inputs = row.inputs, ops = row.ops;
  for (size_t at = inputs.find("T["); at != std::string::npos; at = inputs.find("T[", at)) inputs.replace(at, 1, dtype_name(t));
  if (ops.find('(') == std::string::npos) {
    std::string operands;
    for (size_t at = inputs.find('%'); at != std::string::npos; at = inputs.find('%', at + 1))
      operands += (operands.empty() ? "" : ", ") + inputs.substr(at, inputs.find(':', at) - at);
    ops = "%y = " + ops + "(" + operands + ")";
  }
  return "weft.module 1 \"bounds\"\n"
         "const @axes : i64[1] = [1]\nconst @one : i64[1] = [1]\nconst @far : i64[1] = [100]\n"
         "const @to : i64[2] = [-1, 12]\nconst @five : i64[] = 5\n"
         "const @sizes : i64[4] = [2, 3, 4, 5]\nconst @grid : i64[4] = [1, 1, 3, 4]\nconst @pads : i64[4] = [1, 2, 0, 1]\n"
         "const @step : i64[] = 4\nconst @frame : i64[] = 16\n"
         "graph @main(" + inputs + ") -> (y = %y) {\n" + ops + "\n}\n";
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  for (auto* make : {elementwise_rows, integer_rows, row_rows, product_rows, moving_rows})
    for (Row& r : make()) rows.push_back(std::move(r));
  return rows;
}

std::unique_ptr<Module> module_of(const Row& row, DType t) {
  std::string text = module_text(row, t);
  auto m = parse_module(text);
  EXPECT_TRUE(m.ok()) << m.error().to_string() << "\n" << text;
  return m.ok() ? std::move(*m) : nullptr;
}

void check_rows(const std::vector<Row>& rows) {
  for (const Row& row : rows)
    for (DType t : row.types) {
      double units = row.units.of(t);
      if (units == kNone) continue;
      SCOPED_TRACE(std::string(row.ops) + " of " + dtype_name(t));
      auto m = module_of(row, t);
      if (!m) continue;
      std::vector<Tensor> inputs;
      for (auto& in : m->main()->inputs) {
        std::vector<int64_t> dims;
        for (const Dim& d : in->type.shape) dims.push_back(d.eval({{"n", 3}}).value());
        inputs.push_back(random_tensor(in->type.dtype, dims, inputs.size() + 1, row.lo, row.hi));
      }
      check_module(std::move(m), inputs, {units, row.of_range, 0});
    }
}

}  // namespace

TEST(BackendBounds, Elementwise) { check_rows(elementwise_rows()); }
TEST(BackendBounds, Integers) { check_rows(integer_rows()); }
TEST(BackendBounds, Rows) { check_rows(row_rows()); }
TEST(BackendBounds, Products) { check_rows(product_rows()); }
TEST(BackendBounds, Moving) { check_rows(moving_rows()); }

TEST(BackendBounds, EveryKernelHasARow) {
  std::set<OpKind> found;
  for (const Row& row : all_rows())
    if (auto m = module_of(row, row.types[0])) walk(*m->main(), [&](Op* op) { found.insert(op->kind); });
  // Casts have tests of their own, of every pair of types.
  found.insert({OpKind::cast, OpKind::bitcast, OpKind::reorder, OpKind::optional});
  for (int k = 0; k < static_cast<int>(OpKind::kCount); ++k) {
    OpKind kind = static_cast<OpKind>(k);
    EXPECT_TRUE(!rule_of(kind) || found.contains(kind)) << op_name(kind) << " has no row";
  }
}

}  // namespace weft::backend_test::bounds
