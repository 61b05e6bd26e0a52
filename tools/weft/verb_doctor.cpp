// weft doctor: what is there on this machine, what is not, and how to get it.
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "codegen/backend.h"
#include "codegen/cuda/nvrtc.h"
#include "frontend/api/target_choice.h"
#include "frontend/onnx/describe.h"
#include "ir/base/text.h"
#include "runtime/cache/disk_cache.h"
#include "runtime/comm/mpi.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/measure.h"
#include "runtime/cuda/nccl.h"
#include "tools/weft/cli.h"
#include "tools/weft/topology.h"

namespace weft::cli {

namespace {

struct Finding {
  std::string key, what;   // of the JSON, of the table
  bool ok = true;
  std::string value, fix;  // fix: a command or advice where something is missing
};

std::string cpu_model() {
  std::ifstream f("/proc/cpuinfo");
  for (std::string line; std::getline(f, line);)
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  utsname u{};
  return uname(&u) == 0 ? u.machine : "unknown";
}

int64_t memory_kib(const std::string& key) {
  std::ifstream f("/proc/meminfo");
  for (std::string line; std::getline(f, line);)
    if (line.rfind(key + ":", 0) == 0) return std::strtoll(line.c_str() + key.size() + 1, nullptr, 10);
  return 0;
}

Finding find_target() {
  Result<Target> t = parse_target("cpu");
  if (!t.ok()) return {"target", "target", false, t.error().message, t.error().hint};
  return {"target", "target", true, t->to_string() + ", vectors of " + std::to_string(t->vector_bytes) + " bytes", ""};
}

Finding find_choice() {
  Result<Target> t = api::choose_target("auto", 0);
  if (!t.ok()) return {"auto", "chosen without --target", false, t.error().message, t.error().hint};
  return {"auto", "chosen without --target", true, t->to_string(), ""};
}

Finding find_levels() {
  std::string levels;
  for (const char* name : {"x86-64-v2", "x86-64-v3", "x86-64-v4", "armv8-a"}) {
    Result<Target> t = parse_target(std::string("cpu:") + name);
    if (t.ok() && runs_here(*t)) levels += (levels.empty() ? "cpu:" : ", cpu:") + std::string(name);
  }
  return {"levels", "levels that run here", !levels.empty(), levels.empty() ? "none" : levels,
          levels.empty() ? "compile for another machine with --target" : ""};
}

Finding find_cache(const std::string& given) {
  Finding f{"cache", "kernel cache", false, "", "set WEFT_CACHE_DIR to a folder that only you may write to"};
  Result<std::string> folder = given.empty() ? default_cache_folder() : given;
  if (!folder.ok()) return f.value = folder.error().message, f;
  Result<DiskCache> cache = DiskCache::open(*folder, "kernels");
  if (!cache.ok()) return f.value = cache.error().message, f;
  Result<CacheStats> stats = cache->stat();
  if (!stats.ok()) return f.value = stats.error().message, f;
  f.ok = true;
  f.fix.clear();
  f.value = cache->folder() + ": " + std::to_string(stats->entries) + " kernels, " + human_bytes(static_cast<double>(stats->bytes));
  return f;
}

// Opens it as a compilation would; nothing else in this program does.
Finding find_compiler() {
  Finding f{"llvm", "LLVM code generator", true, cpu_compiler_path(), ""};
  Result<KernelCompiler*> c = cpu_compiler();
  if (c.ok()) return f;
  f.ok = false;
  f.value = c.error().message;
  f.fix = c.error().hint;
  return f;
}

Finding absent(const char* key, const char* what, const Error& e) { return {key, what, false, e.message, e.hint}; }

std::string number_of(const char* format, double v) {
  char text[64];
  std::snprintf(text, sizeof text, format, v);
  return text;
}

std::string measured(const CudaDevice& d) {
  const auto r = measure_copies(d.ordinal);
  if (!r.ok()) return "; not measured: " + r.error().message;
  return number_of("; measured: from the host %.1f, ", r->to_device * 1e-9) + number_of("to it %.1f, ", r->from_device * 1e-9) +
         number_of("copies %.0f GB/s", r->on_device * 1e-9);
}

// The driver, a line for each device, and what connects them.
void find_cuda(std::vector<Finding>& out, bool measure) {
  auto driver = cuda_driver();
  if (!driver.ok()) return out.push_back(absent("cuda", "CUDA driver", driver.error()));
  out.push_back({"cuda", "CUDA driver", true, "for CUDA " + (*driver)->version_text() + " (" + (*driver)->path + ")", ""});
  auto devices = cuda_devices();
  if (!devices.ok()) return out.push_back(absent("gpu", "GPU", devices.error()));
  for (const CudaDevice& d : *devices) {
    Finding f{"gpu" + std::to_string(d.ordinal), "GPU " + std::to_string(d.ordinal), true, d.name, ""};
    f.value += ", " + d.isa() + ", " + std::to_string(d.multiprocessors) + " multiprocessors at " + number_of("%.2f GHz, ", d.clock_khz * 1e-6) +
               human_bytes(static_cast<double>(d.memory_bytes)) + number_of(" at %.0f GB/s, ", d.memory_rate() * 1e-9) +
               human_bytes(static_cast<double>(d.l2_bytes)) + " L2" + (d.pci.empty() ? "" : ", " + d.pci);
    if (measure) f.value += measured(d);
    out.push_back(std::move(f));
  }
  const Topology t = find_topology(*devices);
  for (size_t i = 0; i < t.names.size(); ++i) {
    std::vector<std::string> links;
    for (size_t j = 0; j < t.names.size(); ++j) {
      if (i == j) continue;
      std::string rate;
      if (measure && std::max(i, j) < devices->size()) {
        const auto r = measure_peer_copy((*devices)[i].ordinal, (*devices)[j].ordinal);
        rate = r.ok() ? number_of(" %.0f GB/s", *r * 1e-9) : " (" + r.error().message + ")";
      }
      links.push_back(t.names[j] + " " + t.links[i][j] + rate);
    }
    if (!links.empty()) out.push_back({"links_" + t.names[i], "links of " + t.names[i], true, join(links, ", "), ""});
  }
}

Finding find_nvrtc() {
  auto n = nvrtc();
  if (!n.ok()) return absent("nvrtc", "NVRTC", n.error());
  std::string value = std::to_string((*n)->major) + "." + std::to_string((*n)->minor) + " (" + (*n)->path + ")";
  if (!(*n)->archs.empty()) value += ", sm_" + std::to_string((*n)->archs.front()) + " to sm_" + std::to_string((*n)->archs.back());
  return {"nvrtc", "NVRTC", true, value, ""};
}

Finding find_nccl() {
  auto n = nccl();
  if (!n.ok()) return absent("nccl", "NCCL", n.error());
  return {"nccl", "NCCL", true, (*n)->version_text() + " (" + (*n)->path + ")", ""};
}

std::vector<Finding> examine(const std::string& cache_dir, bool measure) {
  std::vector<Finding> out;
  out.push_back({"weft", "weft", true, api::version(), ""});
  out.push_back({"cpu", "processor", true,
                 cpu_model() + ", " + std::to_string(usable_cores()) + " of " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " processors usable",
                 ""});
  out.push_back(find_target());
  out.push_back(find_levels());
  out.push_back(find_choice());
  out.push_back({"memory", "memory", true,
                 human_bytes(static_cast<double>(memory_kib("MemAvailable")) * 1024) + " available of " +
                     human_bytes(static_cast<double>(memory_kib("MemTotal")) * 1024),
                 ""});
  out.push_back(find_compiler());
  out.push_back(find_cache(cache_dir));
  out.push_back({"onnx", "ONNX", true, onnx_version() + ", opsets up to " + std::to_string(newest_opset()), ""});
  out.push_back({"protobuf", "protobuf", true, protobuf_version(), ""});
  find_cuda(out, measure);
  out.push_back(find_nvrtc());
  out.push_back(find_nccl());
  auto mpi = mpi_library();
  out.push_back(mpi.ok() ? Finding{"mpi", "MPI", true, *mpi, ""} : absent("mpi", "MPI", mpi.error()));
  return out;
}

Status run_doctor(Cli& cli, bool measure) {
  std::vector<Finding> findings = examine(cli.common.compile.cache_dir, measure);
  if (cli.json()) {
    Json j;
    for (const Finding& f : findings) {
      j["findings"][f.key]["ok"] = f.ok;
      j["findings"][f.key]["value"] = f.value;
      if (!f.fix.empty()) j["findings"][f.key]["fix"] = f.fix;
    }
    return cli.emit(j);
  }
  std::string text;
  for (const Finding& f : findings) {
    std::string head = f.what + std::string(f.what.size() < 24 ? 24 - f.what.size() : 1, ' ');
    text += head + (f.ok ? "" : "missing: ") + f.value + "\n";
    if (!f.fix.empty()) text.append(24, ' ').append("→ ").append(f.fix).append("\n");
  }
  print(text);
  return {};
}

}  // namespace

void add_doctor(Cli& cli) {
  auto measure = std::make_shared<bool>(false);
  Verb& v = add_verb(cli, "doctor", "Show what is present and absent on this machine", [&cli, measure] { return run_doctor(cli, *measure); });
  v.flag("--measure", *measure, "also measure how fast bytes move to, from, on and between GPUs");
  v.text("--cache-dir", cli.common.compile.cache_dir, "default: $WEFT_CACHE_DIR, else ~/.cache/weft");
}

}  // namespace weft::cli
