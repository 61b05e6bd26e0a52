# The tests: every folder of tests/ with .cpp files becomes one GoogleTest program, build/<preset>/tests/<folder>
# (target test_<folder>), whose tests carry the folder's name as label and prefix. tests/support is linked into all.
# What the programs may use as macros is in the list below.
enable_testing()
find_package(GTest CONFIG REQUIRED)
include(GoogleTest)

set(test_definitions
  WEFT_SOURCE_DIR="${CMAKE_SOURCE_DIR}"       # the repository
  WEFT_BUILD_DIR="${CMAKE_BINARY_DIR}"        # build/<preset>
  WEFT_BINARY="${CMAKE_BINARY_DIR}/weft"      # the program
  WEFT_ONNX_SRC="${WEFT_ONNX_SRC}"            # ONNX's source release: onnx/backend/test/data/{node,light,…}
  WEFT_MODELS_DIR="${WEFT_MODELS_DIR}"        # rapidocr/*.onnx, silero/*.onnx
  WEFT_ORACLE_PYTHON="${WEFT_ORACLE_PYTHON}") # an interpreter with onnxruntime, onnx and numpy

set(test_environment
  "WEFT_CACHE_DIR=${CMAKE_BINARY_DIR}/test-cache" # kernels compiled by tests stay out of the user's cache
  # Without intercept_tls_get_addr: it guesses the size of thread-local storage of libraries that were opened on demand (LLVM,
  # NVRTC) wrong, of which the leak checker dies.
  "ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:intercept_tls_get_addr=0"
  "UBSAN_OPTIONS=print_stacktrace=1"
  "TSAN_OPTIONS=halt_on_error=1")

# The tests of other folders than tests/cuda are about the processor, also where there is a GPU.
set(processor_environment ${test_environment} "CUDA_VISIBLE_DEVICES=-1")

# There, they find what `tools/setup --with-nvrtc` fetched.
if(WEFT_SETUP_CACHE AND EXISTS ${WEFT_SETUP_CACHE}/deps/nvrtc)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/test-cache/deps)
  file(CREATE_LINK ${WEFT_SETUP_CACHE}/deps/nvrtc ${CMAKE_BINARY_DIR}/test-cache/deps/nvrtc SYMBOLIC)
endif()

# The tests of a sanitizer build have names of their own, since tools/test runs them beside the release build's.
if(WEFT_SANITIZE)
  string(REGEX REPLACE "^([a-z])[a-z]*.*" "\\1san." test_prefix "${WEFT_SANITIZE}")
endif()

# GoogleTest's header costs a second in every file.
set(pch_source ${CMAKE_BINARY_DIR}/test_pch.cpp)
file(CONFIGURE OUTPUT ${pch_source} CONTENT "// Carries the precompiled header.\n")
add_library(weft_test_pch OBJECT EXCLUDE_FROM_ALL ${pch_source})
target_link_libraries(weft_test_pch PRIVATE GTest::gmock)
target_precompile_headers(weft_test_pch PRIVATE ${weft_std_headers} <gmock/gmock.h> <gtest/gtest.h>)

function(weft_test_target target)
  target_compile_definitions(${target} PRIVATE ${test_definitions})
  # Programs are compiled with the precompiled header's -fPIC instead of -fPIE.
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
  target_compile_options(${target} PRIVATE -fPIC)
  target_precompile_headers(${target} REUSE_FROM weft_test_pch)
  target_link_libraries(${target} PRIVATE GTest::gmock weft weft_runtime Threads::Threads)
endfunction()

weft_sources(support_sources tests/support)
if(support_sources)
  add_library(weft_test_support OBJECT ${support_sources})
  weft_test_target(weft_test_support)
endif()

