// Weights of a few bits, packed in bytes and scaled by blocks: dequantized where they are used.
#include "frontend/onnx/rules/rules.h"
#include "ir/ops/pointwise.h"
#include "ir/ops/quantize.h"

namespace weft {

static DType packed_type(int64_t bits) { return bits == 8 ? DType::u8 : bits == 4 ? DType::u4 : DType::u2; }

// Bytes of a constant are what ONNX's tensors of fewer bits are in a file: they stay there, under another type.
static Value* retyped(Node& n, const Constant& c, DType t) {
  ConstantPool& pool = n.build.module().constants;
  std::vector<int64_t> dims = c.dims;
  dims.back() *= 8 / bit_width(t);
  if (c.source == Constant::Source::file) return n.constant(pool.add_file(c.name, t, dims, c.file, c.offset, c.size));
  if (c.source == Constant::Source::absent) return n.constant(pool.add_absent(c.name, t, dims, c.hash.hex()));
  std::vector<std::byte> elements(c.bytes->size() * static_cast<size_t>(8 / bit_width(t)));
  unpack_subbyte(t, c.bytes->data(), elements.data(), static_cast<int64_t>(elements.size()));
  return n.constant(pool.add_bytes(c.name, t, dims, std::move(elements)));
}

Value* unpacked(Node& n, Value* bytes, int64_t bits) {
  if (bits == 8 || n.rank(bytes) < 1 || n.failed()) return bytes;
  const Constant* c = constant_of(bytes);
  if (c && c->dtype == DType::u8 && c->source != Constant::Source::splat && c->dims.back() <= INT64_MAX / 8) return retyped(n, Constant(*c), packed_type(bits));
  std::vector<Value*> parts;
  BitShiftAttrs right;
  right.direction = "RIGHT";
  for (int64_t at = 0; at < 8; at += bits) {
    Value* part = at ? n.op(OpKind::bit_shift, {bytes, n.scalar(DType::u8, static_cast<double>(at))}, right) : bytes;
    part = n.op(OpKind::bitwise_and, {part, n.scalar(DType::u8, static_cast<double>((1 << bits) - 1))});
    parts.push_back(n.unsqueeze(part, {n.rank(bytes)}));
  }
  std::vector<int64_t> dims(n.rank(bytes), 0);
  dims.back() = -1;
  return n.cast(n.reshape(n.concat(parts, n.rank(bytes)), dims), packed_type(bits));
}

Value* packed_zeros(Node& n, Value* bytes, Value* scales, int64_t bits) {
  if (!bytes) return n.expand(n.scalar(packed_type(bits), static_cast<double>(1 << (bits - 1))), n.shape_of(scales));
  const Type& t = n.type_of(scales);
  if (!t.is_ranked() || t.rank() < 1 || !t.dim(-1).is_const()) n.fail(unsupported(n.describe() + " with scales of unknown dims"));
  return n.failed() ? nullptr : n.slice(unpacked(n, bytes, bits), -1, 0, t.dim(-1).value());
}

Value* block_dequantized(Node& n, Value* v, Value* scales, Value* zeros, int axis, int64_t block) {
  DequantizeAttrs a;
  a.axis = axis;
  a.block_size = block;
  return n.op(OpKind::dequantize_linear, {v, scales, zeros}, a);
}

// B[N, ceil(K / block_size), block_size * bits / 8] in bytes, scales[N, ceil(K / block_size)]; group[K] says which scale of its
// row an element has, where it is not that of its block.
Values rule_matmul_nbits(Node& n) {
  int64_t k = n.need_int("K"), rows = n.need_int("N"), bits = n.int_attr("bits", 4), block = n.need_int("block_size");
  n.ignore("accuracy_level");
  if (n.int_attr("weight_prepacked", 0) != 0) return unsupported("MatMulNBits whose weights ONNX Runtime has packed for one device");
  if (bits != 2 && bits != 4 && bits != 8) return unsupported("MatMulNBits with " + std::to_string(bits) + " bits");
  if (k <= 0 || rows <= 0 || block <= 0 || k > INT64_MAX - block) return invalid("MatMulNBits with dims of no elements");
  int64_t blocks = (k + block - 1) / block;
  Value* scales = n.reshape(n.need(2), {rows, blocks});
  Value *w = n.reshape(unpacked(n, n.need(1), bits), {rows, -1}), *zero = n.in(3), *group = n.in(4);
  const bool floats = zero && n.dtype(zero) != DType::u8;
  if (zero) zero = n.reshape(zero, {rows, -1});
  if (!floats) zero = packed_zeros(n, zero, scales, bits);
  if (group || floats) {
    Value* at = group ? n.slice(int_vector(n, group), 0, 0, k) : n.op(OpKind::div, {counted(n, n.ints({k})), n.int_scalar(block)});
    auto each = [&](Value* v) { return n.cast(n.gather(v, at, 1), n.dtype(scales)); };
    w = n.mul(n.sub(n.cast(n.slice(w, 1, 0, k), n.dtype(scales)), each(zero)), each(scales));
  } else {
    w = block_dequantized(n, w, scales, zero, 1, block);
    if (k != blocks * block) w = n.slice(w, 1, 0, k);
  }
  Matmul m;
  m.trans_b = true;
  m.bias = n.in(5);
  return n.done({matmul(n, n.need(0), w, m)});
}

// B: the rows of a matrix [N, K], two elements to a byte with the first in the high bits, each one of 16 numbers times the
// absmax of its block; blocks run on from row to row. Numbers: bitsandbytes' FP4 (a sign, and these twelfths), and NF4, the
// quantiles of the normal distribution (QLoRA, appendix E).
Values rule_matmul_bnb4(Node& n) {
  int64_t k = n.need_int("K"), rows = n.need_int("N"), block = n.need_int("block_size"), kind = n.need_int("quant_type");
  n.ignore("training_mode");
  static const std::vector<double> nf4{-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                                       -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                                       0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                                       0.7229568362236023, 1.0};
  std::vector<double> fp4{0, 0.0625, 8, 12, 4, 6, 2, 3};
  for (double& v : fp4) v /= 12;
  for (int i = 0; i < 8; ++i) fp4.push_back(-fp4[i]);
  if (kind != 0 && kind != 1) return invalid("MatMulBnb4 with quant_type " + std::to_string(kind));
  if (k <= 0 || rows <= 0 || block <= 0 || block % 2 || k > (int64_t{1} << 40) / rows) return invalid("MatMulBnb4 with K, N or block_size that cannot be");
  Value* low = unpacked(n, n.unsqueeze(n.reshape(n.need(1), {-1}), {1}), 4);  // [bytes, 2], the low bits first
  Value *scales = n.need(2), *codes = n.gather(low, n.ints({1, 0}), 1);
  const int64_t elements = rows * k, blocks = (elements + block - 1) / block, missing = blocks * block - elements;
  codes = n.reshape(n.cast(codes, DType::i32), {-1});
  if (missing > 1) codes = n.concat({n.slice(codes, 0, 0, elements), n.expand(n.cast(n.int_scalar(0), DType::i32), n.ints({missing}))}, 0);
  Value* w = n.gather(float_vector(n, kind == 0 ? fp4 : nf4, n.dtype(scales)), n.reshape(codes, {blocks, block}), 0);
  w = n.reshape(n.mul(w, n.reshape(scales, {blocks, 1})), {-1});
  if (missing) w = n.slice(w, 0, 0, elements);
  Matmul m;
  m.trans_b = n.int_attr("transB", 1) != 0;
  return n.done({matmul(n, n.need(0), n.reshape(w, {rows, k}), m)});
}

// The rows that are wanted are gathered as they are, scales and zero points beside them, and then dequantized; along the axis of
// the blocks everything is dequantized first.
Values rule_gather_block_quantized(Node& n) {
  Value *v = n.need(0), *at = n.need(1), *scales = n.need(2), *zeros = n.in(3);
  int64_t bits = n.int_attr("bits", 4), block = n.int_attr("block_size", 128);
  const int rank = n.rank(v), from = n.axis(n.int_attr("gather_axis", 0), rank), along = n.axis(n.int_attr("quantize_axis", 1), rank);
  if (n.failed()) return n.done(nullptr);
  if (n.rank(scales) != rank || (zeros && n.rank(zeros) != rank)) return invalid(n.describe() + ": scales and zero points have the rank of the data");
  if (n.dtype(v) == DType::u8) {
    if (bits != 2 && bits != 4 && bits != 8) return unsupported(n.describe() + " with " + std::to_string(bits) + " bits");
    if (bits != 8 && along != rank - 1) return unsupported(n.describe() + " with bytes that are packed along another axis than their blocks");
    zeros = packed_zeros(n, zeros, scales, bits);
    v = unpacked(n, v, bits);
    if (n.failed()) return n.done(nullptr);
  }
  if (block == 0) {
    const Dim& d = n.type_of(v).shape[along];
    if (!d.is_const()) return unsupported(n.describe() + " with a block of unknown size");
    block = d.value();
  }
  if (block < 1) return invalid(n.describe() + " with block_size " + std::to_string(block));
  std::vector<Value*> sizes;  // of the scales: a dim of 1 stands for the data's
  for (int d = 0; d < rank; ++d) sizes.push_back(n.dim_of(d == along ? scales : v, d));
  scales = n.expand(scales, n.concat(sizes, 0));
  if (from == along) return n.done(n.gather(block_dequantized(n, v, scales, zeros, along, block), at, from));
  const int axis = along > from ? along + n.rank(at) - 1 : along;
  auto picked = [&](Value* t) { return t ? n.gather(t, at, from) : nullptr; };
  return n.done(block_dequantized(n, picked(v), picked(scales), picked(zeros), axis, block));
}

}  // namespace weft
