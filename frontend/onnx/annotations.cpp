// ONNX's multi-device annotations as Module::given: a mesh for a configuration's devices, shardings for its nodes' specs, and
// stages. Devices are ranks of the mesh in the order of their numbers, or in the one in which the first spec lists them.
#include <algorithm>
#include <set>

#include "frontend/onnx/device_axes.h"
#include "frontend/onnx/importer.h"
#include "ir/base/text.h"

namespace weft {

namespace {

constexpr int64_t kMaxDevices = 1 << 16;
constexpr size_t kMaxPlaced = size_t{1} << 26;  // devices of all specs together: a short spec may mean many

// One spec, read.
struct Spec {
  std::string node, tensor, reader;
  int stage;                                        // -1: none
  std::vector<int32_t> devices;                     // of the first shard, of the second one, …, as many of each; row-major
  size_t shards;
  std::vector<std::pair<int, int64_t>> cuts;        // dims with the number of their parts, outermost first
  int rank;
};

std::string names_of(const pb::ModelProto& m) {
  std::vector<std::string> names;
  for (const auto& c : m.configuration()) names.push_back(quote(c.name()) + " (" + std::to_string(c.num_devices()) + " devices)");
  return join(names, ", ");
}

// Null: none holds.
Result<const pb::DeviceConfigurationProto*> choose(const pb::ModelProto& m, const ImportOptions& o) {
  const pb::DeviceConfigurationProto* found = nullptr;
  std::set<std::string> seen;
  int fitting = 0;
  for (const auto& c : m.configuration()) {
    if (c.name().empty() || !seen.insert(c.name()).second) return invalid("a configuration has no name, or another one's: " + names_of(m));
    const std::string counted = "configuration " + quote(c.name()) + " has " + std::to_string(c.num_devices()) + " devices";
    if (c.num_devices() < 1 || c.num_devices() > kMaxDevices) return invalid(counted);
    if (c.device_size() && c.device_size() != c.num_devices()) return invalid(counted + " and names " + std::to_string(c.device_size()));
    const bool fits = o.mesh.axes.empty() || o.mesh.size() == c.num_devices();
    if (o.configuration.empty() ? fits : o.configuration == c.name()) {
      found = &c;
      ++fitting;
    }
  }
  if (o.configuration == "none") return static_cast<const pb::DeviceConfigurationProto*>(nullptr);
  if (o.configuration.empty() && fitting > 1)
    return usage("the model has several configurations: " + names_of(m)).with_hint("choose one with --configuration NAME; none: none");
  if (!o.configuration.empty() && !found) {
    Error e = usage("the model has no configuration " + quote(o.configuration));
    return seen.empty() ? e : e.with_hint("it has " + names_of(m));
  }
  if (found && !o.mesh.axes.empty() && o.mesh.size() != found->num_devices())
    return usage("configuration " + quote(found->name()) + " has " + std::to_string(found->num_devices()) + " devices, the mesh " + o.mesh.axes_text() +
                 " has " + std::to_string(o.mesh.size()));
  return found;
}

class Annotations {
 public:
  Annotations(ImportState& s, const Scope& scope, const pb::DeviceConfigurationProto& c) : s_(s), scope_(scope), config_(c), devices_(c.num_devices()) {}

  Status run() {
    const auto& nodes = s_.model.graph().node();
    for (int i = 0; i < nodes.size(); ++i) {
      const std::string label = node_label(nodes[i], i);
      if (Status st = node(nodes[i], label); !st.ok()) return st.error().at_node(label);
    }
    number_stages();
    TRY(find_blocks());
    TRY(find_mesh());
    for (const Spec& spec : specs_)
      if (Status st = give(spec); !st.ok()) return located(st.error(), spec);
    return {};
  }

 private:
  static Error located(Error e, const Spec& spec) {
    e.prefix("the annotation of " + quote(spec.tensor) + ": ");
    return e.at_node(spec.node).at_tensor(spec.tensor);
  }

  // --- reading ------------------------------------------------------------------------------------------------------

