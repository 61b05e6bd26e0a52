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

// Each module's text once, under the targets that it was compiled for.
static Status print_modules(const Artefact& a) {
  std::vector<std::pair<std::string, std::vector<std::string>>> modules;
  for (size_t n = 0; n < a.targets().size(); ++n) {
    TRY_ASSIGN(ArtefactTarget t, a.target(n, false));
    auto it = std::find_if(modules.begin(), modules.end(), [&](auto& m) { return m.first == t.module; });
    if (it == modules.end()) modules.push_back({std::move(t.module), {t.target}});
    else it->second.push_back(t.target);
  }
  for (auto& [text, targets] : modules) {
    std::replace_if(text.begin(), text.end(), [](unsigned char c) { return (c < ' ' && c != '\n') || c == 0x7f; }, '?');  // of a terminal
    print("// " + join(targets, ", ") + "\n" + text);
  }
  return {};
}

Result<Mesh> mesh_of(const Artefact& a) {
  if (a.targets().empty()) return Mesh{};
  TRY_ASSIGN(const ArtefactTarget t, a.target(0, false));
  TRY_ASSIGN(Plan plan, parse_plan(t.plan));
  return std::move(plan.mesh);
}

Status inspect_artefact(Cli& cli, const std::string& path, bool check, bool module) {
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
  if (module) return print_modules(*artefact);
  TRY_ASSIGN(const Mesh mesh, mesh_of(*artefact));
  if (cli.json()) {
    Json j, sections = Json::array();
    j["file"] = path;
    j["format"] = kArtefactVersion;
    j["producer"] = artefact->producer();
    j["targets"] = artefact->targets();
    for (const auto& [axis, size] : mesh.axes) j["mesh"][axis] = size;
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
  if (mesh.size() > 1) text += "mesh: " + mesh.axes_text() + ", " + std::to_string(mesh.size()) + " ranks\n";
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

// A module's text as it lies in a folder of its own: weights refer to the artefact where it has them as the module does, else to
// the model's files beside it. missing: names of those that are in neither.
class ModuleText {
 public:
  ModuleText(const Artefact& a, std::string folder) : artefact_(a), folder_(std::move(folder)) {}

  Result<std::string> of(size_t number, const ArtefactTarget& t, const Plan& plan, std::vector<std::string>& missing) {
    TRY_ASSIGN(const auto sections, artefact_.weights_of(number));
    stored_.clear();
    for (size_t i = 0; i < sections.size() && i < plan.constants.size(); ++i)
      if (!is_subbyte(plan.constants[i].dtype) && sections[i].place != WeightsPlace::strip) stored_.emplace(plan.constants[i].hash.hex(), sections[i]);
    std::string out;
    for (size_t at = 0; at < t.module.size();) {
      const size_t end = std::min(t.module.find('\n', at), t.module.size() - 1) + 1;
      out += line(t.module.substr(at, end - at), missing);
      at = end;
    }
    return out;
  }

 private:
  // `const @name : type = hash "…"` or `const @name : type = file "…" offset n size n hash "…"`.
  std::string line(const std::string& l, std::vector<std::string>& missing) const {
    static constexpr std::string_view kConst = "const @", kHash = "hash \"", kFile = " = file \"";
    constexpr size_t kDigits = 32;
    const size_t hash = l.rfind(kHash), file = l.rfind(kFile);  // quotes within names are escaped
    if (!l.starts_with(kConst) || hash == std::string::npos || l.size() != hash + kHash.size() + kDigits + 2) return l;
    const std::string digits = l.substr(hash + kHash.size(), kDigits);
    if (auto it = stored_.find(digits); it != stored_.end()) {
      const Artefact::Section& s = it->second;
      const std::string where = s.place == WeightsPlace::external ? weights_file(artefact_.path()) : artefact_.path();
      return l.substr(0, file == std::string::npos ? hash : file + 3) + "file " + quote(from_folder(where)) + " offset " + std::to_string(s.offset) +
             " size " + std::to_string(s.bytes) + " hash \"" + digits + "\"\n";
    }
    if (file != std::string::npos) {
      const size_t name = file + kFile.size() - 1;
      const auto path = Lexer(std::string_view(l).substr(name)).quoted();
      const fs::path beside = path.ok() ? fs::path(artefact_.path()).parent_path() / *path : fs::path();
      std::error_code ec;
      if (path.ok() && fs::is_regular_file(beside, ec)) return l.substr(0, name) + quote(from_folder(beside.string())) + l.substr(name + quote(*path).size());
    }
    missing.push_back(l.substr(kConst.size(), l.find(" : ") - kConst.size()));
    return l;
  }
  std::string from_folder(const std::string& file) const {
    std::error_code ec;
    const fs::path relative = fs::relative(fs::absolute(file, ec), fs::absolute(folder_, ec), ec);
    return relative.empty() ? file : relative.string();
  }

  const Artefact& artefact_;
  std::string folder_;
  std::map<std::string, Artefact::Section> stored_;
};

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
  std::vector<std::string> missing;
  for (size_t n = 0; n < artefact->targets().size(); ++n) {
    TRY_ASSIGN(ArtefactTarget t, artefact->target(n, false));
    TRY_ASSIGN(const Target target, parse_target(t.target));
    std::string name = t.target;
    std::replace_if(name.begin(), name.end(), [](char c) { return c == ':' || c == '/' || c == '+'; }, '_');
    TRY_ASSIGN(const Plan plan, parse_plan(t.plan));
    const std::string folder = a.output + "/" + name + (plan.stage < 0 ? "" : ".stage" + std::to_string(plan.stage));
    TRY(make_folder(folder + "/kernels"));
    TRY(write_file(folder + "/model.wplan", t.plan));
    std::vector<std::string> without;
    TRY_ASSIGN(const std::string module, ModuleText(*artefact, folder).of(n, t, plan, without));
    TRY(write_file(folder + "/model.wir", module));
    files += 2;
    if (missing.empty()) missing = std::move(without);
    for (const PlanKernel& k : plan.kernels) {
      if (k.name.find('/') != std::string::npos) return invalid(a.model + ": a kernel's name is no file's: " + quote(k.name));
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
  if (!missing.empty())
    cli.log.info(std::to_string(missing.size()) + " weights, " + missing.front() + " first, are in the file only as its kernels read them: model.wir " +
                 "says where they are in the model's files, or their hash (weft compile --prepared none keeps weights as they are)");
  if (!cli.json()) return print("wrote " + std::to_string(files) + " files into " + a.output + "\n"), Status();
  Json j;
  j["model"] = a.model;
  j["folder"] = a.output;
  j["files"] = files;
  j["weights_elsewhere"] = missing;
  return cli.emit(j);
}

}  // namespace

void add_extract(Cli& cli) {
  auto a = std::make_shared<ExtractArgs>();
  Verb& v = add_verb(cli, "extract", "Write the modules, plans, kernels and CUDA sources of a compiled model (.weft) into a folder",
                     [&cli, a] { return extract(cli, *a); });
  v.positional("model", a->model, "a .weft file");
  v.text("-o,--output", a->output, "the folder; it is made if it is not there");
  v.epilog("\nExample:\n  weft extract model.weft -o parts/");
}

}  // namespace weft::cli
