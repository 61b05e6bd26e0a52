// LoadedObject: machine code in memory, from an ELF relocatable object as LLVM's TargetMachine writes it. The same for
// code just compiled, out of the disk cache and out of an artefact: neither a JIT library nor a linker is needed.
//
// Accepted: x86-64 ELF64 little-endian ET_REL, position independent, whose only undefined symbols are memcpy, memmove and
// memset, with the relocations that LLVM emits for such code (kRelocations in the .cpp). Refused with kInvalidModel:
// anything else, namely data that stays writable, thread-local data, constructors, common symbols, indirect functions,
// other symbols or relocations, and every header, offset, size or index that does not hold. Refused with kUnsupported:
// objects for another processor. The bytes may be hostile and never crash the loader; *running* what they hold is as
// safe as their source.
//
// Memory is writable while it is filled and then either executable or read-only, never both. Unwind tables and notes are
// left out. Immutable afterwards, shareable between threads, unmapped by the destructor: a kernel must not be called
// after that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/result.h"

namespace weft {

// The ABI of every CPU kernel: tasks [task_begin, task_end) over typed pointers and the dims block.
using KernelFn = void (*)(void* const* ptrs, const int64_t* dims, int64_t task_begin, int64_t task_end, void* scratch);

class LoadedObject {
 public:
  // Error kInvalidModel, kUnsupported, or kResources when memory cannot be mapped or made executable. The bytes are
  // copied.
  static Result<std::shared_ptr<const LoadedObject>> load(std::span<const std::byte> object);
  ~LoadedObject();
  LoadedObject(const LoadedObject&) = delete;
  LoadedObject& operator=(const LoadedObject&) = delete;

  // A global or weak symbol's address, nullptr if there is none of this name.
  const void* symbol(std::string_view name) const;
  // The same, but nullptr also where the name is not a function in executable memory.
  KernelFn kernel(std::string_view name) const;
  std::vector<std::string> symbols() const;  // sorted
  size_t image_bytes() const { return image_bytes_; }

 private:
  friend class ObjectReader;
  struct Symbol {
    std::string name;
    const std::byte* address;
    bool function;
  };
  LoadedObject() = default;
  const Symbol* find(std::string_view name) const;

  std::byte* image_ = nullptr;
  size_t image_bytes_ = 0;
  std::vector<Symbol> symbols_;  // sorted by name
};

}  // namespace weft