  Status node(const pb::NodeProto& n, const std::string& label) {
    const pb::NodeDeviceConfigurationProto* mine = nullptr;
    for (const auto& c : n.device_configurations()) {
      const auto& all = s_.model.configuration();
      if (std::none_of(all.begin(), all.end(), [&](const auto& x) { return x.name() == c.configuration_id(); }))
        return invalid("it is annotated for configuration " + quote(c.configuration_id()) + ", which the model lacks");
      if (c.configuration_id() != config_.name()) continue;
      if (mine) return invalid("it is annotated twice for configuration " + quote(config_.name()));
      mine = &c;
    }
    if (!mine) return {};
    int stage = -1;
    if (mine->has_pipeline_stage()) {
      stage = mine->pipeline_stage();
      if (stage < 0) return invalid("its pipeline stage is " + std::to_string(stage));
      s_.module.given.stages[label] = stage;
    }
    std::set<std::string> seen;
    for (const auto& spec : mine->sharding_spec()) {
      if (!seen.insert(spec.tensor_name()).second) return invalid("it is annotated twice for its tensor " + quote(spec.tensor_name()));
      TRY(tensor(n, label, stage, spec));
    }
    return {};
  }
  Status tensor(const pb::NodeProto& n, const std::string& label, int stage, const pb::ShardingSpecProto& spec) {
    const std::string& name = spec.tensor_name();
    const bool reads = std::count(n.input().begin(), n.input().end(), name) != 0;
    if (name.empty() || (!reads && !std::count(n.output().begin(), n.output().end(), name)))
      return invalid("it is annotated for " + quote(name) + ", which it neither reads nor makes");
    auto it = scope_.names.find(name);
    const Value* v = it == scope_.names.end() ? nullptr : it->second.value;
    Spec out{label, name, reads ? label : "", stage, {}, 0, {}, v && v->type.is_ranked() ? v->type.rank() : -1};
    auto read = [&]() -> Status {
      TRY(read_devices(spec, out));
      return v && v->type.is_ranked() ? read_cuts(spec, v->type.shape, out) : Status();
    };
    if (Status st = read(); !st.ok()) return located(st.error(), out);
    // A name of a value that another node makes (of an Identity) cannot be cut in another way than that.
    if (!v || out.rank < 0 || (!reads && (!v->def || !std::count(v->def->provenance.begin(), v->def->provenance.end(), label)))) return {};
    out.tensor = v->name;
    if ((placed_ += out.devices.size()) > kMaxPlaced) return resources("the annotations place tensors on too many devices");
    specs_.push_back(std::move(out));
    return {};
  }
  Status read_devices(const pb::ShardingSpecProto& spec, Spec& out) {
    std::map<int64_t, const pb::IntIntListEntryProto*> groups;
    for (const auto& g : spec.index_to_device_group_map())
      if (!groups.emplace(g.key(), &g).second) return invalid("group " + std::to_string(g.key()) + " of devices is there twice");
    std::set<int64_t> seen;
    auto add = [&](int64_t device) -> Status {
      if (device < 0 || device >= devices_)
        return invalid("device " + std::to_string(device) + " is no group and not one of " + std::to_string(devices_) + " devices");
      if (!seen.insert(device).second) return invalid("device " + std::to_string(device) + " is there twice");
      out.devices.push_back(static_cast<int32_t>(device));
      return {};
    };
    for (int64_t d : spec.device()) {
      auto g = groups.find(d);
      if (g == groups.end()) {
        TRY(add(d));
        continue;
      }
      if (g->second->value().empty()) return invalid("group " + std::to_string(d) + " of devices is empty");
      for (int64_t member : g->second->value()) TRY(add(member));
    }
    return {};
  }
  Status read_cuts(const pb::ShardingSpecProto& spec, const Shape& shape, Spec& out) {
    int64_t shards = 1;
    std::set<int64_t> seen;
    for (const auto& d : spec.sharded_dim()) {
      const int64_t axis = d.axis() < 0 ? d.axis() + out.rank : d.axis();
      if (!d.has_axis() || axis < 0 || axis >= out.rank) return invalid("there is no dim " + std::to_string(d.axis()) + " of " + std::to_string(out.rank));
      if (!seen.insert(axis).second) return invalid("dim " + std::to_string(axis) + " is there twice");
      if (d.simple_sharding().empty()) return invalid("dim " + std::to_string(axis) + " names no number of shards");
      TRY_ASSIGN(int64_t parts, parts_of(d, shape[axis]));
      shards *= parts;
      if (shards > devices_) return invalid("it has more shards than " + std::to_string(devices_) + " devices");
      if (parts > 1) out.cuts.emplace_back(static_cast<int>(axis), parts);
    }
    out.shards = static_cast<size_t>(shards);
    if (out.devices.empty() && shards == devices_)  // not said: in their order
      for (int32_t d = 0; d < devices_; ++d) out.devices.push_back(d);
    if (out.devices.empty()) return invalid("it names no devices");
    // A single shard is whole on all that are named.
    if (shards > 1 && !spec.device().empty() && spec.device_size() != shards)
      return invalid("it has " + std::to_string(shards) + " shards for " + std::to_string(spec.device_size()) + " devices or groups of them");
    std::map<int64_t, int> sizes;
    for (const auto& g : spec.index_to_device_group_map()) sizes[g.key()] = g.value_size();
    for (int64_t d : spec.device())
      if (auto it = sizes.find(d); shards > 1 && (it == sizes.end() ? 1 : it->second) * shards != static_cast<int64_t>(out.devices.size()))
        return unsupported("groups of different sizes have its shards");
    return {};
  }
  // Of a dim that was several: a part must be one range of it.
  Result<int64_t> parts_of(const pb::ShardedDimProto& d, const Dim& size) {
    int64_t parts = 1;
    Dim product = 1;
    bool known = true, whole = true;  // whole: the dims so far are cut into single elements
    for (const auto& s : d.simple_sharding()) {
      const int64_t n = s.num_shards();
      if (n < 1 || n > devices_) return invalid("a dim is cut into " + std::to_string(n) + " shards");
      if (s.has_dim_value() && s.dim_value() < 0) return invalid("a dim has size " + std::to_string(s.dim_value()));
      if (n > 1 && !whole) return unsupported("an inner one of several fused dims is cut, and so a shard is no single range of the dim");
      known = known && s.has_dim_value();
      if (s.has_dim_value()) product = product * Dim(s.dim_value());
      whole = whole && s.has_dim_value() && s.dim_value() == n;
      parts *= n;
      if (parts > devices_) return invalid("a dim is cut into more shards than " + std::to_string(devices_) + " devices");
    }
    if (known && size.is_const() && !(product == size))
      return invalid("it says that a dim of " + size.to_string() + " has " + product.to_string() + " elements");
    return parts;
  }

