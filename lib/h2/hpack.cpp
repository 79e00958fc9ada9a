#include "lib/h2/hpack.h"

#include "lib/base/check.h"

#include <nghttp2/nghttp2.h>
#include <vector>

namespace culvert::h2 {
namespace {

constexpr std::size_t static_entries = 61;
// RFC 7541 4.1: 32 bytes of overhead an entry, in a table of 4,096 bytes.
constexpr std::size_t table_max = 4096;
constexpr std::size_t entries_max = table_max / 32;

struct DeflaterFree {
    void operator()(nghttp2_hd_deflater* deflater) const { nghttp2_hd_deflate_del(deflater); }
};

nghttp2_hd_deflater* shared_deflater() {
    thread_local std::unique_ptr<nghttp2_hd_deflater, DeflaterFree> shared;
    if (!shared) {
        nghttp2_hd_deflater* fresh = nullptr;
        check(nghttp2_hd_deflate_new(&fresh, 0) == 0);
        shared.reset(fresh);
    }
    return shared.get();
}

InflaterPtr new_inflater() {
    nghttp2_hd_inflater* fresh = nullptr;
    check(nghttp2_hd_inflate_new(&fresh) == 0);
    return InflaterPtr(fresh);
}

// The inflater that all connections share whose peer has closed the table: nothing of a block outlives the
// block.
InflaterPtr& shared_inflater() {
    thread_local InflaterPtr shared;
    if (!shared) {
        shared = new_inflater();
        // The coder now insists on a table size update at the next block: give it one, peers may not.
        check(nghttp2_hd_inflate_change_table_size(shared.get(), 0) == 0);
        const std::uint8_t update = 0x20;
        nghttp2_nv out;
        int flags = 0;
        check(nghttp2_hd_inflate_hd2(shared.get(), &out, &flags, &update, 1, 1) == 1);
        check(nghttp2_hd_inflate_end_headers(shared.get()) == 0);
    }
    return shared;
}

nghttp2_nv pair_of(const Field& field) {
    // The coder only reads, but its type says otherwise.
    auto name = reinterpret_cast<std::uint8_t*>(const_cast<char*>(field.name.data()));
    auto value = reinterpret_cast<std::uint8_t*>(const_cast<char*>(field.value.data()));
    return {name, value, field.name.size(), field.value.size(), NGHTTP2_NV_FLAG_NONE};
}

// RFC 7541 5.2: a string literal without Huffman coding, its length an integer with a prefix of seven bits.
void append_string(Buffer& to, ConstBytes value) {
    std::size_t size = value.size();
    if (size < 127) {
        to.push_back(static_cast<std::byte>(size));
    } else {
        to.push_back(std::byte{127});
        for (size -= 127; size >= 128; size >>= 7) to.push_back(static_cast<std::byte>(size % 128 + 128));
        to.push_back(static_cast<std::byte>(size));
    }
    append(to, value);
}

}  // namespace

void InflaterFree::operator()(nghttp2_hd_inflater* inflater) const { nghttp2_hd_inflate_del(inflater); }

void encode_fields(std::span<const Field> fields, Buffer& to) {
    nghttp2_hd_deflater* deflater = shared_deflater();
    check(nghttp2_hd_deflate_change_table_size(deflater, 0) == 0);  // each block starts with "table size 0"
    std::vector<nghttp2_nv> pairs;
    pairs.reserve(fields.size());
    for (const Field& field : fields) pairs.push_back(pair_of(field));
    std::size_t bound = nghttp2_hd_deflate_bound(deflater, pairs.data(), pairs.size());
    std::size_t start = to.size();
    to.resize(start + bound);
    auto at = reinterpret_cast<std::uint8_t*>(to.data() + start);
    auto size = nghttp2_hd_deflate_hd(deflater, at, bound, pairs.data(), pairs.size());
    check(size >= 0);
    to.resize(start + static_cast<std::size_t>(size));
}

FieldReader::FieldReader(HeaderDecoder& decoder, ConstBytes block) : decoder_(decoder), left_(block) {
    if (!decoder_.closed_ && !decoder_.own_) decoder_.own_ = new_inflater();
}

FieldReader::~FieldReader() { check(over_); }

FieldReader::Step FieldReader::next() {
    nghttp2_hd_inflater* inflater = decoder_.closed_ ? shared_inflater().get() : decoder_.own_.get();
    for (;;) {
        nghttp2_nv out;
        int flags = 0;
        auto at = reinterpret_cast<const std::uint8_t*>(left_.data());
        auto used = nghttp2_hd_inflate_hd2(inflater, &out, &flags, at, left_.size(), 1);
        if (used < 0) return finish(Step::broken);
        left_ = left_.subspan(static_cast<std::size_t>(used));
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            field_.name = {reinterpret_cast<const char*>(out.name), out.namelen};
            field_.value = {reinterpret_cast<const char*>(out.value), out.valuelen};
            return Step::field;
        }
        if (flags & NGHTTP2_HD_INFLATE_FINAL) return finish(Step::end);
        if (used == 0) return finish(Step::broken);
    }
}

FieldReader::Step FieldReader::finish(Step how) {
    over_ = true;
    if (how == Step::end) {
        nghttp2_hd_inflate_end_headers(decoder_.closed_ ? shared_inflater().get() : decoder_.own_.get());
    } else if (decoder_.closed_) {
        shared_inflater().reset();  // a coder that failed stays unusable, and others share this one
    }
    return how;
}

void HeaderDecoder::table_closed() {
    own_.reset();
    closed_ = true;
}

void HeaderDecoder::save(Encoder& to) const {
    to.number(closed_);
    std::size_t entries = 0;
    if (own_) entries = nghttp2_hd_inflate_get_num_table_entries(own_.get()) - static_entries;
    to.number(static_cast<std::uint32_t>(entries));
    for (std::size_t i = entries; i > 0; --i) {
        const nghttp2_nv* entry = nghttp2_hd_inflate_get_table_entry(own_.get(), static_entries + i);
        to.bytes(std::as_bytes(std::span(entry->name, entry->namelen)));
        to.bytes(std::as_bytes(std::span(entry->value, entry->valuelen)));
    }
}

bool HeaderDecoder::load(Decoder& from) {
    closed_ = from.number<std::uint8_t>() != 0;
    auto entries = from.number<std::uint32_t>();
    if (!from.ok() || entries > entries_max || (closed_ && entries > 0)) return false;
    // Replaying "literal with incremental indexing" fills a fresh table the way it was.
    Buffer block;
    for (std::uint32_t i = 0; i < entries; ++i) {
        block.push_back(std::byte{0x40});
        append_string(block, from.bytes());
        append_string(block, from.bytes());
        if (!from.ok() || block.size() > 2 * table_max) return false;
    }
    if (entries == 0) return true;
    FieldReader replay(*this, block);
    auto step = replay.next();
    while (step == FieldReader::Step::field) step = replay.next();
    return step == FieldReader::Step::end;
}

}  // namespace culvert::h2
