#include "frontend/api/runtime/pipeline.h"

#include "ir/base/text.h"
#include "runtime/executor/strided.h"

namespace weft::api {

namespace {

// Dim 0 of the first input that has one, where it is open; else empty: there is no batch.
std::string batch_of(const Ports& ports) {
  for (const PortInfo& p : ports.inputs)
    if (!p.dims.empty()) return p.dims[0].fixed() ? "" : p.dims[0].text;
  return "";
}
bool leads(const PortInfo& p, const std::string& dim) { return !p.dims.empty() && p.dims[0].text == dim; }

size_t bytes_of(const TensorView& v) { return static_cast<size_t>(packed_bytes(v.dtype, v.numel())); }

TensorView rows(const TensorView& v, int64_t first, int64_t count) {
  TensorView out = v;
  out.dims[0] = count;
  out.data = static_cast<std::byte*>(v.data) + first * v.strides[0] * byte_size(v.dtype);
  return out;
}
TensorView dense(void* data, DType t, std::vector<int64_t> dims) {
  TensorView v;
  v.data = data;
  v.dtype = t;
  v.strides = dense_strides(dims);
  v.dims = std::move(dims);
  return v;
}

}  // namespace

Pipeline::Pipeline(const Executable::State& state) : state_(state), roots_(state.ports.outputs.size()), memory_(state.ports.outputs.size()) {
  const Mesh& mesh = plan_of(*state.exe).mesh;
  const auto ranks = static_cast<size_t>(mesh.size()), stages = state.ports.stages.size();
  for (size_t r = ranks; r-- > 0;)
    for (int number : state.ports.stages[stage_of(mesh, stages, r)].outputs) roots_[static_cast<size_t>(number)] = static_cast<int>(r);
  const std::string batch = batch_of(state.ports);
  for (const PortInfo& p : state.ports.inputs) has_batch_.push_back(!batch.empty() && leads(p, batch));
}

Status Pipeline::cut(std::span<const TensorView> inputs, std::span<const TensorView> outputs, size_t parts) {
  const Ports& ports = state_.ports;
  const auto n = static_cast<int64_t>(parts);
  const std::string batch = batch_of(ports);
  if (batch.empty())
    return usage("the model's batch, dim 0 of its inputs, is fixed: it has no parts").with_hint("leave it open, or give a range with --shapes");
  for (const PortInfo& p : ports.outputs)
    if (!leads(p, batch)) return unsupported("output " + name_text(p.name) + " has no batch, " + batch + ", of which microbatches could give parts");
  parts_.resize(parts);
  auto part_of = [&](const TensorView& v, const PortInfo& p, size_t k) -> Result<TensorView> {
    if (is_subbyte(v.dtype)) return unsupported("microbatches of " + name_text(p.name) + ", whose elements are narrower than a byte");
    if (v.dims.empty() || v.dims[0] % n != 0)
      return usage(name_text(p.name) + ": a batch of " + std::to_string(v.dims.empty() ? 1 : v.dims[0]) + " in " + std::to_string(n) + " microbatches");
    const int64_t rows_each = v.dims[0] / n;
    return rows(v, static_cast<int64_t>(k) * rows_each, rows_each);
  };
  for (size_t k = 0; k < parts; ++k) {
    Part& part = parts_[k];
    part.inputs.assign(inputs.begin(), inputs.end());
    part.outputs.resize(outputs.size());
    for (size_t i = 0; i < inputs.size(); ++i)
      if (has_batch_[i]) {
        TRY_ASSIGN(part.inputs[i], part_of(inputs[i], ports.inputs[i], k));
      }
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (!outputs[i].data || outputs[i].data == memory_[i].data()) continue;
      TRY_ASSIGN(part.outputs[i], part_of(outputs[i], ports.outputs[i], k));
    }
  }
  return {};
}

Status Pipeline::join(std::span<TensorView> outputs, std::span<const char> missing) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (missing[i] || (outputs[i].data && outputs[i].data != memory_[i].data())) continue;
    std::vector<int64_t> dims = parts_[0].outputs[i].dims;
    dims[0] = 0;
    for (const Part& p : parts_) dims[0] += p.outputs[i].dims[0];
    TensorView whole = dense(nullptr, parts_[0].outputs[i].dtype, std::move(dims));
    memory_[i].resize(bytes_of(whole));
    whole.data = memory_[i].data();
    int64_t at = 0;
    for (Part& p : parts_) {
      const TensorView& from = p.outputs[i];
      strided_copy(ref_of(rows(whole, at, from.dims[0])), ref_of(from), nullptr);
      at += from.dims[0];
      p.outputs[i] = {};
    }
    outputs[i] = std::move(whole);
  }
  return {};
}

Status Pipeline::share(std::span<TensorView> outputs, const Group::State& group) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    TensorView& v = outputs[i];
    const bool mine = group.rank == roots_[i];
    Collective c;
    c.kind = CollectiveKind::broadcast;
    c.dtype = DType::i64;
    c.root = roots_[i];
    c.label = "dims of output " + state_.ports.outputs[i].name;
    std::vector<int64_t> dims(state_.ports.outputs[i].dims.size());
    if (mine) dims = v.dims;
    c.inner = static_cast<int64_t>(dims.size());
    if (!dims.empty()) TRY(group.world->run(c, dims.data(), dims.data()));
    TensorView whole = dense(nullptr, state_.ports.outputs[i].dtype, dims);
    std::vector<std::byte> packed;
    const bool given = v.data && v.data != memory_[i].data();
    if (mine && v.contiguous()) {
      whole.data = v.data;
    } else {
      std::vector<std::byte>& memory = mine || given ? packed : memory_[i];
      memory.resize(bytes_of(whole));
      whole.data = memory.data();
      if (mine) strided_copy(ref_of(whole), ref_of(v), nullptr);
    }
    c.dtype = DType::u8;
    c.inner = static_cast<int64_t>(bytes_of(whole));
    c.label = "output " + state_.ports.outputs[i].name;
    TRY(group.world->run(c, whole.data, whole.data));
    if (mine) continue;
    if (!given) {
      v = std::move(whole);
    } else if (v.dims != dims) {
      return usage("output " + name_text(state_.ports.outputs[i].name) + " is given a tensor of other dims than it has: " + shape_text(to_shape(dims)));
    } else if (v.data != whole.data) {
      strided_copy(ref_of(v), ref_of(whole), nullptr);
    }
  }
  return {};
}

}  // namespace weft::api
