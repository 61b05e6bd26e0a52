// compile_to_file: a model for all targets of an artefact, their weights together.
#include <algorithm>
#include <set>

#include "frontend/api/compilation.h"
#include "frontend/api/target_choice.h"
#include "frontend/api/weight_forms.h"
#include "ir/base/text.h"
#include "runtime/artefact/artefact.h"

namespace weft::api {

namespace {

// Of a pipeline's stages each is a target of the file: they have one name, and their plans say which stage they are.
struct OneTarget {
  std::shared_ptr<Compilation> compilation;
  size_t stage = 0;
  FileWeights weights;
  std::optional<ArtefactTarget> before;  // whose kernels are taken
};

Result<ArtefactTarget> target_of(const Artefact& a, const std::string& name, size_t stage) {
  for (size_t i = 0; i < a.targets().size(); ++i)
    if (a.targets()[i] == name && stage-- == 0) return a.target(i, false);
  return usage(a.path() + " has no target " + name + "; it has " + join(a.targets(), ", "));
}

Result<std::vector<OneTarget>> lower_for(const std::string& model, const std::string& text, const CompileOptions& options, const Artefact* old) {
  CompileOptions o = options;
  o.target = text;
  if (text == "auto") {
    TRY_ASSIGN(const Target here, choose_target(text, options.device));
    o.target = here.backend == Backend::cpu ? "cpu" : here.to_string();
  }
  if (o.target == "cpu") o.target = "cpu:x86-64-v3";
  auto compilation = std::make_shared<Compilation>(o);
  Compilation& c = *compilation;
  TRY(c.load_file(model));
  TRY(c.apply_shapes());
  TRY(c.optimise());
  TRY(c.lower());
  std::vector<OneTarget> all(c.stages());
  for (size_t k = 0; k < all.size(); ++k) {
    OneTarget& out = all[k];
    out.compilation = compilation;
    out.stage = k;
    if (old) {
      TRY_ASSIGN(const Target now, c.target());
      TRY_ASSIGN(out.before, target_of(*old, now.to_string(), k));
    }
    out.weights.lowered = &c.lowered(k);
    TRY_ASSIGN(out.weights.constants, c.constants(k));
    find_forms(out.weights);
  }
  return all;
}

// The forms that the other artefact has.
Status forms_as_before(FileWeights& w, const ArtefactTarget& before) {
  TRY_ASSIGN(const Plan plan, parse_plan(before.plan));
  std::set<std::string> names;
  for (const PlanConstant& c : plan.constants) names.insert(c.name);
  for (WeightForm& f : w.forms) f.stored = names.count(f.name) != 0;
  return {};
}

Status prepare_weights(std::vector<OneTarget>& targets, ArtefactOptions::Prepared prepared) {
  std::vector<FileWeights*> all;
  for (OneTarget& t : targets) {
    all.push_back(&t.weights);
    if (t.before) TRY(forms_as_before(t.weights, *t.before));
    else if (prepared == ArtefactOptions::Prepared::none) t.weights.forms.clear();
  }
  const bool choose = !targets.front().before && prepared == ArtefactOptions::Prepared::fit;
  if (choose) leave_out_growing(all);
  for (OneTarget& t : targets) {
    Compilation& c = *t.compilation;
    TRY_ASSIGN(const Target target, c.target());
    Status s = make_forms(t.weights, c.kernel_options(target), c.reporter());
    if (s.ok()) continue;
    // What cannot be made here is made at load, as it would be without a file's forms.
    if (t.before || s.error().code == Code::kCancelled) return s;
    c.reporter().log(LogLevel::warning, "the weights of " + target.to_string() + " are prepared at load: " + s.error().message);
    t.weights.forms.clear();
  }
  if (choose) leave_out_growing(all);
  for (FileWeights* w : all) put_forms(*w);
  return {};
}

}  // namespace

Result<int64_t> compile_to_file(const std::string& model, const std::string& path, const std::vector<std::string>& given, const CompileOptions& options,
                                const ArtefactOptions& artefact) {
  ArtefactContent content;
  content.sign_key = artefact.sign_key;
  content.weights = static_cast<WeightsPlace>(artefact.weights);
  content.producer = std::string("weft ") + version();
  std::shared_ptr<const Artefact> old;
  std::vector<std::string> names = given;
  if (!artefact.refit.empty()) {
    TRY_ASSIGN(old, Artefact::open(artefact.refit));
    if (names.empty() || names == std::vector<std::string>{"auto"}) {
      names.clear();
      for (const std::string& name : old->targets())
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  if (names.empty()) return usage("there is no target to compile for");
  std::vector<OneTarget> targets;
  std::set<std::string> seen;
  for (const std::string& text : names) {
    TRY_ASSIGN(std::vector<OneTarget> stages, lower_for(model, text, options, old.get()));
    TRY_ASSIGN(const Target target, stages[0].compilation->target());
    if (!seen.insert(target.to_string()).second) return usage("target " + target.to_string() + " is named twice");
    targets.insert(targets.end(), std::make_move_iterator(stages.begin()), std::make_move_iterator(stages.end()));
  }
  TRY(prepare_weights(targets, artefact.prepared));
  for (OneTarget& t : targets) {
    Compilation& c = *t.compilation;
    std::vector<ConstantBytes>& constants = t.weights.constants;
    Result<ArtefactTarget> packed = t.before ? c.refit(t.stage, std::move(*t.before), std::move(constants)) : c.pack(t.stage, std::move(constants));
    TRY(packed);
    content.targets.push_back(std::move(*packed));
    content.metadata = c.module().metadata;
  }
  if (!options.precision.empty()) content.metadata["weft.precision"] = options.precision;
  if (options.deterministic != 0) content.metadata["weft.deterministic"] = std::to_string(options.deterministic);
  targets.front().compilation->reporter().progress("write", path);
  return write_artefact(path, content);
}

}  // namespace weft::api
