// The names and versions of the resources that a client holds, compact: one heap block each, because a
// node of a large mesh holds a million. A value of DeltaClient.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

namespace culvert::xds {

class Held {
public:
    void set(std::string_view name, std::string_view version);
    bool erase(std::string_view name);
    bool contains(std::string_view name) const { return entries_.contains(name); }
    std::size_t size() const { return entries_.size(); }
    std::vector<std::pair<std::string, std::string>> list() const;  // name, version; in no order

private:
    class Entry {
    public:
        Entry(std::string_view name, std::string_view version);
        std::string_view name() const { return {text_.get(), name_size_}; }
        std::string_view version() const { return {text_.get() + name_size_, version_size_}; }

    private:
        std::unique_ptr<char[]> text_;
        std::uint32_t name_size_;
        std::uint32_t version_size_;
    };
    static std::string_view name(const Entry& entry) { return entry.name(); }
    static std::string_view name(std::string_view name) { return name; }
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(const auto& of) const { return std::hash<std::string_view>()(Held::name(of)); }
    };
    struct Equal {
        using is_transparent = void;
        bool operator()(const auto& a, const auto& b) const { return Held::name(a) == Held::name(b); }
    };
    std::unordered_set<Entry, Hash, Equal> entries_;
};

}  // namespace culvert::xds
