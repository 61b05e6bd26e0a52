// What a compiled model (.weft) is made of: weft inspect model.weft, weft extract.
#include <algorithm>
#include <filesystem>

#include "codegen/cuda/emit.h"
#include "ir/base/text.h"
#include "runtime/artefact/artefact.h"
#include "runtime/cpu/thread_pool.h"
#include "runtime/cuda/driver.h"
#include "tools/weft/artefact.h"
#include "tools/weft/npy.h"

namespace weft::cli {

namespace fs = std::filesystem;

static const char* place_name(WeightsPlace p) {
  return p == WeightsPlace::embed ? "embedded" : p == WeightsPlace::external ? "beside the file" : "stripped";
}

Status inspect_artefact(Cli& cli, const std::string& path, bool check) {
  TRY_ASSIGN(auto artefact, Artefact::open(path));
  if (check) {
    TRY_ASSIGN(auto pool, ThreadPool::create(cli.common.compile.threads));
    TRY(artefact->check(pool.get()));
  }
  std::optional<PublicKey> key;
  if (!cli.common.verify_key.empty()) {
    TRY_ASSIGN(key, read_public_key(cli.common.verify_key));
  }
  const bool verify = key || cli.common.require_signature;
  if (verify) TRY(artefact->check_signature(key));
  if (cli.json()) {
    Json j, sections = Json::array();
    j["file"] = path;
    j["format"] = kArtefactVersion;
    j["producer"] = artefact->producer();
    j["targets"] = artefact->targets();
    for (const Artefact::Section& s : artefact->sections()) {
      Json one;
      one["kind"] = artefact_section_name(s.kind);
      one["place"] = place_name(s.place);
      one["target"] = s.target;
      one["number"] = s.number;
      one["offset"] = s.offset;
      one["bytes"] = s.bytes;
      one["hash"] = s.hash.hex();
      sections.push_back(one);
    }
    j["sections"] = sections;
    j["checked"] = check;
    if (artefact->signer()) j["signed_by"] = key_text(*artefact->signer());
    j["signature_checked"] = verify;
    return cli.emit(j);
  }
  std::string text = path + ": compiled by " + artefact->producer() + ", format " + std::to_string(kArtefactVersion) + "\n";
  std::vector<std::vector<std::string>> rows;
  std::map<ArtefactSection, std::pair<int, uint64_t>> kinds;
  for (const Artefact::Section& s : artefact->sections()) {
    const bool of_target = s.kind == ArtefactSection::target || s.kind == ArtefactSection::plan;
    const std::string place = s.place == WeightsPlace::embed ? "" : std::string(", ") + place_name(s.place);
    rows.push_back({artefact_section_name(s.kind) + place, of_target ? artefact->targets()[std::min<size_t>(s.target, artefact->targets().size() - 1)] : "",
                    std::to_string(s.number), std::to_string(s.offset), human_bytes(static_cast<double>(s.bytes)), s.hash.hex()});
    auto& [count, bytes] = kinds[s.kind];
    ++count;
    bytes += s.bytes;
  }
  text += "targets: " + join(artefact->targets(), ", ") + "\n";
  for (size_t n = 0; n < artefact->targets().size(); ++n) {
    TRY_ASSIGN(const ArtefactTarget t, artefact->target(n, false));
    if (!t.compiler.empty())
      text += t.target + ": by " + t.compiler + ", for drivers of CUDA " + cu::version_text(t.least_driver) + " and later\n";
  }
  for (const auto& [kind, n] : kinds)
    text += std::string(artefact_section_name(kind)) + ": " + std::to_string(n.first) + ", " + human_bytes(static_cast<double>(n.second)) + "\n";
  text += "\n" + table({"section", "target", "number", "offset", "size", "hash"}, rows, {1, 5});
  for (const auto& [key, value] : artefact->metadata()) text += key + " = " + shorten(quote(value), 160) + "\n";
  if (artefact->signer())
    text += "signed with the key " + key_text(*artefact->signer()) + (verify ? ": the signature is right" : " (not checked: see --verify-key)") + "\n";
  if (check) text += "all hashes are right\n";
  print(text);
  return {};
}

namespace {

struct ExtractArgs {
  std::string model, output;
};

Status make_folder(const std::string& folder) {
  std::error_code ec;
  fs::create_directories(folder, ec);
  if (ec) return resources("cannot make the folder " + folder + ": " + ec.message());
  return {};
}

Status extract(Cli& cli, const ExtractArgs& a) {
  if (a.output.empty()) return usage("a folder to write into is missing: -o FOLDER");
  TRY_ASSIGN(auto artefact, Artefact::open(a.model));
  int files = 0;
  for (size_t n = 0; n < artefact->targets().size(); ++n) {
    TRY_ASSIGN(ArtefactTarget t, artefact->target(n, false));
    std::string name = t.target;
    std::replace_if(name.begin(), name.end(), [](char c) { return c == ':' || c == '/' || c == '+'; }, '_');
    const std::string folder = a.output + "/" + name;
    TRY(make_folder(folder + "/kernels"));
    TRY(write_file(folder + "/model.wplan", t.plan));
    ++files;
    TRY_ASSIGN(const Plan plan, parse_plan(t.plan));
    TRY_ASSIGN(const Target target, parse_target(t.target));
    for (const PlanKernel& k : plan.kernels) {
      if (k.object < 0 || static_cast<size_t>(k.object) >= t.kernels.size()) return invalid(a.model + ": there is no code of kernel " + name_text(k.name));
      const ArtefactKernel& kernel = t.kernels[static_cast<size_t>(k.object)];
      const std::string stem = folder + "/kernels/" + k.name;
      TRY(write_file(stem + ".wkernel", kernel.spec));
      TRY(write_file(stem + (target.backend == Backend::cuda ? ".cubin" : ".o"), kernel.code));
      files += 2;
      if (target.backend != Backend::cuda) continue;
      TRY_ASSIGN(const KernelSpec spec, parse_spec(kernel.spec));
      TRY(write_file(stem + ".cu", cuda_source(spec, target, k.name)));
      ++files;
    }
  }
  if (!cli.json()) return print("wrote " + std::to_string(files) + " files into " + a.output + "\n"), Status();
  Json j;
  j["model"] = a.model;
  j["folder"] = a.output;
  j["files"] = files;
  return cli.emit(j);
}

}  // namespace

void add_extract(Cli& cli) {
  auto a = std::make_shared<ExtractArgs>();
  Verb& v = add_verb(cli, "extract", "Write the plans, kernels and CUDA sources of a compiled model (.weft) into a folder",
                     [&cli, a] { return extract(cli, *a); });
  v.positional("model", a->model, "a .weft file");
  v.text("-o,--output", a->output, "the folder; it is made if it is not there");
  v.epilog("\nExample:\n  weft extract model.weft -o parts/");
}

}  // namespace weft::cli