# CUDA's headers, for the one test that compares our declarations with them.
find_path(WEFT_CUDA_INCLUDE cuda.h PATHS /usr/local/cuda/include /opt/cuda/include)
set(declarations ${CMAKE_SOURCE_DIR}/tests/unit/cuda_declarations_test.cpp)
set_source_files_properties(${declarations} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
if(WEFT_CUDA_INCLUDE)
  set_source_files_properties(${declarations} PROPERTIES COMPILE_OPTIONS "-isystem;${WEFT_CUDA_INCLUDE}")
endif()

file(GLOB test_folders RELATIVE ${CMAKE_SOURCE_DIR}/tests CONFIGURE_DEPENDS LIST_DIRECTORIES true
  ${CMAKE_SOURCE_DIR}/tests/*)
list(REMOVE_ITEM test_folders support consumer)
foreach(folder IN LISTS test_folders)
  if(WEFT_TEST_FOLDERS AND NOT folder IN_LIST WEFT_TEST_FOLDERS)
    continue()
  endif()
  weft_sources(sources tests/${folder})
  if(NOT sources)
    continue()
  endif()
  add_executable(test_${folder} ${sources})
  set_target_properties(test_${folder} PROPERTIES
    OUTPUT_NAME ${folder} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests INSTALL_RPATH $ORIGIN/../lib)
  weft_test_target(test_${folder})
  weft_use_unity(test_${folder})
  # gtest_main is an archive: a folder with a main() of its own does not get this one.
  target_link_libraries(test_${folder} PRIVATE GTest::gtest_main)
  if(TARGET weft_test_support)
    target_link_libraries(test_${folder} PRIVATE weft_test_support)
  endif()
  if(TARGET PNG::PNG)
    target_link_libraries(test_${folder} PRIVATE PNG::PNG)
  endif()
  # What tests start or open.
  foreach(needed weft_llvm weft_mpi weft_program examples_ocr)
    if(TARGET ${needed})
      add_dependencies(test_${folder} ${needed})
    endif()
  endforeach()
  set(environment "${processor_environment}")
  if(folder STREQUAL "cuda")
    set(environment "${test_environment}")
  endif()
  string(REPLACE ";" "\\;" environment "${environment}")  # or gtest_discover_tests takes the first one alone
  gtest_discover_tests(test_${folder} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120
    TEST_PREFIX "${test_prefix}${folder}."
    PROPERTIES LABELS ${folder} TIMEOUT 600 ENVIRONMENT "${environment}")
endforeach()
# The differential suite once more for GPUs: without one, its kernels are compiled.
if(TARGET test_backend)
  string(REPLACE ";" "\\;" environment "${test_environment}")
  gtest_discover_tests(test_backend DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120 EXTRA_ARGS --targets=cuda:sm_90a
    TEST_PREFIX "${test_prefix}cuda.backend." TEST_LIST cuda_backend_tests
    PROPERTIES LABELS cuda TIMEOUT 600 ENVIRONMENT "${environment}")
endif()

# Left out of the default run: the kernels of all of these and of every node case for each architecture. They run with
# `ctest -C all-archs -L all-archs`.
set(all_archs sm_75 sm_80 sm_86 sm_89 sm_90 sm_100a sm_120 compute_80)
set(parts 4)
foreach(isa IN LISTS all_archs)
  if(TARGET test_cuda)
    add_test(NAME ${test_prefix}all-archs.nodes.${isa} COMMAND test_cuda --gtest_filter=CudaNodeCases.* CONFIGURATIONS all-archs)
    set_tests_properties(${test_prefix}all-archs.nodes.${isa} PROPERTIES LABELS all-archs TIMEOUT 3600
      ENVIRONMENT "${test_environment};WEFT_NODE_CASES_FOR=${isa}")
  endif()
  if(NOT TARGET test_backend)
    continue()
  endif()
  foreach(part RANGE 1 ${parts})
    math(EXPR index "${part} - 1")
    set(name ${test_prefix}all-archs.backend.${isa}.${part})
    add_test(NAME ${name} COMMAND test_backend --targets=cuda:${isa} CONFIGURATIONS all-archs)
    set_tests_properties(${name} PROPERTIES LABELS all-archs TIMEOUT 3600
      ENVIRONMENT "${test_environment};GTEST_TOTAL_SHARDS=${parts};GTEST_SHARD_INDEX=${index}")
  endforeach()
endforeach()

# --- tests of the build itself ------------------------------------------------------------------------------------

if(CMAKE_BUILD_TYPE STREQUAL "Release") # debug information names folders, and sanitizers are libraries
  # What we ship depends on nothing that is not on this list.
  add_test(NAME rules.needed_libraries
    COMMAND ${CMAKE_COMMAND} -DDIR=${CMAKE_BINARY_DIR} -P ${CMAKE_SOURCE_DIR}/tools/cmake/CheckNeeded.cmake)
  # An installed weft serves a separate project, and names neither the clone nor the cache folder.
  add_test(NAME rules.install
    COMMAND ${CMAKE_COMMAND} -DBUILD=${CMAKE_BINARY_DIR} -DSOURCE=${CMAKE_SOURCE_DIR} -DCACHE=${WEFT_SETUP_CACHE}
            "-DGENERATOR=${CMAKE_GENERATOR}" -DCOMPILER=${CMAKE_CXX_COMPILER} -DPYTHON=${WEFT_ORACLE_PYTHON}
            -P ${CMAKE_SOURCE_DIR}/tools/cmake/CheckInstall.cmake)
  set_tests_properties(rules.needed_libraries rules.install PROPERTIES LABELS rules TIMEOUT 600
    ENVIRONMENT "${test_environment}")
endif()
