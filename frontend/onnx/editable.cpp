#include "frontend/onnx/editable_state.h"

#include <algorithm>

#include "frontend/onnx/wire.h"

namespace weft {

namespace {

const pb::AttributeProto* find_attribute(const pb::NodeProto& n, const std::string& name) {
  for (const auto& a : n.attribute())
    if (a.name() == name) return &a;
  return nullptr;
}

const pb::TensorProto* constant_of(const pb::NodeProto& n) {
  if (n.op_type() != "Constant" || !plain_domain(n.domain()).empty()) return nullptr;
  const pb::AttributeProto* a = find_attribute(n, "value");
  return a && a->has_t() ? &a->t() : nullptr;
}

template <class Field, class Keep>
void keep_only(Field& field, Keep&& keep) {
  field.erase(std::remove_if(field.begin(), field.end(), [&](const auto& item) { return !keep(item); }), field.end());
}

}  // namespace

EditableModel::EditableModel(std::unique_ptr<State> state) : state_(std::move(state)) {}
EditableModel::EditableModel(const EditableModel& other) : state_(std::make_unique<State>(*other.state_)) { state_->index(); }
EditableModel::EditableModel(EditableModel&&) noexcept = default;
EditableModel& EditableModel::operator=(EditableModel&&) noexcept = default;
EditableModel::~EditableModel() = default;

void EditableModel::State::index() {
  nodes.clear(), readers.clear(), producers.clear(), constants.clear();
  const pb::GraphProto& g = model.graph();
  for (const auto& t : g.initializer()) constants[t.name()] = &t;
  for (const auto& in : g.input()) taken.insert(in.name());
  for (int i = 0; i < g.node_size(); ++i) {
    const pb::NodeProto& n = g.node(i);
    nodes.push_back({node_label(n, i), n.op_type(), plain_domain(n.domain()), {n.input().begin(), n.input().end()}, {n.output().begin(), n.output().end()}});
    if (removed.count(i)) continue;
    std::set<std::string> used;
    used_names(n, used);
    for (const std::string& name : used) readers[name].push_back(i);
    taken.merge(used);
    for (const std::string& o : n.output()) {
      producers[o] = i;
      taken.insert(o);
      if (const pb::TensorProto* t = constant_of(n)) constants[o] = t;
    }
  }
  for (const auto& [name, t] : constants) taken.insert(name);
}

Result<EditableModel> EditableModel::open(const std::string& path, const std::string& external_data_root) {
  auto s = std::make_unique<State>();
  try {
    TRY_ASSIGN(s->file, MappedFile::open(path));
    s->folder = folder_of(path);
    s->external_root = external_data_root;
    s->external = std::make_shared<ExternalData>(s->folder, external_data_root);
    TRY_ASSIGN(const WireScan scan, scan_model(s->source().bytes, {}));
    TRY(parse_model(s->source().bytes, scan, s->model));
    s->node_count = scan.nodes;
    s->index();
  } catch (const std::exception& e) {
    return invalid(std::string("the model cannot be read: ") + e.what());
  }
  return EditableModel(std::move(s));
}

// --- what there is ----------------------------------------------------------------------------------------------------

const std::vector<OnnxNode>& EditableModel::nodes() const { return state_->nodes; }

int64_t EditableModel::int_attribute(int node, const std::string& name, int64_t otherwise) const {
  const pb::AttributeProto* a = find_attribute(state_->model.graph().node(node), name);
  return a ? a->i() : otherwise;
}
double EditableModel::float_attribute(int node, const std::string& name, double otherwise) const {
  const pb::AttributeProto* a = find_attribute(state_->model.graph().node(node), name);
  return a ? a->f() : otherwise;
}
std::vector<int64_t> EditableModel::ints_attribute(int node, const std::string& name) const {
  const pb::AttributeProto* a = find_attribute(state_->model.graph().node(node), name);
  return a ? std::vector<int64_t>(a->ints().begin(), a->ints().end()) : std::vector<int64_t>();
}

std::string EditableModel::text_attribute(int node, const std::string& name) const {
  const pb::AttributeProto* a = find_attribute(state_->model.graph().node(node), name);
  return a ? a->s() : std::string();
}

std::vector<std::string> EditableModel::outputs() const {
  std::vector<std::string> names;
  for (const auto& o : state_->model.graph().output()) names.push_back(o.name());
  return names;
}

int EditableModel::opset() const {
  for (const auto& o : state_->model.opset_import())
    if (plain_domain(o.domain()).empty()) return static_cast<int>(o.version());
  return 1;
}

bool EditableModel::is_constant(const std::string& name) const { return state_->values.count(name) || state_->constants.count(name); }

std::vector<int64_t> EditableModel::constant_dims(const std::string& name) const {
  if (auto it = state_->values.find(name); it != state_->values.end()) return it->second.dims;
  const pb::TensorProto& t = *state_->constants.at(name);
  return {t.dims().begin(), t.dims().end()};
}

DType EditableModel::constant_dtype(const std::string& name) const {
  if (auto it = state_->values.find(name); it != state_->values.end()) return it->second.dtype;
  Result<DType> t = dtype_from_onnx(state_->constants.at(name)->data_type());
  return t.ok() ? *t : DType::str;  // an unknown type is like one that holds no numbers
}

Result<Tensor> EditableModel::constant(const std::string& name) const {
  if (auto it = state_->values.find(name); it != state_->values.end()) return it->second;
  return tensor_from_proto(*state_->constants.at(name), state_->source());
}

const std::vector<int>& EditableModel::readers(const std::string& tensor) const {
  static const std::vector<int> none;
  auto it = state_->readers.find(tensor);
  return it == state_->readers.end() ? none : it->second;
}

int EditableModel::producer(const std::string& tensor) const {
  auto it = state_->producers.find(tensor);
  return it == state_->producers.end() ? -1 : it->second;
}

bool EditableModel::is_output(const std::string& tensor) const {
  const auto& outputs = state_->model.graph().output();
  return std::any_of(outputs.begin(), outputs.end(), [&](const auto& o) { return o.name() == tensor; });
}

// --- changes ----------------------------------------------------------------------------------------------------------

std::string EditableModel::fresh_name(const std::string& wish) {
  std::string name = wish;
  for (int i = 1; !state_->taken.insert(name).second; ++i) name = wish + "_" + std::to_string(i);
  return name;
}

void EditableModel::set_constant(const std::string& name, Tensor value) {
  state_->taken.insert(name);
  state_->values[name] = std::move(value);
}

void EditableModel::set_input(int node, size_t input, const std::string& tensor) {
  pb::NodeProto& n = *state_->model.mutable_graph()->mutable_node(node);
  OnnxNode& known = state_->nodes[node];
  while (static_cast<size_t>(n.input_size()) <= input) n.add_input(), known.inputs.emplace_back();
  std::string& name = known.inputs[input];
  n.set_input(static_cast<int>(input), tensor);
  const std::string old = std::exchange(name, tensor);
  if (std::find(known.inputs.begin(), known.inputs.end(), old) == known.inputs.end()) std::erase(state_->readers[old], node);
  std::vector<int>& readers = state_->readers[tensor];
  if (std::find(readers.begin(), readers.end(), node) == readers.end()) readers.insert(std::lower_bound(readers.begin(), readers.end(), node), node);
}

void EditableModel::set_output(int node, size_t output, const std::string& tensor) {
  state_->producers.erase(state_->nodes[node].outputs[output]);
  state_->producers[tensor] = node;
  state_->nodes[node].outputs[output] = tensor;
  state_->model.mutable_graph()->mutable_node(node)->set_output(static_cast<int>(output), tensor);
}

void EditableModel::insert_before(int node, NewOnnxNode n) {
  pb::NodeProto& p = state_->before[node].emplace_back();
  p.set_op_type(n.op);
  p.set_domain(n.domain);
  p.set_name(n.outputs[0]);
  for (std::string& name : n.inputs) p.add_input(std::move(name));
  for (std::string& name : n.outputs) p.add_output(std::move(name));
  for (const auto& [name, value] : n.attributes) {
    auto* a = p.add_attribute();
    a->set_name(name);
    a->set_type(pb::AttributeProto::INT);
    a->set_i(value);
  }
}

void EditableModel::remove(int node) {
  for (const std::string& in : std::set<std::string>(state_->nodes[node].inputs.begin(), state_->nodes[node].inputs.end()))
    std::erase(state_->readers[in], node);
  state_->removed.insert(node);
}

void EditableModel::add_input(const std::string& name, DType dtype, const std::vector<int64_t>& dims) {
  auto& g = *state_->model.mutable_graph();
  keep_only(*g.mutable_input(), [&](const auto& in) { return in.name() != name; });
  keep_only(*g.mutable_initializer(), [&](const auto& t) { return t.name() != name; });
  if (auto it = state_->producers.find(name); it != state_->producers.end()) state_->removed.insert(it->second);
  auto* in = g.add_input();
  in->set_name(name);
  *in->mutable_type() = type_to_onnx(Type::tensor(dtype, to_shape(dims)));
  state_->values.erase(name);
  state_->index();
}

void EditableModel::add_output(const std::string& tensor) {
  if (!is_output(tensor)) state_->model.mutable_graph()->add_output()->set_name(tensor);
}

void EditableModel::import_domain(const std::string& domain, int version) {
  for (const auto& o : state_->model.opset_import())
    if (o.domain() == domain) return;
  auto* o = state_->model.add_opset_import();
  o->set_domain(domain);
  o->set_version(version);
}

// --- results ----------------------------------------------------------------------------------------------------------

pb::ModelProto EditableModel::State::edited() const {
  pb::ModelProto out = model;
  auto& g = *out.mutable_graph();
  g.clear_node();
  std::set<std::string> used;
  for (int i = 0; i < model.graph().node_size(); ++i) {
    if (auto it = before.find(i); it != before.end())
      for (const pb::NodeProto& n : it->second) *g.add_node() = n;
    if (!removed.count(i)) *g.add_node() = model.graph().node(i);
  }
  for (const auto& n : g.node()) used_names(n, used);
  for (const auto& o : g.output()) used.insert(o.name());
  // A constant goes when it was set anew, or when nothing reads it any more that was read before.
  auto stays = [&](const std::string& name) { return !values.count(name) && (used.count(name) || !readers.count(name)); };
  std::set<std::string> gone;
  for (const auto& t : g.initializer())
    if (!stays(t.name())) gone.insert(t.name());
  keep_only(*g.mutable_initializer(), [&](const auto& t) { return !gone.count(t.name()); });
  keep_only(*g.mutable_input(), [&](const auto& in) { return !gone.count(in.name()); });
  keep_only(*g.mutable_node(), [&](const auto& n) { return !constant_of(n) || stays(n.output(0)); });
  for (const auto& [name, value] : values) {
    if (!used.count(name)) continue;
    tensor_to_proto(value, *g.add_initializer());
    g.mutable_initializer()->rbegin()->set_name(name);
  }
  return out;
}

Result<std::unique_ptr<Module>> EditableModel::module(const ImportOptions& options) const {
  try {
    TensorSource source = state_->source();
    source.shapes_only = options.shapes_only;
    return import_parsed(state_->edited(), state_->node_count + 16 * static_cast<int64_t>(state_->before.size()), std::move(source), options);
  } catch (const std::exception& e) {
    return invalid(std::string("the model cannot be read: ") + e.what());
  }
}

}  // namespace weft
