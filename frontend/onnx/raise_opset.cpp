// A model under a newer opset. Most operators only gain types and attributes with defaults, which their schemas show; a node
// whose operator has changed otherwise is rewritten here, or named in the Error. The model's own functions keep their opsets.
#include <algorithm>
#include <cmath>

#include "frontend/onnx/editable_state.h"
#include "ir/base/text.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "onnx/defs/schema.h"
#pragma GCC diagnostic pop

namespace weft {

namespace {

using Schema = pb::OpSchema;

// The oldest IR version that knows the opset's types: 10 for those of 4 bits.
constexpr int kLeastIr = 10;

class Raiser {
 public:
  Raiser(int from, int to, std::set<std::string>& taken) : from_(from), to_(to), taken_(taken) {}

  void raise(pb::GraphProto& g) {
    pb::GraphProto old;
    old.Swap(&g);
    g = old;
    g.clear_node();
    graph_ = &g;
    for (int i = 0; i < old.node_size(); ++i) {
      pb::NodeProto n = old.node(i);
      for (auto& a : *n.mutable_attribute()) {
        if (a.has_g()) raise_inner(*a.mutable_g());
        for (auto& inner : *a.mutable_graphs()) raise_inner(inner);
      }
      if (!plain_domain(n.domain()).empty() || rewrite(n) || unchanged(n)) *g.add_node() = std::move(n);
      else refused_.push_back(name_text(node_label(n, i)) + " (" + n.op_type() + ")");
    }
  }
  const std::vector<std::string>& refused() const { return refused_; }

 private:
  void raise_inner(pb::GraphProto& g) {
    pb::GraphProto* outer = std::exchange(graph_, nullptr);
    raise(g);
    graph_ = outer;
  }

  // Whether the node means the same under the new opset as it stands.
  bool unchanged(const pb::NodeProto& n) const {
    const Schema* was = pb::OpSchemaRegistry::Schema(n.op_type(), from_, "");
    const Schema* is = pb::OpSchemaRegistry::Schema(n.op_type(), to_, "");
    if (!was || !is || is->deprecated()) return !was && !is;  // what neither knows is a function of the model
    if (was->SinceVersion() == is->SinceVersion()) return true;
    if (n.input_size() < is->min_input() || n.input_size() > is->max_input()) return false;
    std::set<std::string> given;
    for (const auto& a : n.attribute()) given.insert(a.name());
    for (const std::string& name : given)
      if (!is->attributes().count(name)) return false;
    for (const auto& [name, a] : is->attributes()) {
      if (given.count(name)) continue;
      auto old = was->attributes().find(name);
      if (a.required) return false;
      if (old != was->attributes().end() && old->second.default_value.SerializeAsString() != a.default_value.SerializeAsString()) return false;
    }
    for (const auto& [name, a] : was->attributes())
      if (!given.count(name) && !is->attributes().count(name) && a.default_value.has_name()) return false;
    return true;
  }

  bool crosses(int version) const { return from_ < version && version <= to_; }

  // An attribute, taken out of the node.
  static bool take(pb::NodeProto& n, const std::string& name, pb::AttributeProto* out) {
    auto& all = *n.mutable_attribute();
    for (int i = 0; i < all.size(); ++i)
      if (all[i].name() == name) {
        *out = all[i];
        all.DeleteSubrange(i, 1);
        return true;
      }
    return false;
  }

  std::string fresh(const std::string& wish) {
    std::string name = wish;
    for (int i = 1; !taken_.insert(name).second; ++i) name = wish + "_" + std::to_string(i);
    return name;
  }

  void add_constant(pb::NodeProto& n, int input, const std::string& what, const std::vector<int64_t>& values, bool scalar = false) {
    pb::TensorProto& t = *graph_->add_initializer();
    t.set_name(fresh(n.output(0) + "_" + what));
    t.set_data_type(pb::TensorProto::INT64);
    if (!scalar) t.add_dims(static_cast<int64_t>(values.size()));
    for (int64_t v : values) t.add_int64_data(v);
    put(n, input, t.name());
  }
  void add_constant(pb::NodeProto& n, int input, const std::string& what, float value) {
    pb::TensorProto& t = *graph_->add_initializer();
    t.set_name(fresh(n.output(0) + "_" + what));
    t.set_data_type(pb::TensorProto::FLOAT);
    t.add_float_data(value);
    put(n, input, t.name());
  }
  static void put(pb::NodeProto& n, int input, const std::string& name) {
    while (n.input_size() <= input) n.add_input();
    n.set_input(input, name);
  }

  // A list that was an attribute becomes an input.
  bool to_input(pb::NodeProto& n, const char* attribute, int input) {
    pb::AttributeProto a;
    if (take(n, attribute, &a)) add_constant(n, input, attribute, {a.ints().begin(), a.ints().end()});
    return true;
  }

  bool to_number(pb::NodeProto& n, const char* attribute, int input) {
    pb::AttributeProto a;
    if (take(n, attribute, &a)) add_constant(n, input, attribute, a.f());
    return true;
  }

  static void set_int(pb::NodeProto& n, const std::string& name, int64_t v) {
    pb::AttributeProto ignored;
    take(n, name, &ignored);
    auto* a = n.add_attribute();
    a->set_name(name);
    a->set_type(pb::AttributeProto::INT);
    a->set_i(v);
  }

