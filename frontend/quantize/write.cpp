#include "frontend/quantize/write.h"

#include <cmath>

namespace weft::quantize {

namespace {

Tensor code_tensor(DType type, const std::vector<float>& codes, std::vector<int64_t> dims) {
  const std::vector<double> wide(codes.begin(), codes.end());
  Result<Tensor> t = is_float(type) ? store_all(type, std::move(dims), wide)
                                    : store_all(type, std::move(dims), std::vector<int64_t>(codes.begin(), codes.end()));
  CHECK(t.ok());
  return std::move(*t);
}

// A zero point has the type of the codes. Unsigned types have a carrier of their own.
Tensor zero_point(DType type, int32_t value) {
  Result<Tensor> t = is_unsigned_int(type) ? store_all(type, {}, std::vector<uint64_t>{static_cast<uint64_t>(value)})
                                           : Result<Tensor>(code_tensor(type, {static_cast<float>(value)}, {}));
  CHECK(t.ok());
  return std::move(*t);
}

}  // namespace

// Layers that read one tensor share its codes where their scales are equal.
std::string Writer::activation(const Layer& l, const QuantizedLayer& q) {
  const DType type = q.format.activation;
  const ActivationScale& a = *q.activation;
  const std::string key = l.input + "\n" + dtype_name(type) + " " + std::to_string(a.scale) + " " + std::to_string(a.zero);
  auto [it, fresh] = activations_.emplace(key, "");
  if (!fresh) return it->second;
  const std::string scale = model_.fresh_name(l.input + "_scale"), zero = model_.fresh_name(l.input + "_zero_point");
  const std::string codes = model_.fresh_name(l.input + "_quantized");
  it->second = model_.fresh_name(l.input + "_dequantized");
  model_.set_constant(scale, float_tensor({a.scale}, {}));
  model_.set_constant(zero, zero_point(type, a.zero));
  model_.insert_before(l.node, {.op = "QuantizeLinear", .domain = "", .inputs = {l.input, scale, zero}, .outputs = {codes}});
  model_.insert_before(l.node, {.op = "DequantizeLinear", .domain = "", .inputs = {codes, scale, zero}, .outputs = {it->second}});
  return it->second;
}

void Writer::weight(const Layer& l, const QuantizedLayer& q) {
  const Codes& c = q.codes;
  const bool blocked = c.blocks() > 1;
  const std::string codes = model_.fresh_name(l.weight + "_quantized"), scale = model_.fresh_name(l.weight + "_scale");
  const std::string zero = model_.fresh_name(l.weight + "_zero_point"), out = model_.fresh_name(l.weight + "_dequantized");
  std::vector<int64_t> scale_dims{l.rows};
  std::vector<float> scales = c.scales;
  NewOnnxNode n{.op = "DequantizeLinear", .domain = "", .inputs = {codes, scale, zero}, .outputs = {out}, .attributes = {{"axis", l.row_axis}}};
  if (blocked) {
    Layer shape = l;
    shape.columns = c.blocks();
    shape.dims[l.column_axis] = c.blocks();
    scale_dims = shape.dims;
    scales = to_layout(shape, c.scales);
    n.attributes = {{"axis", l.column_axis}, {"block_size", c.block}};
  }
  int64_t count = 1;
  for (int64_t d : scale_dims) count *= d;
  model_.set_constant(codes, code_tensor(c.type, to_layout(l, c.codes), l.dims));
  model_.set_constant(scale, float_tensor(scales, scale_dims));
  model_.set_constant(zero, code_tensor(c.type, std::vector<float>(count, 0.0f), scale_dims));
  model_.insert_before(l.node, std::move(n));
  model_.set_input(l.node, 1, out);
}

// Integer products add the bias as int32 at the scale of their sums, where it fits.
void Writer::bias(const Layer& l, const QuantizedLayer& q) {
  if (l.bias_node != l.node || !q.activation || is_float(q.format.activation) || q.codes.blocks() > 1) return;
  const std::string old = model_.nodes()[l.node].inputs[l.bias_input];
  Result<std::vector<float>> values = read_floats(model_, old);
  if (!values.ok()) return;
  std::vector<float> scales(l.rows);
  std::vector<int64_t> codes(l.rows);
  for (int64_t r = 0; r < l.rows; ++r) {
    scales[r] = q.activation->scale * q.codes.scales[r];
    const double code = std::nearbyint((*values)[r] / static_cast<double>(scales[r]));
    if (!(std::fabs(code) < 0x1p31) || !std::isnormal(scales[r])) return;
    codes[r] = static_cast<int64_t>(code);
  }
  const std::string codes_name = model_.fresh_name(old + "_quantized"), scale = model_.fresh_name(old + "_scale");
  const std::string zero = model_.fresh_name(old + "_zero_point"), out = model_.fresh_name(old + "_dequantized");
  Result<Tensor> t = store_all(DType::i32, {l.rows}, codes), zeros = Tensor::make(DType::i32, {l.rows});
  CHECK(t.ok() && zeros.ok());
  model_.set_constant(codes_name, std::move(*t));
  model_.set_constant(scale, float_tensor(scales, {l.rows}));
  model_.set_constant(zero, std::move(*zeros));
  model_.insert_before(l.node, {.op = "DequantizeLinear", .domain = "", .inputs = {codes_name, scale, zero}, .outputs = {out}, .attributes = {{"axis", 0}}});
  model_.set_input(l.node, 2, out);
}

// Blocks are powers of two from 16 on, and a bias is one number for each output.
bool Writer::can_be_packed(const Layer& l, const QuantizedLayer& q) const {
  const std::vector<std::string>& inputs = model_.nodes()[l.node].inputs;
  const bool other_bias = inputs.size() > 2 && !inputs[2].empty() && l.bias_node != l.node;
  const int64_t block = q.codes.block;
  return q.codes.type == DType::i4 && !q.activation && l.plain() && block >= 16 && (block & (block - 1)) == 0 && !other_bias;
}

// B[N, blocks, block / 2] of bytes, the first code in the low bits, each plus 8; the last block is filled up with zeros.
void Writer::packed_product(const Layer& l, const Codes& c) {
  const int64_t width = c.blocks() * c.block;
  std::vector<uint64_t> bytes(l.rows * width / 2, 0x88);
  for (int64_t r = 0; r < l.rows; ++r)
    for (int64_t k = 0; k < l.columns; ++k) {
      const auto code = static_cast<uint64_t>(c.codes[r * l.columns + k] + 8);
      uint64_t& byte = bytes[(r * width + k) / 2];
      byte = k % 2 ? (byte & 0x0f) | code << 4 : (byte & 0xf0) | code;
    }
  Result<Tensor> packed = store_all(DType::u8, {l.rows, c.blocks(), c.block / 2}, bytes);
  CHECK(packed.ok());
  const std::string codes = model_.fresh_name(l.weight + "_packed"), scales = model_.fresh_name(l.weight + "_scale");
  model_.set_constant(codes, std::move(*packed));
  model_.set_constant(scales, float_tensor(c.scales, {l.rows * c.blocks()}));
  NewOnnxNode n{.op = "MatMulNBits", .domain = "com.microsoft", .inputs = {l.input, codes, scales}, .outputs = {l.output}};
  n.attributes = {{"K", l.columns}, {"N", l.rows}, {"bits", 4}, {"block_size", c.block}};
  const std::vector<std::string>& inputs = model_.nodes()[l.node].inputs;
  if (inputs.size() > 2 && !inputs[2].empty()) n.inputs.insert(n.inputs.end(), {"", "", inputs[2]});
  model_.insert_before(l.node, std::move(n));
  model_.remove(l.node);
  model_.import_domain("com.microsoft", 1);
}

void Writer::write(const Layer& l, const QuantizedLayer& q) {
  if (!q.bias.empty()) {
    const std::string corrected = model_.fresh_name(model_.nodes()[l.bias_node].inputs[l.bias_input] + "_corrected");
    model_.set_constant(corrected, float_tensor(q.bias, {l.rows}));
    model_.set_input(l.bias_node, l.bias_input, corrected);
  }
  if (matmul_nbits_ && can_be_packed(l, q)) return packed_product(l, q.codes);
  bias(l, q);
  weight(l, q);
  if (q.activation) model_.set_input(l.node, 0, activation(l, q));
}

}  // namespace weft::quantize