  // --- devices ------------------------------------------------------------------------------------------------------

  // Stages may have any numbers: in their order they become 0, 1, …
  void number_stages() {
    std::map<int, int> number;
    for (auto& [node, stage] : s_.module.given.stages) number[stage] = 0;
    for (auto& [stage, n] : number) n = stages_++;
    for (auto& [node, stage] : s_.module.given.stages) stage = number.at(stage);
    for (Spec& spec : specs_)
      if (spec.stage >= 0) spec.stage = number.at(spec.stage);
    stages_ = std::max(stages_, 1);
  }
  // The devices of each stage, in the order of their ranks.
  Status find_blocks() {
    if (devices_ % stages_ || stages_ > kMaxStages)
      return unsupported(std::to_string(stages_) + " pipeline stages of " + std::to_string(devices_) + " devices in configuration " + quote(config_.name()));
    blocks_.resize(stages_);
    std::vector<char> taken(devices_, 0);
    const auto size = static_cast<size_t>(devices_ / stages_);
    for (const Spec& spec : specs_) {
      auto& block = blocks_[std::max(spec.stage, 0)];
      if ((spec.stage < 0 && stages_ > 1) || !block.empty()) continue;
      block.assign(spec.devices.begin(), spec.devices.end());
      if (block.size() != size)
        return located(unsupported("it lies on " + std::to_string(block.size()) + " devices, and each stage has " + std::to_string(size)), spec);
      if (spec.shards < spec.devices.size()) std::sort(block.begin(), block.end());
      for (int64_t d : block)
        if (std::exchange(taken[d], 1)) return located(unsupported("device " + std::to_string(d) + " is another stage's, too"), spec);
    }
    int64_t next = 0;
    for (auto& block : blocks_)
      while (block.size() < size) {
        while (taken[next]) ++next;
        taken[next] = 1;
        block.push_back(next);
      }
    place_.resize(devices_);
    for (size_t k = 0; k < blocks_.size(); ++k)
      for (size_t p = 0; p < size; ++p) place_[blocks_[k][p]] = {static_cast<int>(k), static_cast<int64_t>(p)};
    return {};
  }