  // Until opset 13 the dims from `axis` on were one.
  bool softmax(pb::NodeProto& n) {
    pb::AttributeProto a;
    const int64_t axis = take(n, "axis", &a) ? a.i() : 1;
    set_int(n, "axis", -1);
    if (axis == -1 || axis == rank_of(n.input(0)) - 1) return true;
    const std::string in = n.input(0), out = n.output(0), flat = fresh(out + "_flat"), dims = fresh(out + "_dims"), result = fresh(out + "_rows");
    auto add = [&](const char* op, std::initializer_list<std::string> inputs, const std::string& output) {
      pb::NodeProto& made = *graph_->add_node();
      made.set_op_type(op);
      for (const std::string& i : inputs) made.add_input(i);
      made.add_output(output);
      return &made;
    };
    set_int(*add("Flatten", {in}, flat), "axis", axis);
    add("Shape", {in}, dims);
    pb::NodeProto rows = n;
    rows.set_input(0, flat);
    rows.set_output(0, result);
    *graph_->add_node() = std::move(rows);
    n.Clear();
    n.set_op_type("Reshape");
    n.add_input(result);
    n.add_input(dims);
    n.add_output(out);
    return true;
  }

  int rank_of(const std::string& tensor) const {
    for (const auto* list : {&graph_->value_info(), &graph_->input(), &graph_->output()})
      for (const auto& v : *list)
        if (v.name() == tensor && v.type().tensor_type().has_shape()) return v.type().tensor_type().shape().dim_size();
    return 0;
  }

  bool split(pb::NodeProto& n) {
    if (from_ < 13) to_input(n, "split", 1);
    if (n.input_size() < 2 || n.input(1).empty()) set_int(n, "num_outputs", n.output_size());
    return true;
  }

  // In inference it does nothing, whatever its ratio.
  bool dropout(pb::NodeProto& n) {
    pb::AttributeProto ignored;
    take(n, "ratio", &ignored);
    return n.output_size() == 1;
  }

  static void set_text(pb::NodeProto& n, const std::string& name, const std::string& v) {
    auto* a = n.add_attribute();
    a->set_name(name);
    a->set_type(pb::AttributeProto::STRING);
    a->set_s(v);
  }

  bool roi_align(pb::NodeProto& n) {
    if (std::none_of(n.attribute().begin(), n.attribute().end(), [](const auto& a) { return a.name() == "coordinate_transformation_mode"; }))
      set_text(n, "coordinate_transformation_mode", "output_half_pixel");
    return true;
  }

  bool grid_sample(pb::NodeProto& n) {
    pb::AttributeProto a;
    const std::string mode = take(n, "mode", &a) ? a.s() : "bilinear";
    set_text(n, "mode", mode == "bilinear" ? "linear" : mode == "bicubic" ? "cubic" : mode);
    return true;
  }

  // Of those that it knows.
  bool rewrite(pb::NodeProto& n) {
    const std::string& op = n.op_type();
    if (crosses(13) && (op == "Softmax" || op == "LogSoftmax" || op == "Hardmax")) return softmax(n);
    if (crosses(13) && (op == "Squeeze" || op == "Unsqueeze" || op == "ReduceSum")) return to_input(n, "axes", 1);
    if (crosses(18) && op.starts_with("Reduce") && op != "ReduceSum") return to_input(n, "axes", 1);
    if (crosses(18) && op == "Split") return split(n);
    if (from_ >= 7 && crosses(12) && op == "Dropout") return dropout(n);
    if (from_ >= 6 && crosses(11) && op == "Clip") return to_number(n, "min", 1) && to_number(n, "max", 2);
    if (from_ >= 2 && crosses(11) && op == "Pad") return to_input(n, "pads", 1) && to_number(n, "value", 2);
    if (crosses(10) && op == "Slice") return to_input(n, "starts", 1) && to_input(n, "ends", 2) && to_input(n, "axes", 3);
    if (crosses(16) && op == "RoiAlign") return roi_align(n);
    if (from_ >= 16 && crosses(20) && op == "GridSample") return grid_sample(n);
    return false;
  }

  const int from_, to_;
  std::set<std::string>& taken_;
  pb::GraphProto* graph_ = nullptr;
  std::vector<std::string> refused_;
};

}  // namespace

Status EditableModel::raise_opset(int version) {
  CHECK(state_->before.empty() && state_->removed.empty());
  const int from = opset();
  if (from >= version) return {};
  try {
    Raiser raiser(from, version, state_->taken);
    raiser.raise(*state_->model.mutable_graph());
    if (!raiser.refused().empty())
      return unsupported("operators have changed between the model's opset " + std::to_string(from) + " and " + std::to_string(version) + ": " +
                         join(raiser.refused(), ", "))
          .with_hint("export the model with opset " + std::to_string(version) + " or later");
  } catch (const std::exception& e) {
    return invalid(std::string("the model cannot be rewritten: ") + e.what());
  }
  for (auto& o : *state_->model.mutable_opset_import())
    if (plain_domain(o.domain()).empty()) o.set_version(version);
  state_->model.set_ir_version(std::max<int64_t>(state_->model.ir_version(), kLeastIr));
  state_->index();
  return {};
}

}  // namespace weft
