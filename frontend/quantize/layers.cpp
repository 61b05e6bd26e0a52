#include "frontend/quantize/layers.h"

#include <algorithm>
#include <cstring>

#include "ir/base/text.h"

namespace weft::quantize {

namespace {

struct Found {
  Layer layer;
  std::string why;  // it is none
};

// The Add behind a MatMul that is its bias: the only reader, and a constant of one row.
void find_added_bias(const EditableModel& model, Layer& l) {
  const std::vector<int>& readers = model.readers(l.output);
  if (readers.size() != 1 || model.is_output(l.output)) return;
  const OnnxNode& add = model.nodes()[readers[0]];
  if (add.op != "Add" || !add.domain.empty() || add.inputs.size() != 2) return;
  const int other = add.inputs[0] == l.output ? 1 : 0;
  const std::string& bias = add.inputs[other];
  if (bias == l.output || !model.is_constant(bias) || model.constant_dtype(bias) != DType::f32) return;
  if (model.constant_dims(bias) != std::vector<int64_t>{l.rows}) return;
  l.bias_node = readers[0];
  l.bias_input = other;
}

Found look(const EditableModel& model, int node) {
  const OnnxNode& n = model.nodes()[node];
  Found f;
  Layer& l = f.layer;
  l.node = node;
  l.label = n.label;
  l.op = n.op;
  l.input = n.inputs[0];
  l.weight = n.inputs[1];
  l.output = n.outputs[0];
  if (!model.is_constant(l.weight)) return f.why = "both operands are computed", f;
  if (model.constant_dtype(l.weight) != DType::f32) return f.why = "its weights are " + std::string(dtype_name(model.constant_dtype(l.weight))), f;
  if (model.is_constant(l.input)) return f.why = "it is a constant", f;
  l.dims = model.constant_dims(l.weight);
  if (n.op == "MatMul" || n.op == "Gemm") {
    if (l.dims.size() != 2) return f.why = "its weights have " + std::to_string(l.dims.size()) + " dims", f;
    const bool scales = model.float_attribute(node, "alpha", 1) != 1 || model.float_attribute(node, "beta", 1) != 1;
    if (n.op == "Gemm" && (scales || model.int_attribute(node, "transA", 0) != 0)) return f.why = "it transposes or scales", f;
    l.row_axis = n.op == "Gemm" && model.int_attribute(node, "transB", 0) != 0 ? 0 : 1;
    l.column_axis = 1 - l.row_axis;
    l.takes_bias = n.op == "Gemm";
  } else if (n.op == "Conv") {
    if (l.dims.size() < 3) return f.why = "its weights have " + std::to_string(l.dims.size()) + " dims", f;
    l.groups = model.int_attribute(node, "group", 1);
    l.takes_bias = true;
  } else {  // ConvTranspose: [in, out / group, …]
    l.groups = model.int_attribute(node, "group", 1);
    if (l.dims.size() < 3 || l.groups != 1) return f.why = "it has groups", f;
    l.row_axis = 1;
    l.column_axis = 0;
    l.takes_bias = true;
  }
  l.rows = l.dims[l.row_axis];
  l.columns = 1;
  for (size_t d = 0; d < l.dims.size(); ++d)
    if (static_cast<int>(d) != l.row_axis) l.columns *= l.dims[d];
  if (l.rows <= 0 || l.columns <= 0 || l.groups <= 0 || l.rows % l.groups) return f.why = "it has no weights", f;
  if (l.takes_bias && n.inputs.size() > 2 && !n.inputs[2].empty()) {
    l.takes_bias = false;
    const std::string& bias = n.inputs[2];
    if (model.is_constant(bias) && model.constant_dtype(bias) == DType::f32 && model.constant_dims(bias) == std::vector<int64_t>{l.rows}) {
      l.bias_node = node;
      l.bias_input = 2;
    }
  }
  if (n.op == "MatMul") find_added_bias(model, l);
  return f;
}

// Calls f(place in rows, place in the weight) for every element.
template <class F>
void for_each_place(const Layer& l, F&& f) {
  int64_t before = 1, behind = 1;  // of the row axis
  for (int d = 0; d < l.row_axis; ++d) before *= l.dims[d];
  for (size_t d = l.row_axis + 1; d < l.dims.size(); ++d) behind *= l.dims[d];
  for (int64_t b = 0; b < before; ++b)
    for (int64_t r = 0; r < l.rows; ++r)
      for (int64_t k = 0; k < behind; ++k) f(r * l.columns + b * behind + k, (b * l.rows + r) * behind + k);
}

}  // namespace

Result<std::vector<Layer>> find_layers(const EditableModel& model, std::vector<std::string>* notes) {
  std::vector<Layer> out;
  const std::vector<OnnxNode>& nodes = model.nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    const OnnxNode& n = nodes[i];
    const bool named = n.op == "MatMul" || n.op == "Gemm" || n.op == "Conv" || n.op == "ConvTranspose";
    if (!named || !n.domain.empty() || n.inputs.size() < 2 || n.outputs.empty()) continue;
    Found f = look(model, static_cast<int>(i));
    if (f.why.empty()) out.push_back(std::move(f.layer));
    else notes->push_back(name_text(n.label) + " (" + n.op + ") stays float: " + f.why);
  }
  return out;
}

std::vector<float> to_rows(const Layer& l, const std::vector<float>& weight) {
  std::vector<float> out(weight.size());
  for_each_place(l, [&](int64_t row, int64_t own) { out[row] = weight[own]; });
  return out;
}

std::vector<float> to_layout(const Layer& l, const std::vector<float>& rows) {
  std::vector<float> out(rows.size());
  for_each_place(l, [&](int64_t row, int64_t own) { out[own] = rows[row]; });
  return out;
}

Result<std::vector<float>> read_floats(const EditableModel& model, const std::string& constant) {
  TRY_ASSIGN(const Tensor t, model.constant(constant));
  std::vector<float> out(t.numel());
  if (!out.empty()) std::memcpy(out.data(), t.data.get(), out.size() * sizeof(float));
  return out;
}

Result<Matrix> read_weight(const EditableModel& model, const Layer& l) {
  TRY_ASSIGN(const std::vector<float> own, read_floats(model, l.weight));
  return Matrix{l.rows, l.columns, to_rows(l, own)};
}

Tensor float_tensor(const std::vector<float>& values, std::vector<int64_t> dims) {
  Result<Tensor> t = Tensor::make(DType::f32, std::move(dims));
  CHECK(t.ok() && t->numel() == static_cast<int64_t>(values.size()));
  if (!values.empty()) std::memcpy(t->data.get(), values.data(), values.size() * sizeof(float));
  return std::move(*t);
}

}  // namespace weft::quantize
