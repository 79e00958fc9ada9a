// HPACK (RFC 7541) on libnghttp2's public coder, bent so that an idle connection keeps no compression state.
//
// We never index: our table size is 0, said at the start of every block, so one deflater per thread serves
// all connections. We ask the peer for table size 0 as well. Until it acknowledges that, it may index: only
// then a connection owns an inflater (about 1 KB and its table); afterwards all connections of a thread share
// one.
//
// Limits: the caller bounds the compressed block (header_block_max); a FieldReader's consumer bounds the
// list. Errors: a block that does not decode is a COMPRESSION_ERROR of the connection.
#pragma once
#include "lib/base/bytes.h"

#include <memory>
#include <string_view>

struct nghttp2_hd_inflater;

namespace culvert::h2 {

struct Field {
    std::string_view name;
    std::string_view value;
    std::size_t list_size() const { return name.size() + value.size() + 32; }  // RFC 9113 6.5.2
};

// Appends one header block.
void encode_fields(std::span<const Field> fields, Buffer& to);

struct InflaterFree {
    void operator()(nghttp2_hd_inflater* inflater) const;
};
using InflaterPtr = std::unique_ptr<nghttp2_hd_inflater, InflaterFree>;

class HeaderDecoder {
public:
    void table_closed();  // the peer acknowledged table size 0: the connection's own state ends here

    void save(Encoder& to) const;  // table entries, oldest first
    bool load(Decoder& from);

private:
    friend class FieldReader;
    InflaterPtr own_;
    bool closed_ = false;
};

// Walks one whole block, pulled: next() until it says end or broken. Always walk to the end, or the table is
// out of step.
class FieldReader {
public:
    enum class Step : std::uint8_t { field, end, broken };

    FieldReader(HeaderDecoder& decoder, ConstBytes block);
    FieldReader(FieldReader&&) = delete;
    ~FieldReader();  // the walk is over
    Step next();
    const Field& field() const { return field_; }  // valid until the following next()

private:
    Step finish(Step how);

    HeaderDecoder& decoder_;
    ConstBytes left_;
    Field field_;
    bool over_ = false;
};

}  // namespace culvert::h2
