// A persistent hash table in two levels: a table of shared shards. Copying a Table copies one pointer; a
// TableEdit copies the shards that it touches, once each, and leaves every older Table as it was. With n
// entries there are about sqrt(n) shards of about sqrt(n) entries, so that one change costs O(sqrt n) and a
// batch shares that cost.
//
// Keys live in the entries: callers give the hash and a predicate. Entries with equal hashes may coexist (an
// address that several workloads share). An entry costs its own size plus four bytes.
#pragma once
#include "lib/base/check.h"

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace culvert::mesh {

// FNV-1a with a final mix: the same on every machine, so that a directory's shape is reproducible.
inline std::uint64_t hash_text(std::string_view text, std::uint64_t seed = 0xcbf29ce484222325) {
    std::uint64_t value = seed;
    for (char c : text) value = (value ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    value ^= value >> 32;
    value *= 0x9e3779b97f4a7c15;
    return value ^ (value >> 29);
}

template <class Entry> class TableEdit;

template <class Entry> class Table {
public:
    std::size_t size() const { return size_; }

    // Visits the entries with this hash until `visit` returns true; returns that entry or null.
    template <class Visit> const Entry* find(std::uint64_t hash, Visit visit) const {
        if (!shards_) return nullptr;
        const Shard* shard = (*shards_)[shard_of(tag(hash), shards_->size())].get();
        if (!shard) return nullptr;
        auto [from, to] = std::ranges::equal_range(shard->tags, tag(hash));
        for (auto at = from; at != to; ++at) {
            const Entry& entry = shard->entries[static_cast<std::size_t>(at - shard->tags.begin())];
            if (visit(entry)) return &entry;
        }
        return nullptr;
    }
    template <class Visit> void for_each(Visit visit) const {
        if (!shards_) return;
        for (const auto& shard : *shards_)
            if (shard)
                for (const Entry& entry : shard->entries) visit(entry);
    }

private:
    friend class TableEdit<Entry>;
    struct Shard {
        std::vector<std::uint32_t> tags;  // ascending; equal ones in the order of their insertion
        std::vector<Entry> entries;
    };
    using Shards = std::vector<std::shared_ptr<const Shard>>;  // an empty shard is null

    // The leading bits of a tag choose its shard, so that a table that grows splits each shard in order.
    static std::uint32_t tag(std::uint64_t hash) { return static_cast<std::uint32_t>(hash >> 32); }
    static std::size_t shard_of(std::uint32_t tag, std::size_t shards) {
        return static_cast<std::size_t>((static_cast<std::uint64_t>(tag) * shards) >> 32);
    }

    std::shared_ptr<const Shards> shards_;  // null: empty; the number of shards is a power of four
    std::size_t size_ = 0;
};

// Changes to one Table, then done(). Two changes of a batch that touch one shard copy it once.
template <class Entry> class TableEdit {
public:
    TableEdit() = default;
    explicit TableEdit(Table<Entry> base) : table_(std::move(base)) {}

    const Table<Entry>& now() const { return table_; }
    void insert(std::uint64_t hash, Entry entry);
    // Removes the first entry with this hash for which `is` holds.
    template <class Is> bool erase(std::uint64_t hash, Is is);
    // Trims what the batch left over and gives the result; the edit is spent.
    Table<Entry> done();

private:
    using Shard = typename Table<Entry>::Shard;
    using Shards = typename Table<Entry>::Shards;

    Shard& open(std::size_t index);
    void spread(std::size_t count);

    Table<Entry> table_;
    std::shared_ptr<Shards> shards_;            // ours alone until done(); null: nothing touched yet
    std::vector<std::shared_ptr<Shard>> ours_;  // by index: the shards that we copied and may change
};

template <class Entry> typename TableEdit<Entry>::Shard& TableEdit<Entry>::open(std::size_t index) {
    if (!shards_) {
        shards_ = table_.shards_ ? std::make_shared<Shards>(*table_.shards_) : std::make_shared<Shards>(1);
        table_.shards_ = shards_;
        ours_.resize(shards_->size());
    }
    if (!ours_[index]) {
        ours_[index] =
            (*shards_)[index] ? std::make_shared<Shard>(*(*shards_)[index]) : std::make_shared<Shard>();
        (*shards_)[index] = ours_[index];
    }
    return *ours_[index];
}

template <class Entry> void TableEdit<Entry>::insert(std::uint64_t hash, Entry entry) {
    std::uint32_t tag = Table<Entry>::tag(hash);
    std::size_t count = table_.shards_ ? table_.shards_->size() : 1;
    Shard& shard = open(Table<Entry>::shard_of(tag, count));
    auto offset = std::ranges::upper_bound(shard.tags, tag) - shard.tags.begin();
    shard.tags.insert(shard.tags.begin() + offset, tag);
    shard.entries.insert(shard.entries.begin() + offset, std::move(entry));
    ++table_.size_;
    if (table_.size_ > 16 * count * count) spread(count * 4);  // 1, 4, 16, ... shards of as many entries
}

template <class Entry> template <class Is> bool TableEdit<Entry>::erase(std::uint64_t hash, Is is) {
    if (!table_.find(hash, is)) return false;  // copy nothing for nothing
    std::uint32_t tag = Table<Entry>::tag(hash);
    Shard& shard = open(Table<Entry>::shard_of(tag, table_.shards_->size()));
    auto [from, to] = std::ranges::equal_range(shard.tags, tag);
    for (auto at = from; at != to; ++at) {
        auto offset = at - shard.tags.begin();
        if (!is(shard.entries[static_cast<std::size_t>(offset)])) continue;
        shard.tags.erase(at);
        shard.entries.erase(shard.entries.begin() + offset);
        --table_.size_;
        return true;
    }
    return false;
}

template <class Entry> void TableEdit<Entry>::spread(std::size_t count) {
    auto shards = std::make_shared<Shards>(count);
    std::vector<std::shared_ptr<Shard>> ours(count);
    for (const auto& from : *shards_) {
        if (!from) continue;
        for (std::size_t i = 0; i < from->tags.size(); ++i) {
            auto& to = ours[Table<Entry>::shard_of(from->tags[i], count)];
            if (!to) to = std::make_shared<Shard>();
            to->tags.push_back(from->tags[i]);
            to->entries.push_back(from->entries[i]);
        }
    }
    for (std::size_t i = 0; i < count; ++i) (*shards)[i] = ours[i];
    shards_ = std::move(shards);
    ours_ = std::move(ours);
    table_.shards_ = shards_;
}

template <class Entry> Table<Entry> TableEdit<Entry>::done() {
    for (std::size_t i = 0; i < ours_.size(); ++i) {
        if (!ours_[i]) continue;
        if (ours_[i]->tags.empty()) (*shards_)[i] = nullptr;
        ours_[i]->tags.shrink_to_fit();
        ours_[i]->entries.shrink_to_fit();
    }
    ours_.clear();
    shards_ = nullptr;
    return std::move(table_);
}

}  // namespace culvert::mesh
