#include "frontend/onnx/annotate.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "frontend/onnx/importer.h"
#include "frontend/onnx/wire.h"
#include "ir/base/text.h"

namespace weft {

namespace {

constexpr int64_t kFirstIr = 11;

// Which of its parts, row-major over the cut dims, each device of a stage has (-1: all stages').
std::vector<std::vector<int64_t>> shards_of(const GivenSharding& g, const Mesh& mesh, int stage) {
  std::vector<std::string> axes;
  for (auto& d : g.dims) axes.insert(axes.end(), d.begin(), d.end());
  int64_t count = 1;
  for (const std::string& a : axes) count *= mesh.axis_size(a);
  std::vector<std::vector<int64_t>> shards(count);
  for (int64_t rank = 0; rank < mesh.size(); ++rank) {
    if (stage >= 0 && mesh.stage(rank) != stage) continue;
    const SymbolValues at = mesh.coordinates(rank);
    int64_t shard = 0;
    for (const std::string& a : axes) shard = shard * mesh.axis_size(a) + at.at(rank_symbol(a));
    shards[shard].push_back(rank);
  }
  return shards;
}

void fill(pb::ShardingSpecProto& spec, const std::string& tensor, const GivenSharding& g, const Mesh& mesh, int stage) {
  spec.set_tensor_name(tensor);
  for (auto& shard : shards_of(g, mesh, stage)) {
    if (shard.size() == 1) {
      spec.add_device(shard[0]);
      continue;
    }
    auto* group = spec.add_index_to_device_group_map();
    group->set_key(-spec.index_to_device_group_map_size());
    for (int64_t rank : shard) group->add_value(rank);
    spec.add_device(group->key());
  }
  for (size_t d = 0; d < g.dims.size(); ++d) {
    if (g.dims[d].empty()) continue;
    int64_t parts = 1;
    for (const std::string& a : g.dims[d]) parts *= mesh.axis_size(a);
    auto* dim = spec.add_sharded_dim();
    dim->set_axis(static_cast<int64_t>(d));
    dim->add_simple_sharding()->set_num_shards(parts);
  }
}

void annotate(pb::ModelProto& model, const std::string& name, const Given& given) {
  const bool staged = given.mesh.axis_size(kStageAxis) > 1;
  std::map<std::pair<std::string, std::string>, const GivenSharding*> forms;
  for (const GivenSharding& g : given.shardings) forms[{g.reader, g.tensor}] = &g;
  auto& nodes = *model.mutable_graph()->mutable_node();
  for (int i = 0; i < nodes.size(); ++i) {
    pb::NodeProto& n = nodes[i];
    auto& configurations = *n.mutable_device_configurations();
    configurations.erase(std::remove_if(configurations.begin(), configurations.end(), [&](const auto& c) { return c.configuration_id() == name; }),
                         configurations.end());
    const std::string label = node_label(n, i);
    pb::NodeDeviceConfigurationProto mine;
    mine.set_configuration_id(name);
    auto stage = given.stages.find(label);
    if (stage != given.stages.end()) mine.set_pipeline_stage(stage->second);
    std::set<std::string> seen;
    auto add = [&](const std::string& reader, const std::string& tensor) {
      auto it = forms.find({reader, tensor});
      if (it == forms.end() || !seen.insert(tensor).second) return;
      fill(*mine.add_sharding_spec(), tensor, *it->second, given.mesh, mine.has_pipeline_stage() ? mine.pipeline_stage() : -1);
    };
    // What every stage computes for itself lies on all devices, which no stage has.
    if (!staged || mine.has_pipeline_stage()) {
      for (const std::string& input : n.input()) add(label, input);
      for (const std::string& output : n.output()) add("", output);
    }
    if (mine.sharding_spec_size() || mine.has_pipeline_stage()) *n.add_device_configurations() = std::move(mine);
  }
}

void add_configuration(pb::ModelProto& model, const std::string& name, const Mesh& mesh) {
  pb::DeviceConfigurationProto* mine = nullptr;
  for (auto& c : *model.mutable_configuration())
    if (c.name() == name) mine = &c;
  if (!mine) mine = model.add_configuration();
  mine->Clear();
  mine->set_name(name);
  mine->set_num_devices(static_cast<int>(mesh.size()));
  pb::StringStringEntryProto* entry = nullptr;
  for (auto& p : *model.mutable_metadata_props())
    if (p.key() == kMeshKey + name) entry = &p;
  if (!entry) entry = model.add_metadata_props();
  entry->set_key(kMeshKey + name);
  entry->set_value(mesh.axes_text());
  if (model.ir_version() < kFirstIr) model.set_ir_version(kFirstIr);
}

bool has_external_data(const pb::GraphProto& g) {
  if (std::any_of(g.initializer().begin(), g.initializer().end(), [](const auto& t) { return t.external_data_size() != 0; })) return true;
  for (const auto& n : g.node())
    for (const auto& a : n.attribute())
      if ((a.has_t() && a.t().external_data_size()) || (a.has_g() && has_external_data(a.g()))) return true;
  return false;
}

Status write(const std::string& path, const std::string& output, const std::string& configuration, const Given& given) {
  namespace fs = std::filesystem;
  TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  const std::span<const std::byte> bytes(file->data(), file->size());
  const ImportLimits limits;
  TRY(scan_model(bytes, limits));
  pb::ModelProto model;
  TRY(parse_model(bytes, WireScan(), model));
  std::error_code ec;
  const fs::path here = fs::absolute(path).parent_path(), there = fs::absolute(output).parent_path();
  if (has_external_data(model.graph()) && !fs::equivalent(here, there, ec))
    return usage("the model has external data, which its new file refers to: " + output + " must be in its folder").with_hint("write into " + here.string());
  annotate(model, configuration, given);
  add_configuration(model, configuration, given.mesh);
  const std::string part = output + ".part";
  {
    std::ofstream out(part, std::ios::binary);
    if (!out || !model.SerializeToOstream(&out) || !out.flush()) return resources("cannot write " + output);
  }
  file.reset();
  fs::rename(part, output, ec);
  return ec ? Status(resources("cannot write " + output + ": " + ec.message())) : Status();
}

}  // namespace

Status write_annotated(const std::string& model, const std::string& output, const std::string& configuration, const Given& given) {
  try {
    return write(model, output, configuration, given);
  } catch (const std::exception& e) {
    return resources(std::string("the model cannot be written: ") + e.what());
  }
}

}  // namespace weft
