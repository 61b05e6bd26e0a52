// An ONNX model that is changed and written back as ONNX: nodes of its main graph are read, new ones are put in front of them,
// constants are replaced, and what comes out is imported as a Module or written to a file. Nodes keep their numbers while
// the model is edited. Large tensors stay in the mapped files until the model is written.
//
// A copy is a model of its own; copies share the files. Not thread safe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "frontend/onnx/import.h"
#include "ir/eval/host_value.h"

namespace weft {

struct OnnxNode {
  std::string label;                        // its name, or `<op type>_<index>`, as in provenance
  std::string op, domain;                   // domain: empty for ONNX's own
  std::vector<std::string> inputs, outputs; // absent ones are empty
};

struct NewOnnxNode {
  std::string op, domain;
  std::vector<std::string> inputs, outputs;
  std::map<std::string, int64_t> attributes = {};
};

class EditableModel {
 public:
  // Errors as of import_onnx_file.
  static Result<EditableModel> open(const std::string& path, const std::string& external_data_root = "");
  EditableModel(const EditableModel&);
  EditableModel(EditableModel&&) noexcept;
  EditableModel& operator=(EditableModel&&) noexcept;
  ~EditableModel();

  // --- what there is ---
  const std::vector<OnnxNode>& nodes() const;
  int64_t int_attribute(int node, const std::string& name, int64_t otherwise) const;
  double float_attribute(int node, const std::string& name, double otherwise) const;
  std::vector<int64_t> ints_attribute(int node, const std::string& name) const;  // empty when absent
  std::string text_attribute(int node, const std::string& name) const;           // empty when absent
  std::vector<std::string> outputs() const;
  int opset() const;                                       // of ONNX's own domain
  // Of tensors of the main graph whose values are known: initialisers and Constant nodes' results.
  bool is_constant(const std::string& name) const;
  std::vector<int64_t> constant_dims(const std::string& name) const;
  DType constant_dtype(const std::string& name) const;
  Result<Tensor> constant(const std::string& name) const;
  // The nodes that read a tensor. What graphs inside nodes read counts as read by the node, outputs of the model do not count.
  const std::vector<int>& readers(const std::string& tensor) const;
  int producer(const std::string& tensor) const;           // -1: none
  bool is_output(const std::string& tensor) const;

  // --- changes ---
  std::string fresh_name(const std::string& wish);         // no other tensor has it
  void set_constant(const std::string& name, Tensor value);
  void set_input(int node, size_t input, const std::string& tensor);
  void set_output(int node, size_t output, const std::string& tensor);
  void insert_before(int node, NewOnnxNode n);
  void remove(int node);
  // A further input of the model; a constant of that name is one no more.
  void add_input(const std::string& name, DType dtype, const std::vector<int64_t>& dims);
  void add_output(const std::string& tensor);
  // At least this opset of ONNX's own domain, nodes rewritten where operators have changed. Error kUnsupported naming the nodes
  // that have no equal under it.
  Status raise_opset(int version);
  void import_domain(const std::string& domain, int version);

  // --- results ---
  Result<std::unique_ptr<Module>> module(const ImportOptions& options = {}) const;
  // Weights go into one file beside it (`<path>.data`) where there is much of them, or where the model had some in files of its
  // own. Constants that nothing reads any more are left out. Files appear when they are complete. Error kResources when they cannot be written.
  Status save(const std::string& path) const;

 private:
  struct State;
  explicit EditableModel(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weft
