// Verbs about compiled models (.weft).
#pragma once

#include "ir/base/mesh.h"
#include "tools/weft/cli.h"

namespace weft {
class Artefact;
}

namespace weft::cli {

// The ranks that it was compiled for, all of its targets.
Result<Mesh> mesh_of(const Artefact& a);
// Its sections, and with `check` whether all hashes are right; with `module` the text of what was compiled, instead.
Status inspect_artefact(Cli& cli, const std::string& path, bool check, bool module);

}  // namespace weft::cli
