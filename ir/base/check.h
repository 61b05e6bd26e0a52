// CHECK stops the process on a broken invariant of ours. Never reachable by input: bad input is an Error.
#pragma once

namespace weft {

// Runs before the process stops on a CHECK that failed on this thread; the pass manager sets it to write a replay folder.
using CrashHook = void (*)(const char* text);
CrashHook set_crash_hook(CrashHook hook);

[[noreturn]] void check_failed(const char* file, int line, const char* what);

}  // namespace weft

#define CHECK(cond) \
  do {              \
    if (!(cond)) ::weft::check_failed(__FILE__, __LINE__, #cond); \
  } while (0)
#define UNREACHABLE() ::weft::check_failed(__FILE__, __LINE__, "unreachable")
