#include "frontend/quantize/simulator.h"

#include <algorithm>

#include "frontend/api/reference.h"

namespace weft::quantize {

namespace {

template <class T>
api::Tensor scalar(T v) {
  Result<api::Tensor> t = api::Tensor::make(api::dtype_of<T>(), {});
  CHECK(t.ok());
  *t->template data_as<T>() = v;
  return std::move(*t);
}

// Appends nodes in front of a layer; each has one result.
class Chain {
 public:
  Chain(EditableModel& model, int node, std::string name) : model_(model), node_(node), name_(std::move(name)) {}
  std::string operator()(const char* op, std::vector<std::string> inputs, std::map<std::string, int64_t> attributes = {}) {
    const std::string out = model_.fresh_name(name_ + "." + op);
    model_.insert_before(node_, {.op = op, .domain = "", .inputs = std::move(inputs), .outputs = {out}, .attributes = std::move(attributes)});
    return out;
  }

 private:
  EditableModel& model_;
  int node_;
  std::string name_;
};

constexpr int kOnnxFloat = 1, kOnnxFloat8E4M3FN = 17;  // TensorProto.DataType

}  // namespace

Result<Simulator> Simulator::create(const EditableModel& model, const std::vector<Layer>& layers, bool f8, const api::CompileOptions& options) {
  EditableModel m = model;
  std::vector<Knobs> knobs;
  for (const Layer& l : layers) {
    Knobs k{.layer = l};
    k.name = m.fresh_name("layer." + std::to_string(l.node));
    auto input = [&](const char* what, DType t, const std::vector<int64_t>& dims) {
      m.add_input(k.name + "." + what, t, dims);
      return k.name + "." + what;
    };
    TRY_ASSIGN(const Tensor weight, model.constant(l.weight));
    TRY_ASSIGN(k.float_weight, from_host_value(weight));
    m.set_input(l.node, 1, input("weight", DType::f32, l.dims));
    if (l.bias_node >= 0) {
      TRY_ASSIGN(const Tensor bias, model.constant(model.nodes()[l.bias_node].inputs[l.bias_input]));
      TRY_ASSIGN(k.float_bias, from_host_value(bias));
      m.set_input(l.bias_node, l.bias_input, input("bias", DType::f32, {l.rows}));
    }
    const std::string scale = input("scale", DType::f32, {}), zero = input("zero", DType::f32, {});
    const std::string low = input("low", DType::f32, {}), high = input("high", DType::f32, {}), is_int = input("is_int", DType::b1, {});
    Chain add(m, l.node, k.name);
    const std::string scaled = add("Div", {l.input, scale});
    const std::string code = add("Min", {add("Max", {add("Add", {add("Round", {scaled}), zero}), low}), high});
    std::string x = add("Where", {is_int, add("Mul", {add("Sub", {code, zero}), scale}), l.input});
    if (f8) {
      const std::string narrow = add("Cast", {add("Cast", {scaled}, {{"to", kOnnxFloat8E4M3FN}})}, {{"to", kOnnxFloat}});
      x = add("Where", {input("is_f8", DType::b1, {}), add("Mul", {narrow, scale}), x});
    }
    m.set_input(l.node, 0, x);
    knobs.push_back(std::move(k));
  }
  TRY_ASSIGN(Runner runner, Runner::create(m, options));
  Simulator s(std::move(runner));
  s.knobs_ = std::move(knobs);
  s.f8_ = f8;
  for (Knobs& k : s.knobs_) {
    k.weight = k.float_weight;
    k.bias = k.float_bias;
    k.scale = k.high = scalar(1.0f);
    k.zero = k.low = scalar(0.0f);
    k.is_int = k.is_f8 = scalar(false);
  }
  return s;
}

Status Simulator::set(size_t layer, const QuantizedLayer* q) {
  Knobs& k = knobs_[layer];
  if (k.now == q) return {};
  k.now = q;
  k.weight = k.float_weight;
  k.bias = k.float_bias;
  k.is_int = k.is_f8 = scalar(false);
  if (!q) return {};
  if (!q->bias.empty()) {
    TRY_ASSIGN(k.bias, api::Tensor::of(q->bias, {k.layer.rows}));
  }
  TRY_ASSIGN(k.weight, api::Tensor::of(to_layout(k.layer, decoded(q->codes).values), k.layer.dims));
  if (!q->activation) return {};
  const DType type = q->format.activation;
  const CodeRange codes = code_range(type, false);
  k.scale = scalar(q->activation->scale);
  k.zero = scalar(static_cast<float>(q->activation->zero));
  k.low = scalar(codes.low);
  k.high = scalar(codes.high);
  (is_float(type) ? k.is_f8 : k.is_int) = scalar(true);
  return {};
}

Result<api::NamedTensors> Simulator::run(const api::NamedTensors& inputs) {
  api::NamedTensors all = inputs;
  for (const Knobs& k : knobs_) {
    all.add(k.name + ".weight", k.weight);
    if (!k.bias.empty()) all.add(k.name + ".bias", k.bias);
    all.add(k.name + ".scale", k.scale);
    all.add(k.name + ".zero", k.zero);
    all.add(k.name + ".low", k.low);
    all.add(k.name + ".high", k.high);
    all.add(k.name + ".is_int", k.is_int);
    if (f8_) all.add(k.name + ".is_f8", k.is_f8);
  }
  return runner_.run(all);
}

}  // namespace weft::quantize
