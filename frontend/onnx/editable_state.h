// What an EditableModel is inside. Sees protobuf.
#pragma once

#include <set>

#include "frontend/onnx/editable.h"
#include "frontend/onnx/importer.h"

namespace weft {

struct EditableModel::State {
  pb::ModelProto model;                              // payloads of large tensors cut out
  int64_t node_count = 0;                            // anywhere in the file
  std::string folder, external_root;
  std::shared_ptr<const MappedFile> file;
  std::shared_ptr<ExternalData> external;
  std::vector<OnnxNode> nodes;                       // parallel to the main graph's
  std::map<std::string, std::vector<int>> readers;
  std::map<std::string, int> producers;
  std::map<std::string, const pb::TensorProto*> constants;  // into the model
  std::set<std::string> taken;                       // names of tensors
  std::map<int, std::vector<pb::NodeProto>> before;  // new nodes, by the node that they stand in front of
  std::set<int> removed;
  std::map<std::string, Tensor> values;              // constants that were set

  void index();
  TensorSource source() const { return {.bytes = {file->data(), file->size()}, .file = file, .external = external.get()}; }
  // The model with all changes.
  pb::ModelProto edited() const;
};

}  // namespace weft
