#include "lib/xds/held.h"

#include <cstring>

namespace culvert::xds {

Held::Entry::Entry(std::string_view name, std::string_view version)
    : text_(std::make_unique_for_overwrite<char[]>(name.size() + version.size())),
      name_size_(static_cast<std::uint32_t>(name.size())),
      version_size_(static_cast<std::uint32_t>(version.size())) {
    name.copy(text_.get(), name.size());
    version.copy(text_.get() + name.size(), version.size());
}

void Held::set(std::string_view name, std::string_view version) {
    if (auto at = entries_.find(name); at != entries_.end()) {
        if (at->version() == version) return;
        entries_.erase(at);
    }
    entries_.emplace(name, version);
}

bool Held::erase(std::string_view name) {
    auto at = entries_.find(name);
    if (at == entries_.end()) return false;
    entries_.erase(at);
    return true;
}

std::vector<std::pair<std::string, std::string>> Held::list() const {
    std::vector<std::pair<std::string, std::string>> all;
    all.reserve(entries_.size());
    for (const Entry& entry : entries_) all.emplace_back(entry.name(), entry.version());
    return all;
}

}  // namespace culvert::xds
