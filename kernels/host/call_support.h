// What host calls share: checks of their operands and attributes.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "kernels/host/registry.h"

namespace weft {

inline Status operands(const HostCall& c, size_t inputs_min, size_t inputs_max, size_t outputs_min, size_t outputs_max) {
  bool fits = c.inputs.size() >= inputs_min && c.inputs.size() <= inputs_max && c.outputs.size() >= outputs_min && c.outputs.size() <= outputs_max;
  if (fits) return {};
  return invalid("a host call has " + std::to_string(c.inputs.size()) + " inputs and " + std::to_string(c.outputs.size()) + " outputs");
}
inline Status expect(bool holds, const char* what) { return holds ? Status{} : Status(invalid(std::string("a host call ") + what)); }

// A number of operands by an attribute; -1: not given.
inline Result<int> operand_number(const HostCall& c, const char* name, size_t count) {
  TRY_ASSIGN(int64_t i, c.integer(name, -1));
  if (i < -1 || i >= static_cast<int64_t>(count)) return invalid(std::string("a host call's operand ") + name + " does not exist");
  return static_cast<int>(i);
}
inline Result<int> axis_of(const HostCall& c, int rank, int64_t fallback) {
  TRY_ASSIGN(int64_t axis, c.integer("axis", fallback));
  if (axis < -rank || axis >= rank) return invalid("a host call has axis " + std::to_string(axis) + " of rank " + std::to_string(rank));
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

inline Result<double> scalar(const TensorView& v) {
  TRY(expect(v.numel() == 1, "wants a scalar"));
  double d = 0;
  int64_t i = 0;
  if (is_float(v.dtype)) {
    load_row_f64(v.dtype, v.data, &d, 1);
    return d;
  }
  TRY(expect(is_signed_int(v.dtype), "wants a number"));
  load_row_i64(v.dtype, v.data, &i, 1);
  return static_cast<double>(i);
}

// A dense i64 output with these elements.
inline Status store(HostCall& c, int output, std::span<const int64_t> dims, const std::vector<int64_t>& elements) {
  TRY(expect(c.outputs[output].dtype == DType::i64, "wants an output of type i64"));
  TRY(c.resize(output, dims));
  TRY(expect(c.outputs[output].contiguous(), "wants dense outputs"));
  if (!elements.empty()) std::memcpy(c.outputs[output].data, elements.data(), elements.size() * sizeof(int64_t));
  return {};
}

}  // namespace weft
