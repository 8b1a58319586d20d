# Every tests/unit/test_*.c is one program. Those named test_uv_* run on the real ports; those in tests/sim run whole
# nodes on the simulated ones; the rest is pure and links no port at all. tests/run.sh runs everything by its labels:
#   unit, sim, lint    what the name says; seeds: the many seeded runs of shoal-simnet
#   e2e                real nodes, as processes; slow: too long to be run again under a sanitizer
#   threads            has threads: run under the thread sanitizer too
enable_testing()
set(tests ${CMAKE_CURRENT_SOURCE_DIR}/tests)
# What has threads, and nothing else, so that the thread sanitizer's build stays small.
add_custom_target(threaded)

function(shoal_test source library)
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ${library} PkgConfig::CMOCKA shoal_options)
  target_compile_definitions(${name} PRIVATE TEST_DATA="${tests}/unit/data")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARGN}" TIMEOUT 120)
  if("threads" IN_LIST ARGN)
    add_dependencies(threaded ${name})
  endif()
endfunction()

file(GLOB unit_tests CONFIGURE_DEPENDS ${tests}/unit/test_*.c)
foreach(source ${unit_tests})
  if(source MATCHES "/test_uv_")
    shoal_test(${source} shoal_uv unit threads)
  else()
    shoal_test(${source} shoal_node unit)
  endif()
endforeach()

file(GLOB sim_tests CONFIGURE_DEPENDS ${tests}/sim/test_*.c)
foreach(source ${sim_tests})
  shoal_test(${source} shoal_simnet sim)
endforeach()

# Seeded runs of whole swarms, in as many tests as make good use of the processors; each takes its share of the seeds.
if(TARGET shoal-simnet)
  set(seed_tests 8)
  foreach(part RANGE 1 ${seed_tests})
    add_test(NAME sim_seeds_${part}
             COMMAND sh ${tests}/sim/seeds.sh $<TARGET_FILE:shoal-simnet> ${part} ${seed_tests})
    set_tests_properties(sim_seeds_${part} PROPERTIES LABELS "sim;seeds" TIMEOUT 600)
  endforeach()
  # Some of the mutations that a scenario notices at once; all of them are tried by hand, see tests/README.md.
  if(CMAKE_GENERATOR STREQUAL "Ninja")
    add_test(NAME sim_mutate COMMAND sh ${tests}/sim/mutate.sh --seeds 1 --limit 1
             --only vote-forgotten,leader-counts-unsynced,commit-unverified ${CMAKE_BINARY_DIR})
    set_tests_properties(sim_mutate PROPERTIES LABELS sim TIMEOUT 300)
  endif()
endif()

# Every scenario, from a few seeds.
if(TARGET shoal-simnet)
  add_test(NAME sim_scenarios COMMAND shoal-simnet --scenarios --seeds 1..4)
  set_tests_properties(sim_scenarios PROPERTIES LABELS sim TIMEOUT 600)
endif()

# Each script gets the program as $SHOAL, and beside it the programs of the same folder: peers that misbehave. They time
# things, so each has the machine to itself.
if(TARGET shoal)
  add_dependencies(threaded shoal)
  file(GLOB e2e_tools CONFIGURE_DEPENDS ${tests}/e2e/*.c)
  foreach(source ${e2e_tools})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE shoal_cli shoal_options)
    add_dependencies(threaded ${name})
  endforeach()
  target_link_libraries(check_history PRIVATE shoal_simnet)
  file(GLOB e2e_tests CONFIGURE_DEPENDS ${tests}/e2e/test_*.sh)
  foreach(script ${e2e_tests})
    get_filename_component(name ${script} NAME_WE)
    string(REGEX REPLACE "^test_" "e2e_" name ${name})
    add_test(NAME ${name} COMMAND sh ${script})
    set(labels e2e)
    if(name MATCHES "^e2e_slow_")
      list(APPEND labels slow)
    endif()
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT 600 RUN_SERIAL ON SKIP_RETURN_CODE 77
                         ENVIRONMENT "SHOAL=$<TARGET_FILE:shoal>;SANITIZE=${SHOAL_SANITIZE}")
  endforeach()
endif()

if(SHOAL_FUZZ)
  add_custom_target(fuzzers)
  file(GLOB fuzzers CONFIGURE_DEPENDS ${tests}/fuzz/fuzz_*.c)
  foreach(source ${fuzzers})
    get_filename_component(name ${source} NAME_WE)
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE shoal_node shoal_options)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers ${name})
  endforeach()
endif()

# Programs that measure, run by hand; a moment of each shows that they still can.
file(GLOB benches CONFIGURE_DEPENDS ${tests}/bench/bench_*.c)
foreach(source ${benches})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE shoal_uv shoal_options)
endforeach()
if(NOT SHOAL_SANITIZE AND NOT SHOAL_FUZZ)
  add_test(NAME bench_raft COMMAND bench_raft --seconds 0.01)
  add_test(NAME bench_session COMMAND bench_session --seconds 0.01)
  add_test(NAME bench_store COMMAND sh ${tests}/bench/in_scratch.sh $<TARGET_FILE:bench_store> --seconds 0.05)
  set_tests_properties(bench_raft bench_session bench_store PROPERTIES LABELS unit TIMEOUT 120)
endif()

# Once is enough, and sanitizers add symbols of their own.
if(NOT SHOAL_SANITIZE AND NOT SHOAL_FUZZ)
  foreach(rule format sizes banned includes)
    add_test(NAME lint_${rule} COMMAND sh ${tests}/lint/${rule}.sh ${CMAKE_CURRENT_SOURCE_DIR})
  endforeach()
  add_test(NAME lint_globals COMMAND sh ${tests}/lint/globals.sh ${CMAKE_BINARY_DIR})
  add_test(NAME lint_selftest COMMAND sh ${tests}/lint/selftest.sh)
  add_test(NAME lint_tidy COMMAND sh ${tests}/lint/tidy.sh ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  set_tests_properties(lint_format lint_sizes lint_banned lint_includes lint_globals lint_selftest lint_tidy
                       PROPERTIES LABELS lint TIMEOUT 600)
  # It keeps every processor busy by itself.
  set_tests_properties(lint_tidy PROPERTIES PROCESSORS 2)
endif()
