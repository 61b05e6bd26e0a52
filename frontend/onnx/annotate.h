// Writes how a model is shared out back as ONNX's multi-device annotations (annotations.cpp reads them).
#pragma once

#include "ir/core/module.h"

namespace weft {

// The model of one file, with a configuration of that name, into another file: nothing else of it changes, but that its IR version
// becomes 11 at least. Devices are the mesh's ranks. A configuration of the same name is replaced. External data stays where
// it lies, so both files must be in one folder. Error kUsage where they are not, kResources for a model of more than 2 GiB
// without its external data, or an output that cannot be written.
Status write_annotated(const std::string& model, const std::string& output, const std::string& configuration, const Given& given);

}  // namespace weft
