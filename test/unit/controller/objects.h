// Objects as tests of the controller need them: small, named, alive.
#pragma once
#include "lib/kube/manifests.h"

#include <memory>
#include <string>
#include <vector>

namespace culvert::test {

inline kube::Pod pod(const std::string& name, const std::string& node, const std::string& account = "web") {
    kube::Pod out;
    out.metadata.name = name;
    out.metadata.name_space = "shop";
    out.metadata.uid = "uid-" + name;
    out.node = node;
    out.service_account = account;
    out.ips.push_back(Ip::v4(0x0a000001));
    return out;
}

inline kube::Node node(const std::string& name) {
    kube::Node out;
    out.metadata.name = name;
    return out;
}

// What a directory with these objects would say.
inline kube::SnapshotPtr snapshot(const std::vector<kube::Object>& objects) {
    auto out = std::make_shared<kube::Snapshot>();
    out->read = true;
    for (const kube::Object& one : objects)
        out->objects[kube::key_of(one)] = std::make_shared<const kube::Object>(one);
    return out;
}

}  // namespace culvert::test
