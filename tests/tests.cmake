# Every tests/unit/test_*.c is one program. Those named test_uv_* run on the real ports; those in tests/sim run whole
# nodes on the simulated ones; the rest is pure and links no port at all.
enable_testing()

function(shoal_test source library)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ${library} PkgConfig::CMOCKA shoal_options)
  target_compile_definitions(${name} PRIVATE TEST_DATA="${CMAKE_CURRENT_SOURCE_DIR}/tests/unit/data")
  add_test(NAME ${name} COMMAND ${name})
endfunction()

file(GLOB unit_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/tests/unit/test_*.c)
foreach(source ${unit_tests})
  if(source MATCHES "/test_uv_")
    shoal_test(${source} shoal_uv)
  else()
    shoal_test(${source} shoal_node)
  endif()
endforeach()

file(GLOB sim_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/tests/sim/test_*.c)
foreach(source ${sim_tests})
  shoal_test(${source} shoal_simnet)
endforeach()

if(SHOAL_FUZZ)
  file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
  foreach(source ${fuzzers})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE shoal_node shoal_options)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  endforeach()
endif()

# Programs that measure; built with the rest so that they keep compiling, run by hand.
file(GLOB benches CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/tests/bench/bench_*.c)
foreach(source ${benches})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE shoal_uv shoal_options)
endforeach()
