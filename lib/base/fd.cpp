#include "lib/base/fd.h"

#include <unistd.h>

namespace culvert {

void Fd::reset() {
    if (number_ >= 0) ::close(std::exchange(number_, -1));
}

}  // namespace culvert
