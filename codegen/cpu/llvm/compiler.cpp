// KernelSpec -> object file: emits one kernel, runs LLVM's scalar clean-up passes, and writes a position-independent
// ELF object. Objects may refer to memcpy, memmove and memset only; anything else is our bug and reported as such.
#include "codegen/cpu/llvm/emit.h"

#include <llvm/Analysis/TargetTransformInfo.h>
#include <llvm/IR/LegacyPassManager.h>
#include <llvm/IR/Verifier.h>
#include <llvm/MC/TargetRegistry.h>
#include <llvm/Passes/PassBuilder.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Support/raw_ostream.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/Transforms/InstCombine/InstCombine.h>
#include <llvm/Transforms/Scalar/EarlyCSE.h>
#include <llvm/Transforms/Scalar/GVN.h>
#include <llvm/Transforms/Scalar/LICM.h>
#include <llvm/Transforms/Scalar/LoopPassManager.h>
#include <llvm/Transforms/Scalar/LoopRotation.h>
#include <llvm/Transforms/Scalar/SROA.h>
#include <llvm/Transforms/Scalar/SimplifyCFG.h>

#include <mutex>

#include "ir/base/check.h"

namespace weft {

namespace {

std::unique_ptr<llvm::TargetMachine> target_machine(const Target& t, std::string* why) {
  static std::once_flag once;
  std::call_once(once, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });
  const char* triple = "x86_64-unknown-linux-gnu";
  const llvm::Target* target = llvm::TargetRegistry::lookupTarget(triple, *why);
  if (!target) return nullptr;
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Strict;  // only what the spec says
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(triple, t.llvm_cpu, t.llvm_features, options,
      llvm::Reloc::PIC_, llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
}

void optimise(llvm::Module& m, llvm::TargetMachine& tm) {
  llvm::LoopAnalysisManager lam;
  llvm::FunctionAnalysisManager fam;
  llvm::CGSCCAnalysisManager cam;
  llvm::ModuleAnalysisManager mam;
  llvm::PassBuilder pb(&tm);
  pb.registerModuleAnalyses(mam);
  pb.registerCGSCCAnalyses(cam);
  pb.registerFunctionAnalyses(fam);
  pb.registerLoopAnalyses(lam);
  pb.crossRegisterProxies(lam, fam, cam, mam);
  llvm::FunctionPassManager fpm;
  fpm.addPass(llvm::SROAPass(llvm::SROAOptions::ModifyCFG));
  fpm.addPass(llvm::EarlyCSEPass(true));
  fpm.addPass(llvm::SimplifyCFGPass());
  fpm.addPass(llvm::InstCombinePass());
  fpm.addPass(llvm::createFunctionToLoopPassAdaptor(llvm::LoopRotatePass()));
  llvm::LoopPassManager licm;
  licm.addPass(llvm::LICMPass(llvm::LICMOptions()));
  fpm.addPass(llvm::createFunctionToLoopPassAdaptor(std::move(licm), true));
  fpm.addPass(llvm::GVNPass());
  fpm.addPass(llvm::InstCombinePass());
  fpm.addPass(llvm::SimplifyCFGPass());
  for (llvm::Function& f : m)
    if (!f.isDeclaration()) fpm.run(f, fam);
}

class LlvmCompiler : public KernelCompiler {
 public:
  Result<KernelCode> compile(const KernelSpec& spec, const Target& target, const std::string& symbol, bool want_listing) override {
    std::string why;
    std::unique_ptr<llvm::TargetMachine> tm = target_machine(target, &why);
    if (!tm) return unsupported("LLVM has no code generator for " + target.to_string() + ": " + why);
    Emitter e(spec, target, symbol);
    e.module->setTargetTriple(tm->getTargetTriple().str());
    e.module->setDataLayout(tm->createDataLayout());
    if (spec.config.name == "loops") emit_loops(e);
    else if (spec.config.name == "attention") TRY(emit_attention(e));
    else TRY(emit_contraction(e));
    std::string text;
    llvm::raw_string_ostream os(text);
    if (llvm::verifyModule(*e.module, &os)) {
      os << "\n";
      e.module->print(os, nullptr);
      check_failed(__FILE__, __LINE__, ("malformed LLVM IR for kernel " + spec.title + ": " + text).c_str());
    }
    optimise(*e.module, *tm);
    KernelCode code;
    code.symbol = symbol;
    if (want_listing) {
      llvm::raw_string_ostream ls(code.listing);
      e.module->print(ls, nullptr);
    }
    llvm::SmallVector<char, 0> object;
    llvm::raw_svector_ostream out(object);
    llvm::legacy::PassManager pm;
    if (tm->addPassesToEmitFile(pm, out, nullptr, llvm::CodeGenFileType::ObjectFile))
      return unsupported("LLVM cannot write objects for " + target.to_string());
    pm.run(*e.module);
    code.object.assign(object.begin(), object.end());
    return code;
  }
};

}  // namespace

extern "C" __attribute__((visibility("default"))) KernelCompiler* weft_make_cpu_compiler() {
  static LlvmCompiler compiler;
  return &compiler;
}

}  // namespace weft
