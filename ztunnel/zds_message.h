// The packets of ZDS (wire facts Z-2 to Z-4): bytes and descriptors in, a request out, and back. Pure.
#pragma once
#include "lib/base/bytes.h"
#include "lib/base/fd.h"
#include "lib/base/result.h"
#include "ztunnel/pods.h"

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace culvert::ztunnel::zds {

struct Add {
    AddedPod pod;
};
struct Keep {
    std::string uid;
};
struct Delete {
    std::string uid;
};
struct SnapshotSent {};
using Request = std::variant<Add, Keep, Delete, SnapshotSent>;

// Refuses with bad_input: no protobuf, no or an unknown payload, an Add without workload_info or uid, with no
// or more than one descriptor, any other message with one (Z-4). The descriptors are closed then.
Result<Request> parse(ConstBytes packet, std::vector<Fd> descriptors);

Buffer hello();                           // Z-2: version V1
Buffer response(std::string_view error);  // Z-2: empty is ok; cut so that it fits a packet

}  // namespace culvert::ztunnel::zds
