# culvert_bpf(NAME file.bpf.c headers...)
# Compiles one BPF object, generates its skeleton NAME.skel.h and yields the interface target NAME_skel.
find_program(CULVERT_BPFTOOL bpftool PATHS /usr/sbin /sbin REQUIRED)
find_program(CULVERT_BPF_CLANG clang-19 REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf)

if(CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
  set(CULVERT_BPF_ARCH arm64)
else()
  set(CULVERT_BPF_ARCH x86)
endif()

function(culvert_bpf name source)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CULVERT_BPF_CLANG} -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_${CULVERT_BPF_ARCH} -Wall -Wextra -Werror
            -I${CMAKE_SOURCE_DIR} -c ${CMAKE_CURRENT_SOURCE_DIR}/${source} -o ${object}
    DEPENDS ${source} ${ARGN} VERBATIM COMMENT "BPF ${source}")
  add_custom_command(OUTPUT ${skeleton}
    COMMAND ${CULVERT_BPFTOOL} gen skeleton ${object} name cv_${name} > ${skeleton}
    DEPENDS ${object} VERBATIM COMMENT "Skeleton of ${source}")
  add_custom_target(${name}_skeleton DEPENDS ${skeleton})
  add_library(${name}_skel INTERFACE)
  add_dependencies(${name}_skel ${name}_skeleton)
  target_include_directories(${name}_skel SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR})
  target_link_libraries(${name}_skel INTERFACE PkgConfig::LIBBPF)
endfunction()
