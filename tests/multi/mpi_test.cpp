// Ranks that mpirun starts. Skipped where weft was built without MPI.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/multi/forked.h"
#include "tests/multi/shell.h"

namespace weft::multi_test {
namespace {

using testing::HasSubstr;

class Mpi : public testing::Test {
  void SetUp() override {
    if (!has_mpi()) GTEST_SKIP() << "there is no MPI";
  }
};

TEST_F(Mpi, EveryCollective) {
  for (int n : {2, 3, 4}) {
    Outcome o = shell(kMpirun + "-n " + std::to_string(n) + " $RANK check");
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_THAT(o.text, HasSubstr("Open MPI of " + std::to_string(n) + " by mpi: all is well\n"));
  }
}

TEST_F(Mpi, OutOfStep) {
  Outcome o = shell(kMpirun + "-n 4 $RANK step:1");
  EXPECT_NE(o.code, 0);
  EXPECT_THAT(o.text, HasSubstr("out of step"));
  EXPECT_THAT(o.text, HasSubstr("last collectives of rank 1:\n    #1 all_reduce sum f32 12 bytes \"sum\" (not done)"));
}

TEST_F(Mpi, ALateRankIsNamedAndAbortIsHeard) {
  Outcome o = shell(kMpirun + "-n 3 $RANK late:2");
  EXPECT_NE(o.code, 0);
  EXPECT_THAT(o.text, HasSubstr("ms for rank 2"));
  o = shell(kMpirun + "-n 3 $RANK abort:1");
  EXPECT_NE(o.code, 0);
  EXPECT_THAT(o.text, HasSubstr("rank 1 failed: no memory"));
}

TEST_F(Mpi, DifferencesAreFoundBeforeAnythingRuns) {
  Outcome o = shell(kMpirun + "-n 2 $RANK mesh:1");
  EXPECT_NE(o.code, 0);
  EXPECT_THAT(o.text, HasSubstr("rank 0 has mesh=\"tp:2\", rank 1 has mesh=\"tp:1\""));
}

TEST_F(Mpi, AKilledRankEndsAll) {
  Outcome o = shell(kMpirun + "-n 4 $RANK kill:1");
  EXPECT_NE(o.code, 0);
  EXPECT_NE(o.code, 124) << o.text;
}

TEST(WithoutMpi, TheRendezvousSaysWhatIsMissing) {
  // The program and its libraries, without the plugin beside them.
  const std::string folder = fresh_folder();
  Outcome o = shell("cd '" + folder + "' && mkdir tests lib && cp '" WEFT_BUILD_DIR "/tests/multi' tests/ &&" +
                    " ln -s '" WEFT_BUILD_DIR "'/lib/libweft*.so.0 lib/ && OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 tests/multi --as-rank check");
  EXPECT_EQ(o.code, 4) << o.text;
  EXPECT_THAT(o.text, HasSubstr(folder + "/tests/../lib/libweft-mpi.so is not there"));
  EXPECT_THAT(o.text, HasSubstr("tcp://HOST:PORT"));
}

}  // namespace
}  // namespace weft::multi_test
