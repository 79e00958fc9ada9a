// Everything a CONNECT brings beside its method: parsers take any bytes, and what they make of them writes
// out and reads back the same.
#include "lib/base/bytes.h"
#include "lib/base/check.h"
#include "lib/mesh/headers.h"

using namespace culvert;
using namespace culvert::mesh;

namespace {

void authority(std::string_view text) {
    Result<Authority> parsed = parse_authority(text);
    if (!parsed) return check(parsed.error().reason == Reason::bad_request);
    Result<Authority> again = parse_authority(to_string(*parsed));
    check(again.has_value() && *again == *parsed);
}

void baggage(std::string_view text) {
    std::size_t half = text.size() / 2;
    std::string_view headers[] = {text.substr(0, half), text.substr(half)};
    Baggage parsed = parse_baggage(headers);
    std::string written = to_string(parsed);
    std::string_view header = written;
    Baggage again = parse_baggage({&header, 1});
    check(to_string(again) == written);
    for (char c : written) check(c >= 0x20 && c <= 0x7e);  // never more than one header
}

void trace(std::string_view text) {
    auto parsed = TraceParent::parse(text);
    if (parsed) check(parsed->to_string() == text);
}

void forwarded(std::string_view text) {
    std::string_view host = forwarded_host(text);
    check(host.empty() ||
          (host.data() >= text.data() && host.data() + host.size() <= text.data() + text.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view text(reinterpret_cast<const char*>(data), size);
    authority(text);
    baggage(text);
    trace(text);
    forwarded(text);
    return 0;
}
