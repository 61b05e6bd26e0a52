// The ONNX importer: bytes or a file become a Module in the canonical op set. Opsets, dialects (com.microsoft), function
// bodies and external data end here; behind it no code tests an ONNX name.
//
//   Limits come first: the wire format is scanned under budgets before protobuf sees a byte, large tensors are cut out of
//   it and become ranges of the mapped file (never copied), and external data is opened beneath the model's folder.
//   Opsets 1 to 27 (28 where nothing changed), IR versions 3 to 14.
//   An initialiser with the name of a graph input is a constant and no input, in every IR version, unless it is listed in
//   `overridable`.
//   Dims: a `dim_param` is a symbol; it is read as an expression (`past + 1`) when each of its symbols is a dim of some
//   graph input; other text is made an identifier. A dim of -1, without value or named `?` is a fresh symbol.
//   Every op carries the name of the ONNX node it came from, `<op type>_<index>` where that has none.
//
//   Multi-device annotations of the main graph's nodes (IR version 11 and later) become Module::given; those inside functions
//   and sub-graphs do not count.
//
// Errors: kInvalidModel for what breaks ONNX's rules, kUnsupported for what we lack: one Error lists all such nodes;
// kResources for files that cannot be opened and for exceeded limits. No exception leaves these functions.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>

#include "ir/core/module.h"

namespace weft {

struct ImportLimits {
  int64_t max_file_bytes = int64_t{1} << 40;
  // What remains for protobuf when large tensors are cut out: names, nodes, small tensors.
  int64_t max_structure_bytes = int64_t{1} << 30;
  int64_t max_messages = 4'000'000;      // nodes, attributes, tensors, names, ... anywhere in the file
  int64_t max_nodes = 1'000'000;         // in the file
  int64_t max_expanded_nodes = 0;        // after functions are expanded; 0: 20,000 + 64 for each node in the file
  int max_graph_depth = 24;              // sub-graphs within sub-graphs
  int max_call_depth = 64;               // functions that call functions
  int max_rank = 64;
};

struct ImportOptions {
  ImportLimits limits;
  // Where external data may lie besides the model's folder; links are followed as long as they end beneath this folder.
  std::string external_data_root;
  // Of external data larger than 1 KiB only types and dims: nothing is opened, and the files need not be there.
  bool shapes_only = false;
  // Dims by input name, written as in ir/core/shapes.h ("1..32x3x224x224@8"). A dim that the model declares as a symbol
  // binds that symbol everywhere.
  std::map<std::string, std::string> shapes;
  // Inputs that stay inputs though they have an initialiser.
  std::set<std::string> overridable;
  // Which of the model's multi-device configurations becomes Module::given, "none": none. Empty: the only one there is; where `mesh`
  // has axes, the only one of as many devices, if there is one.
  std::string configuration;
  // In whose axes its annotations are said; without axes, in those that the model names, or else of their own.
  Mesh mesh;
};

Result<std::unique_ptr<Module>> import_onnx_file(const std::string& path, const ImportOptions& options = {});
// base_dir: where external data lies; empty: external data is refused unless external_data_root is given.
Result<std::unique_ptr<Module>> import_onnx_bytes(std::span<const std::byte> bytes, const std::string& base_dir, const ImportOptions& options = {});

}  // namespace weft
