// Device tables: those that weft brings along, what is wrong with others, and what collectives take over tiers of links.
#include <gtest/gtest.h>

#include "frontend/api/device_tables.h"

namespace weft::device_table_test {
namespace {

const char* const kTable = R"({"schema": "weft.device-table/1", "device": "d", "source": "s", "flops_per_s": {"f32": 1e12, "f16": 4e12},
  "memory_bytes": 1e9, "memory_bytes_per_s": 1e11, "launch_s": 1e-6, "efficiency": {"link": 0.5},
  "links": [{"name": "near", "joins": 4, "start_s": 1e-6, "step_s": 1e-6, "bytes_per_s": [{"up_to_bytes": 1000, "rate": 1e9}, {"rate": 2e10}]},
            {"name": "far", "joins": 2, "start_s": 1e-5, "step_s": 1e-5, "bytes_per_s": 2e9}]})";

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), by);
}

TEST(DeviceTables, ThoseOfWeftAreWhole) {
  std::vector<std::string> names = api::device_table_names();
  EXPECT_EQ(names.size(), 8u);
  for (const std::string& name : names) {
    auto t = api::find_device_table(name);
    ASSERT_TRUE(t.ok()) << t.error().to_string();
    EXPECT_GE(t->devices(), 2) << name;
    for (size_t i = 1; i < t->tiers.size(); ++i) EXPECT_LT(t->tiers[i].rate(1e6), t->tiers[i - 1].rate(1e6)) << name;
  }
  EXPECT_EQ(api::find_device_table("a100-cluster")->devices(), 1024);
  EXPECT_EQ(api::find_device_table("h200x8-2hosts")->devices(), 16);
}

TEST(DeviceTables, AnErrorSaysWhere) {
  auto error_of = [](const std::string& text) {
    auto t = api::parse_device_table(text, "t.json");
    return t.ok() ? std::string("none") : t.error().message;
  };
  EXPECT_EQ(error_of(kTable), "none");
  EXPECT_EQ(error_of("{"), "t.json is not a JSON object");
  EXPECT_EQ(error_of(replaced(kTable, "table/1", "table/2")), "t.json: schema must be \"weft.device-table/1\"");
  EXPECT_EQ(error_of(replaced(kTable, "\"joins\": 2", "\"joins\": 0")), "t.json: links[1].joins must be a whole number from 1 to 65536");
  EXPECT_EQ(error_of(replaced(kTable, "\"joins\": 2", "\"joins\": 60000")), "t.json: links[1].joins must not make more than 65536 devices in all");
  EXPECT_EQ(error_of(replaced(kTable, "\"rate\": 2e10", "\"rate\": -1")), "t.json: links[0].bytes_per_s[1].rate must be a number above 0");
  EXPECT_EQ(error_of(replaced(kTable, "\"rate\": 1e9", "\"speed\": 1e9")), "t.json: links[0].bytes_per_s[0].rate must be a number above 0");
  EXPECT_EQ(error_of(replaced(kTable, "\"f32\": 1e12, ", "")), "t.json: flops_per_s.f32 must be a number above 0");
  EXPECT_EQ(error_of(replaced(kTable, "\"link\": 0.5", "\"links\": 0.5")), "t.json: efficiency.links is not known");
  EXPECT_EQ(error_of(replaced(kTable, "\"device\": \"d\"", "\"device\": 7")), "t.json: device must be a text");
  EXPECT_EQ(api::find_device_table("nowhere.json").error().code, Code::kUsage);
}

TEST(DeviceTables, TypesWithoutAFigureComputeAsWiderOnes) {
  DeviceTable t = *api::parse_device_table(kTable, "t.json");
  EXPECT_EQ(t.flops_of(DType::bf16), 4e12);
  EXPECT_EQ(t.flops_of(DType::i8), 4e12);
  EXPECT_EQ(t.flops_of(DType::f32, true), 1e12);
  EXPECT_EQ(t.flops_of(DType::f64), 1e12);
}

TEST(DeviceTables, CollectivesOverTiers) {
  DeviceTable t = *api::parse_device_table(kTable, "t.json");
  Mesh mesh = *parse_mesh("dp=2,tp=4");
  LinkGroup near(t, mesh, {"tp"}), far(t, mesh, {"dp"}), all(t, mesh, {"dp", "tp"});
  EXPECT_EQ(near.size(), 4);
  EXPECT_EQ(far.size(), 2);
  EXPECT_EQ(all.size(), 8);
  // Half of the listed rate; three quarters come from others.
  EXPECT_NEAR(near.all_gather(4e8), 3e-6 + 0.75 * 4e8 / 1e10, 1e-9);
  EXPECT_NEAR(far.all_gather(4e8), 2e-5 + 0.5 * 4e8 / 1e9, 1e-9);
  // What is summed is cut by 4 before it goes over the far link.
  EXPECT_NEAR(all.all_reduce(4e8), near.all_gather(4e8) * 2 + far.all_reduce(1e8), 1e-6);
  // Small messages are slower a byte.
  EXPECT_NEAR(near.all_gather(4000), 3e-6 + 3000 / 5e8, 1e-9);
  // A few bytes go to everyone at once.
  EXPECT_NEAR(near.all_reduce(4), 3e-6 + 12 / 5e8, 1e-9);
  // Four of seven others are far.
  EXPECT_NEAR(all.all_to_all(8e8), 3e-6 + 3e8 / 1e10 + 2e-5 + 4e8 / 1e9, 1e-6);
  // An axis may begin within a tier and go on in the next.
  Mesh wide = *parse_mesh("tp=8");
  EXPECT_NEAR(LinkGroup(t, wide, {"tp"}).all_reduce(4e8), all.all_reduce(4e8), 1e-9);
  EXPECT_EQ(LinkGroup(t, wide, {}).all_reduce(4e8), 0);
  // Six ranks over groups of four.
  EXPECT_EQ(LinkGroup(t, *parse_mesh("tp=6"), {"tp"}).size(), 6);
}

TEST(DeviceTables, ATargetHasOneOfItsOwn) {
  DeviceTable t = default_devices(*parse_target("cuda:h200"));
  EXPECT_NEAR(t.flops[DeviceTable::f16], 989e12, 60e12);
  EXPECT_NEAR(t.memory_rate, 4.8e12, 1e9);
  EXPECT_GE(t.devices(), 1024);
  EXPECT_LT(default_devices(*parse_target("cpu:x86-64-v3")).flops[DeviceTable::f32], 1e13);
}

}  // namespace
}  // namespace weft::device_table_test
