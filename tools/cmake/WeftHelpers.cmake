# Functions of the build. Each says what it is for; CMakeLists.txt is the place to read what is built.

# weft_sources(VAR DIR… [EXCLUDE DIR…]): the .cpp files below the folders. New files are noticed at the next build.
function(weft_sources var)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "EXCLUDE")
  set(found)
  foreach(dir IN LISTS arg_UNPARSED_ARGUMENTS)
    file(GLOB_RECURSE files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*.cpp)
    list(APPEND found ${files})
  endforeach()
  foreach(dir IN LISTS arg_EXCLUDE)
    list(FILTER found EXCLUDE REGEX "^${CMAKE_SOURCE_DIR}/${dir}/")
  endforeach()
  set(${var} ${found} PARENT_SCOPE)
endfunction()

# weft_objects(TARGET DIR… [EXCLUDE DIR…] [HEADERS HEADER…]): the sources of the folders as an object library. Folders may
# be empty. The standard headers come precompiled; HEADERS, which most of the sources include, with them.
function(weft_objects target)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "EXCLUDE;HEADERS")
  weft_sources(sources ${arg_UNPARSED_ARGUMENTS} EXCLUDE ${arg_EXCLUDE})
  if(NOT sources)
    set(sources ${CMAKE_BINARY_DIR}/empty.cpp)
    if(NOT EXISTS ${sources})
      file(WRITE ${sources} "// Stands for a folder without sources.\n")
    endif()
  endif()
  add_library(${target} OBJECT ${sources})
  target_compile_definitions(${target} PRIVATE WEFT_VERSION="${PROJECT_VERSION}")
  if(arg_HEADERS)
    target_precompile_headers(${target} PRIVATE ${weft_std_headers} ${arg_HEADERS})
  else()
    weft_use_pch(${target})
  endif()
  weft_use_unity(${target})
endfunction()

# One precompiled header of standard headers for the libraries and the program.
function(weft_use_pch target)
  if(NOT TARGET weft_pch)
    file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/pch.cpp CONTENT "// Carries the precompiled header.\n")
    add_library(weft_pch OBJECT ${CMAKE_BINARY_DIR}/pch.cpp)
    target_precompile_headers(weft_pch PRIVATE ${weft_std_headers})
  endif()
  # An executable's objects would be compiled with -fPIE, which does not fit the header's -fPIC.
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
  target_precompile_headers(${target} REUSE_FROM weft_pch)
endfunction()
set(weft_std_headers <algorithm> <array> <bit> <charconv> <cmath> <cstddef> <cstdint> <cstdio> <cstring>
  <functional> <limits> <map> <memory> <numeric> <optional> <set> <span> <sstream> <string> <string_view> <tuple>
  <type_traits> <unordered_map> <unordered_set> <utility> <variant> <vector>)

# Four at once: the precompiled headers save most of the time already, and a touched file costs its whole batch.
# Sources of one library must therefore not define the same name in an unnamed namespace.
function(weft_use_unity target)
  if(WEFT_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE BATCH UNITY_BUILD_BATCH_SIZE 4)
    # Where a class that is defined in a source has a member out of that source's unnamed namespace, as it may.
    target_compile_options(${target} PRIVATE -Wno-subobject-linkage)
  endif()
endfunction()

# weft_library(TARGET OUTPUT_NAME EXPORT NAME OBJECTS TARGET… [PUBLIC TARGET…] LINK LIBRARY…): a shared library made
# of object libraries, installed and exported as weft::NAME. A target that names it gets its public headers.
function(weft_library target output_name)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "EXPORT" "OBJECTS;PUBLIC;LINK")
  add_library(${target} SHARED)
  add_library(weft::${arg_EXPORT} ALIAS ${target})
  # The objects come as sources, not as linked libraries: what they need stays inside.
  foreach(objects IN LISTS arg_OBJECTS)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${output_name} EXPORT_NAME ${arg_EXPORT} LINKER_LANGUAGE CXX
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  target_include_directories(${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_compile_features(${target} INTERFACE cxx_std_20)
  target_link_libraries(${target} PUBLIC ${arg_PUBLIC} PRIVATE ${arg_LINK})
  set_target_properties(${target} PROPERTIES INSTALL_RPATH $ORIGIN)
  install(TARGETS ${target} EXPORT weft-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

# From the folder of programs to that of libraries, in an install tree.
file(RELATIVE_PATH weft_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})

# weft_programs(DIR OUTPUT): every .cpp directly in the folder becomes a program in build/<preset>/OUTPUT; sources in
# sub-folders are shared by all of them. The targets are OUTPUT_<name>.
function(weft_programs dir output)
  file(GLOB mains CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*.cpp)
  file(GLOB_RECURSE shared CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*/*.cpp)
  foreach(main IN LISTS mains)
    get_filename_component(name ${main} NAME_WE)
    add_executable(${output}_${name} ${main} ${shared})
    set_target_properties(${output}_${name} PROPERTIES
      OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/${output} INSTALL_RPATH $ORIGIN/../lib)
    target_link_libraries(${output}_${name} PRIVATE weft weft_runtime Threads::Threads)
    foreach(optional PNG::PNG benchmark::benchmark) # --as-needed drops what a program does not use
      if(TARGET ${optional})
        target_link_libraries(${output}_${name} PRIVATE ${optional})
      endif()
    endforeach()
  endforeach()
endfunction()

# weft_embed_texts(TARGET NAME DIR EXTENSION): an object library that holds the text of every file below DIR with that
# extension as the array NAME, which ir/base/embedded_text.h declares.
function(weft_embed_texts target name dir extension)
  file(GLOB_RECURSE files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${dir}/*.${extension})
  list(SORT files)
  set(out ${CMAKE_BINARY_DIR}/${target}.cpp)
  # The list travels in a file: a command line has a length limit.
  file(CONFIGURE OUTPUT ${out}.list CONTENT "${files}" @ONLY)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DLIST=${out}.list -DROOT=${CMAKE_SOURCE_DIR}/${dir} -DOUT=${out}
            -P ${CMAKE_SOURCE_DIR}/tools/cmake/EmbedTexts.cmake
    DEPENDS ${files} ${out}.list ${CMAKE_SOURCE_DIR}/tools/cmake/EmbedTexts.cmake
    COMMENT "Embedding ${dir}/*.${extension}" VERBATIM)
  add_library(${target} OBJECT ${out})
endfunction()

# ccache, in the folder that tools/setup chose. The environment goes through `cmake -E env`, so that a plain `ninja`
# uses the same cache. Settings: what precompiled headers need; no absolute paths in the key, so that a second clone
# finds the first one's objects.
function(weft_use_ccache)
  find_program(CCACHE_PROGRAM ccache)
  if(NOT CCACHE_PROGRAM OR CMAKE_CXX_COMPILER_LAUNCHER)
    return()
  endif()
  set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1)
  if(CCACHE_DIR AND NOT DEFINED ENV{CCACHE_DIR})
    list(APPEND launcher CCACHE_DIR=${CCACHE_DIR})
  endif()
  set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher} ${CCACHE_PROGRAM} PARENT_SCOPE)
  # Without it, GCC's output after preprocessing does not name the precompiled header, and ccache gives up.
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
endfunction()

# mold or lld where present: the default linker takes seconds for what they do in tenths.
function(weft_use_quick_linker)
  foreach(linker mold lld)
    find_program(WEFT_LINKER_${linker} NAMES ${linker} ld.${linker})
    if(WEFT_LINKER_${linker})
      add_link_options(-fuse-ld=${linker})
      message(STATUS "Linker: ${linker}")
      return()
    endif()
  endforeach()
endfunction()
