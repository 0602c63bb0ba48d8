# Libraries as archives, so that the nnc command can be linked statically. Debian has libz.a and libzstd.a; LLVM's exported
# targets name shared libraries all the same, and libfmt comes without an archive, so that one is made of its headers.
if(NNC_STATIC)
  find_library(NNC_ZSTD_ARCHIVE libzstd.a)
  find_library(NNC_ZLIB_ARCHIVE libz.a)
  find_library(NNC_LIBC_ARCHIVE libc.a)
  if(NOT NNC_ZSTD_ARCHIVE OR NOT NNC_ZLIB_ARCHIVE OR NOT NNC_LIBC_ARCHIVE)
    message(STATUS "nnc is linked dynamically: libz.a, libzstd.a and libc.a are not all there")
    set(NNC_STATIC OFF)
  endif()
endif()

# Called when the libraries were found: `nnc_fmt` is libfmt, and LLVM's support library is told what it needs as an
# archive (z3, which it also names, is for a solver that nothing here calls).
macro(nnc_choose_archives)
  get_target_property(fmt_kind fmt::fmt TYPE)
  if(NNC_STATIC AND NOT fmt_kind STREQUAL STATIC_LIBRARY AND fmt_VERSION MATCHES "^9\\.")
    add_library(nnc_fmt STATIC ${CMAKE_SOURCE_DIR}/cmake/fmt.cpp)
    target_compile_definitions(nnc_fmt PUBLIC $<TARGET_PROPERTY:fmt::fmt,INTERFACE_COMPILE_DEFINITIONS>)
  else()
    add_library(nnc_fmt INTERFACE)
    target_link_libraries(nnc_fmt INTERFACE fmt::fmt)
    if(NNC_STATIC AND NOT fmt_kind STREQUAL STATIC_LIBRARY)
      message(STATUS "nnc is linked dynamically: libfmt ${fmt_VERSION} has no archive")
      set(NNC_STATIC OFF)
    endif()
  endif()
  if(NNC_STATIC)
    set_target_properties(ZLIB::ZLIB PROPERTIES IMPORTED_LOCATION ${NNC_ZLIB_ARCHIVE}
                                                IMPORTED_LOCATION_RELEASE ${NNC_ZLIB_ARCHIVE})
    set_target_properties(LLVMSupport PROPERTIES
                          INTERFACE_LINK_LIBRARIES "m;ZLIB::ZLIB;${NNC_ZSTD_ARCHIVE};LLVMDemangle")
  endif()
endmacro()
