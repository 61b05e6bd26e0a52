// Device tables as users write them: JSON, "weft.device-table/1". docs/planning.md describes the fields.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ir/base/result.h"
#include "passes/shard/device_table.h"

namespace weft::api {

// One of the tables that weft brings along, by its name; else a file. Error kUsage where there is neither, and as below.
Result<DeviceTable> find_device_table(const std::string& name_or_file);
// Error kUsage: no JSON, or the place of what is wrong: "FILE: links[1].joins must be a whole number from 1 to 65536".
Result<DeviceTable> parse_device_table(std::string_view text, const std::string& file);
// Without a table: what the target's usually are, with the memory of the GPU of that number where it is such a one.
DeviceTable devices_here(const Target& target, int device);
// Of those that weft brings along.
std::vector<std::string> device_table_names();

}  // namespace weft::api
