// Verbs about compiled models (.weft).
#pragma once

#include "tools/weft/cli.h"

namespace weft::cli {

// Its sections, and with `check` whether all hashes are right; with `module` the text of what was compiled, instead.
Status inspect_artefact(Cli& cli, const std::string& path, bool check, bool module);

}  // namespace weft::cli
