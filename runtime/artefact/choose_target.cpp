#include "runtime/artefact/choose_target.h"

#include "ir/base/text.h"
#include "runtime/cuda/device.h"

namespace weft {

namespace {

int fitness(const Target& t, const CudaDevice* gpu) {
  constexpr int kGpu = 1000;  // more than any vector has bytes
  if (t.backend == Backend::cpu) return runs_here(t) ? 1 + t.vector_bytes : 0;
  const int f = t.backend == Backend::cuda && gpu ? gpu->fitness(t) : 0;
  return f > 0 ? kGpu + f : 0;
}

std::string needs(const Target& t) {
  if (t.backend == Backend::cpu) return "a processor with its instructions";
  if (t.backend != Backend::cuda) return "no kernels";
  const int major = t.gpu.sm / 10;
  const std::string from = std::to_string(major) + "." + std::to_string(t.gpu.sm % 10);
  const std::string versions = t.gpu.ptx ? from + " or later" : is_of_one_architecture(t) ? from + " alone" : from + " to " + std::to_string(major) + ".9";
  return "a GPU of compute capability " + versions;
}

bool is_wanted(const std::string& target, const std::string& wanted) {
  return wanted.empty() || target == wanted || target.starts_with(wanted + ":");
}

}  // namespace

Result<size_t> choose_target(const std::vector<std::string>& targets, const std::string& wanted, const CudaDevice* gpu) {
  int best = 0;
  size_t found = 0;
  std::vector<std::string> offered;
  for (size_t i = 0; i < targets.size(); ++i) {
    TRY_ASSIGN(const Target t, parse_target(targets[i]));
    offered.push_back(targets[i] + " (needs " + needs(t) + ")");
    const int f = is_wanted(targets[i], wanted) ? fitness(t, gpu) : 0;
    if (f <= best) continue;
    best = f;
    found = i;
  }
  if (best > 0) return found;
  const std::string here = gpu ? "this GPU (" + gpu->name + ") is of compute capability " + gpu->capability() : "there is no GPU here";
  Error e = unsupported("no code that runs here" + (wanted.empty() ? "" : " for target " + wanted) + ": it has " + join(offered, ", ") + "; " + here);
  const auto own = gpu ? gpu->target() : Result<Target>(Error());
  if (own.ok()) e.with_hint("compile the model again with --target " + own->to_string() + ", or cuda:compute_80 for every GPU from 8.0 on");
  else e.with_hint("compile the model again for a target that `weft doctor` names");
  return e;
}

}  // namespace weft