  // Which part of its k-th cut dim each place has.
  Result<std::vector<std::vector<int64_t>>> parts_by_place(const Spec& spec) {
    const size_t size = blocks_[0].size(), group = spec.devices.size() / spec.shards;
    if (spec.devices.size() != size) return unsupported("it lies on " + std::to_string(spec.devices.size()) + " of " + std::to_string(size) + " devices");
    std::vector<std::vector<int64_t>> out(spec.cuts.size(), std::vector<int64_t>(size));
    for (size_t i = 0; i < size; ++i) {
      auto [stage, at] = place_[spec.devices[i]];
      if (stage != place_[spec.devices[0]].first) return unsupported("it lies on devices of several stages");
      int64_t rest = static_cast<int64_t>(i / group);
      for (size_t k = spec.cuts.size(); k-- > 0; rest /= spec.cuts[k].second) out[k][at] = rest % spec.cuts[k].second;
    }
    return out;
  }
  Status find_mesh() {
    Mesh& mesh = s_.module.given.mesh;
    mesh = s_.options.mesh;
    if (auto it = s_.module.metadata.find(kMeshKey + config_.name()); mesh.axes.empty() && it != s_.module.metadata.end())
      if (auto named = parse_mesh(it->second); named.ok() && named->size() == devices_) mesh = *named;
    if (mesh.axes.empty()) {
      std::set<int64_t> strides;
      for (const Spec& spec : specs_) {
        auto digits = digits_of(spec);
        if (!digits.ok()) return located(digits.error(), spec);
        for (auto& of_dim : *digits)
          for (const DigitRange& d : of_dim) strides.insert({d.low, d.high});
      }
      TRY_ASSIGN(mesh, mesh_of(strides, devices_ / stages_));
      if (stages_ > 1) mesh.axes.insert(mesh.axes.begin(), {kStageAxis, stages_});
    }
    mesh.name = config_.name();
    if (stages_ > 1 && mesh.axis_size(kStageAxis) != stages_)
      return usage("the annotations have " + std::to_string(stages_) + " pipeline stages, the mesh is " + mesh.axes_text());
    if (stages_ == 1) s_.module.given.stages.clear();
    return {};
  }
  Result<std::vector<std::vector<DigitRange>>> digits_of(const Spec& spec) {
    TRY_ASSIGN(auto parts, parts_by_place(spec));
    std::vector<std::vector<DigitRange>> out;
    for (size_t k = 0; k < parts.size(); ++k) {
      TRY_ASSIGN(std::vector<DigitRange> digits, weft::digits_of(parts[k], spec.cuts[k].second));
      out.push_back(std::move(digits));
    }
    return out;
  }
  Status give(const Spec& spec) {
    const Mesh& mesh = s_.module.given.mesh;
    GivenSharding g;
    g.tensor = spec.tensor;
    g.reader = spec.reader;
    g.dims.resize(spec.rank);
    g.source = "annotation of node " + quote(spec.node);
    std::set<std::string> cut{kStageAxis};
    TRY_ASSIGN(auto digits, digits_of(spec));
    for (size_t k = 0; k < digits.size(); ++k) {
      TRY_ASSIGN(g.dims[spec.cuts[k].first], axes_of(mesh, digits[k]));
      cut.insert(g.dims[spec.cuts[k].first].begin(), g.dims[spec.cuts[k].first].end());
    }
    for (auto& [axis, size] : mesh.axes)
      if (size > 1 && !cut.count(axis)) g.whole.push_back(axis);
    s_.module.given.shardings.push_back(std::move(g));
    return {};
  }

  ImportState& s_;
  const Scope& scope_;
  const pb::DeviceConfigurationProto& config_;
  int64_t devices_;
  int stages_ = 0;
  size_t placed_ = 0;
  std::vector<Spec> specs_;
  std::vector<std::vector<int64_t>> blocks_;
  std::vector<std::pair<int, int64_t>> place_;  // of a device: its stage, and where in the stage's block
};

}  // namespace

Status read_annotations(ImportState& s, const Scope& scope) {
  TRY_ASSIGN(const auto* config, choose(s.model, s.options));
  return config ? Annotations(s, scope, *config).run() : Status();
}

}  // namespace weft
