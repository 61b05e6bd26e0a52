# Installs the build tree BUILD into a folder of its own, looks for paths that must not be in there, moves the folder
# elsewhere, and builds and runs tests/consumer against it.
set(work ${BUILD}/install-check)
file(REMOVE_RECURSE ${work})
set(run COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/first OUTPUT_QUIET ${run})
file(RENAME ${work}/first ${work}/moved) # an install tree may be moved as a whole

file(GLOB_RECURSE files ${work}/moved/*)
foreach(file IN LISTS files)
  foreach(path ${CACHE} ${BUILD} ${work}/first)
    execute_process(COMMAND grep -qF -- ${path} ${file} RESULT_VARIABLE absent)
    if(NOT absent)
      message(SEND_ERROR "${file} contains the path ${path}")
    endif()
  endforeach()
endforeach()

execute_process(COMMAND ${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE}/tests/consumer -B ${work}/consumer
  -DCMAKE_PREFIX_PATH=${work}/moved -DCMAKE_CXX_COMPILER=${COMPILER} -DCMAKE_BUILD_TYPE=Release -DPYTHON=${PYTHON} ${run})
execute_process(COMMAND ${CMAKE_COMMAND} --build ${work}/consumer ${run})
execute_process(COMMAND ${CMAKE_CTEST_COMMAND} --output-on-failure WORKING_DIRECTORY ${work}/consumer ${run})
