// The public C++ API of weft: compiles ONNX models and runs them.
//
//   #include <weft/weft.h>
//   auto exe = weft::compile("model.onnx");                          // weft::Result<weft::Executable>
//   if (!exe.ok()) return fail(exe.error().to_string());
//   weft::Context ctx = exe->context();
//   auto out = ctx.run({{"x", weft::Tensor::view(data, {32, 3, 224, 224})}});
//
// Errors are values: Result<T> holds a T or an Error {code, message, node, tensor, hint}. Taking the value of a Result that
// holds an Error throws std::bad_variant_access; weft itself throws nothing.
// Programs that only run compiled models link weft::runtime and include <weft/executable.h>.
#pragma once

#include "weft/compile.h"
#include "weft/dlpack.h"
#include "weft/executable.h"
#include "weft/group.h"
#include "weft/quantize.h"
#include "weft/tensor.h"

namespace weft {

using api::compile;
using api::compile_to_file;
using api::CompileOptions;
using api::CompileStats;
using api::Context;
using api::Executable;
using api::Extent;
using api::Group;
using api::GroupOptions;
using api::LoadOptions;
using api::LogLevel;
using api::NamedTensor;
using api::NamedTensors;
using api::PortInfo;
using api::ProfileEvent;
using api::ProfileRow;
using api::Progress;
using api::RunOptions;
using api::StateInfo;
using api::Tensor;
using api::version;

}  // namespace weft
