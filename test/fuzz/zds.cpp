// Packets of ZDS as a broken or hostile agent might send them: every one is a request or a refusal, and
// descriptors never leak.
#include "lib/base/check.h"
#include "ztunnel/zds_message.h"

#include <fcntl.h>

using namespace culvert;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1 || size > 1025) return 0;
    std::vector<Fd> descriptors;
    for (int i = 0; i < data[0] % 3; ++i) descriptors.emplace_back(open("/dev/null", O_RDONLY | O_CLOEXEC));
    std::size_t came = descriptors.size();
    auto request = ztunnel::zds::parse(std::as_bytes(std::span(data + 1, size - 1)), std::move(descriptors));
    if (!request) return 0;
    auto* add = std::get_if<ztunnel::zds::Add>(&*request);
    check(came == (add ? 1u : 0u));
    check(!add || (add->pod.network_namespace.open() && !add->pod.uid.empty()));
    return 0;
}
