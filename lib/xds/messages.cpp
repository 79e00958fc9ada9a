#include "lib/xds/messages.h"

namespace culvert::xds {

std::string_view url(Type type) {
    switch (type) {
    case Type::address: return "type.googleapis.com/istio.workload.Address";
    case Type::authorization: return "type.googleapis.com/istio.security.Authorization";
    }
    return {};
}

std::string_view word(Type type) {
    switch (type) {
    case Type::address: return "address";
    case Type::authorization: return "authorization";
    }
    return {};
}

std::optional<Type> type_of(std::string_view text) {
    for (Type type : types)
        if (url(type) == text) return type;
    return std::nullopt;
}

}  // namespace culvert::xds
