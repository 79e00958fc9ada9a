#include "lib/base/check.h"

#include <cstdio>
#include <cstdlib>

namespace culvert {

void bug(const char* what, std::source_location where) {
    std::fprintf(stderr, "bug: %s at %s:%u in %s\n", what, where.file_name(), where.line(),
                 where.function_name());
    std::abort();
}

}  // namespace culvert
