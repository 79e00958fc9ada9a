// Any bytes as a manifest: never a crash, never beyond the limits, no object out of a file with an error.
#include "lib/kube/manifests.h"
#include "lib/base/check.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace culvert;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const kube::Parsed parsed = kube::parse_manifest("fuzz.yaml", text);
    check(parsed.problems.size() <= kube::file_problems_max);
    check(parsed.good() || parsed.objects.empty());
    for (const auto& object : parsed.objects) check(!kube::key_of(*object).name.empty());
    for (const auto& problem : parsed.problems) check(!problem.to_string().empty());
    const kube::Parsed again = kube::parse_manifest("fuzz.yaml", text);
    check(parsed.problems == again.problems && parsed.objects.size() == again.objects.size());
    for (std::size_t i = 0; i < parsed.objects.size(); ++i) check(*parsed.objects[i] == *again.objects[i]);
    return 0;
}
