#include "frontend/onnx/describe.h"

#include "frontend/onnx/importer.h"
#include "frontend/onnx/wire.h"
#include "onnx/defs/schema.h"

namespace weft {

namespace {

// Nesting is bounded by the scan.
template <class Nodes>
void count_nodes(const Nodes& nodes, OnnxFacts& facts) {
  for (const pb::NodeProto& n : nodes) {
    const std::string domain = plain_domain(n.domain());
    ++facts.operators[domain.empty() ? n.op_type() : domain + "." + n.op_type()];
    for (const pb::AttributeProto& a : n.attribute()) {
      if (a.has_g()) count_nodes(a.g().node(), facts);
      for (const pb::GraphProto& g : a.graphs()) count_nodes(g.node(), facts);
    }
  }
}

}  // namespace

Result<OnnxFacts> describe_onnx_file(const std::string& path, const ImportLimits& limits) {
  TRY_ASSIGN(auto file, MappedFile::open(path));
  TRY_ASSIGN(WireScan scan, scan_model({file->data(), file->size()}, limits));
  pb::ModelProto model;
  TRY(parse_model({file->data(), file->size()}, scan, model));
  OnnxFacts facts;
  facts.ir_version = model.ir_version();
  facts.producer = model.producer_name() + (model.producer_version().empty() ? "" : " " + model.producer_version());
  for (const auto& o : model.opset_import()) facts.opsets[o.domain().empty() ? "ai.onnx" : o.domain()] = o.version();
  facts.functions = model.functions_size();
  count_nodes(model.graph().node(), facts);
  for (const auto& f : model.functions()) count_nodes(f.node(), facts);
  return facts;
}

std::string onnx_version() { return WEFT_ONNX_VERSION; }

std::string protobuf_version() {
  return std::to_string(GOOGLE_PROTOBUF_VERSION / 1000000) + "." + std::to_string(GOOGLE_PROTOBUF_VERSION / 1000 % 1000) + "." +
         std::to_string(GOOGLE_PROTOBUF_VERSION % 1000);
}

int newest_opset() { return pb::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at("").second; }

}  // namespace weft
