// What an ONNX file says about itself, for `inspect`: facts that are gone once it is a Module. And which ONNX this is.
#pragma once

#include <map>
#include <string>

#include "frontend/onnx/import.h"

namespace weft {

struct OnnxFacts {
  int64_t ir_version = 0;
  std::string producer;                      // name and version
  std::map<std::string, int64_t> opsets;     // domain ("ai.onnx" for ONNX's own): version
  std::map<std::string, int64_t> operators;  // "Conv", "com.microsoft.Gelu": nodes, those in sub-graphs and functions too
  int64_t functions = 0;
};

// Errors as of import_onnx_file, under the same limits.
Result<OnnxFacts> describe_onnx_file(const std::string& path, const ImportLimits& limits = {});

// Of the libraries inside.
std::string onnx_version();      // "1.22.0"
std::string protobuf_version();  // "3.21.12"
int newest_opset();              // of ONNX's own domain

}  // namespace weft
