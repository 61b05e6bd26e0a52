// Whether a test program was started with --update: then what tests write down is written anew instead of compared.
#pragma once

#include <gtest/gtest.h>

#include <string>

namespace weft {

inline bool update_requested() {
  for (const std::string& arg : testing::internal::GetArgvs())
    if (arg == "--update") return true;
  return false;
}

}  // namespace weft
