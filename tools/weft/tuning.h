// --tune[=SECONDS]: measures configurations of kernels before the verb does its work, and writes them to --tuning.
#pragma once

#include "tools/weft/cli.h"
#include "tools/weft/inputs.h"

namespace weft::cli {

void add_tune_option(Verb& v, Cli& cli);
// Where it is asked for. Error kUsage without --tuning, for a .weft, and where SECONDS is no number.
Status tune_if_asked(Cli& cli, const std::string& model, const InputOptions& inputs);

}  // namespace weft::cli
