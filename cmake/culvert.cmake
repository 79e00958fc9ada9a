# One place for the language level, warnings, sanitizers and test labels.
#
#   culvert_library(NAME SOURCES ... USES ... LINKS ...)   a folder of lib/: target NAME
#   culvert_program(NAME SOURCES ... USES ... LINKS ...)   NAME_core (all but main.cpp) and the executable NAME
#   culvert_test(NAME SOURCES ... USES ... [LABELS ...] [TIMEOUT seconds] [SERIAL])   a Catch2 binary, one CTest entry
#
# USES are our own targets, LINKS are libraries from packages.

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 17)
find_package(PkgConfig REQUIRED)
find_program(CULVERT_CCACHE ccache)
if(CULVERT_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${CULVERT_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CULVERT_CCACHE})
endif()

set(CULVERT_SANITIZE "" CACHE STRING "sanitizers, comma separated")
option(CULVERT_LIBFUZZER "fuzz targets link libFuzzer instead of replaying their corpus" OFF)

# Line tables only: a third of the object size of full debug information, and stacks still name file and line.
set(CMAKE_CXX_FLAGS_SANITIZED "-O1 -gline-tables-only -fno-omit-frame-pointer -D_GLIBCXX_ASSERTIONS")
set(CMAKE_C_FLAGS_SANITIZED "-O1 -gline-tables-only -fno-omit-frame-pointer")
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -gline-tables-only -march=x86-64-v3")
if(NOT CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  set(CMAKE_CXX_FLAGS_RELEASE "-O2 -gline-tables-only")
endif()

add_library(culvert_flags INTERFACE)
target_include_directories(culvert_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(culvert_flags INTERFACE CULVERT_VERSION="${PROJECT_VERSION}")
target_compile_options(culvert_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough -Werror
  -Wno-missing-designated-field-initializers)
target_link_options(culvert_flags INTERFACE -fuse-ld=lld)
if(CULVERT_SANITIZE)
  add_compile_options(-fsanitize=${CULVERT_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CULVERT_SANITIZE})
endif()
if(CULVERT_LIBFUZZER)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
find_package(Threads REQUIRED)

function(culvert_library name)
  cmake_parse_arguments(A "" "" "SOURCES;USES;LINKS" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC culvert_flags ${A_USES} ${A_LINKS})
endfunction()

function(culvert_program name)
  cmake_parse_arguments(A "" "" "SOURCES;USES;LINKS" ${ARGN})
  culvert_library(${name}_core SOURCES ${A_SOURCES} USES ${A_USES} LINKS ${A_LINKS})
  add_executable(${name} main.cpp)
  target_link_libraries(${name} PRIVATE ${name}_core)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
endfunction()

function(culvert_test name)
  cmake_parse_arguments(A "SERIAL" "TIMEOUT" "SOURCES;USES;LINKS;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE culvert_flags catch_main ${A_USES} ${A_LINKS})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  if(NOT A_TIMEOUT)
    set(A_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${A_TIMEOUT} SKIP_RETURN_CODE 77 LABELS "${A_LABELS}")
  if(A_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()

# A fuzz target replays its corpus (test/fuzz/corpus/NAME) in every build; the fuzz preset links libFuzzer instead.
function(culvert_fuzz name)
  cmake_parse_arguments(A "" "" "SOURCES;USES;LINKS" ${ARGN})
  add_executable(fuzz_${name} ${A_SOURCES})
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_link_libraries(fuzz_${name} PRIVATE culvert_flags ${A_USES} ${A_LINKS})
  if(CULVERT_LIBFUZZER)
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    target_sources(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/test/fuzz/replay.cpp)
  endif()
  add_test(NAME fuzz_${name} COMMAND fuzz_${name} ${CMAKE_SOURCE_DIR}/test/fuzz/corpus/${name})
  set_tests_properties(fuzz_${name} PROPERTIES TIMEOUT 120 LABELS "fuzz")
endfunction()
