// A client engine takes any bytes without crashing, within its limits, and says the same however they are
// cut.
#include "test/fuzz/h2_single.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    culvert::test::h2_fuzz_single(culvert::h2::Role::client, std::as_bytes(std::span(data, size)));
    return 0;
}
