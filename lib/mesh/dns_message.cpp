// DNS messages: RFC 1035 4, RFC 6891 6.1. The other half, what is answered, is dns.cpp.
#include "lib/base/bytes.h"
#include "lib/mesh/dns.h"

#include <algorithm>

namespace culvert::mesh::dns {

namespace {

constexpr std::size_t header_size = 12;
constexpr std::size_t label_max = 63;
constexpr std::size_t name_max = 255;  // on the wire, with length bytes
constexpr std::uint16_t bit_response = 0x8000;
constexpr std::uint16_t bit_authoritative = 0x0400;
constexpr std::uint16_t bit_truncated = 0x0200;
constexpr std::uint16_t bit_recursion_desired = 0x0100;
constexpr std::uint16_t bit_recursion_available = 0x0080;
constexpr std::uint16_t bit_checking_disabled = 0x0010;
constexpr std::uint16_t question_at = 0xc000 | header_size;  // a pointer to the name of the question

// Reads big-endian numbers and names; a short message makes ok() false for good.
class Reader {
public:
    Reader(ConstBytes message, std::size_t at) : rest_(message.subspan(at)) {}
    bool ok() const { return ok_; }
    std::size_t left() const { return rest_.size(); }
    std::uint64_t number(std::size_t size) {
        ConstBytes bytes = take(size);
        return ok_ ? get_big_endian(bytes.data(), size) : 0;
    }
    ConstBytes take(std::size_t size) {
        if (rest_.size() < size) ok_ = false;
        if (!ok_) return {};
        ConstBytes bytes = rest_.first(size);
        rest_ = rest_.subspan(size);
        return bytes;
    }
    void fail() { ok_ = false; }

private:
    ConstBytes rest_;
    bool ok_ = true;
};

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

// The question's name: uncompressed, there is nothing in front of it to point to.
void read_name(Reader& reader, Query& query) {
    std::size_t size = 0;
    while (reader.ok()) {
        auto length = static_cast<std::size_t>(reader.number(1));
        size += length + 1;
        if (length > label_max || size > name_max) reader.fail();
        if (length == 0) return;
        if (!query.name.empty()) query.name += '.';
        for (char c : as_text(reader.take(length))) {
            if (c <= ' ' || c > '~' || c == '.') query.plain = false;
            query.name += lower(c);
        }
    }
}

// Any record's name, which may end in a pointer; nobody here needs to follow it.
void skip_name(Reader& reader) {
    while (reader.ok()) {
        std::uint64_t length = reader.number(1);
        if (length == 0) return;
        if ((length & 0xc0) == 0xc0) {
            reader.take(1);
            return;
        }
        if (length > label_max) return reader.fail();
        reader.take(static_cast<std::size_t>(length));
    }
}

// Looks for the OPT record among what follows the question.
void read_records(Reader& reader, std::uint64_t count, Query& query) {
    while (count-- > 0 && reader.ok()) {
        skip_name(reader);
        std::uint64_t type = reader.number(2);
        std::uint64_t size = reader.number(2);  // OPT's class is the payload size
        std::uint64_t flags = reader.number(4);
        reader.take(static_cast<std::size_t>(reader.number(2)));
        if (!reader.ok() || type != static_cast<std::uint16_t>(Type::opt)) continue;
        query.edns_size = static_cast<std::uint16_t>(std::max<std::uint64_t>(size, udp_plain_max));
        query.dnssec_ok = (flags & 0x8000) != 0;
    }
}

void put(Buffer& to, std::uint64_t value, std::size_t size) {
    to.resize(to.size() + size);
    put_big_endian(to.data() + to.size() - size, value, size);
}

void put_name(Buffer& to, std::string_view name) {
    while (!name.empty()) {
        std::string_view label = name.substr(0, name.find('.'));
        put(to, label.size(), 1);
        append(to, as_bytes(label));
        name.remove_prefix(std::min(name.size(), label.size() + 1));
    }
    put(to, 0, 1);
}

void put_header(Buffer& to, const Query& query, Code code, std::uint16_t more_flags) {
    std::uint16_t flags = bit_response | bit_recursion_available | more_flags;
    flags |= static_cast<std::uint16_t>(query.opcode << 11);
    if (query.recursion_desired) flags |= bit_recursion_desired;
    if (query.checking_disabled) flags |= bit_checking_disabled;
    flags |= static_cast<std::uint16_t>(code);
    put(to, query.id, 2);
    put(to, flags, 2);
    put(to, query.question.empty() ? 0 : 1, 2);
    put(to, 0, 2);  // answers: counted when they are there
    put(to, 0, 2);  // authorities: none, also no SOA (D-12)
    put(to, query.edns_size ? 1 : 0, 2);
    append(to, query.question);
}

Buffer opt_record(const Query& query) {
    Buffer record;
    if (!query.edns_size) return record;
    put(record, 0, 1);  // the root
    put(record, static_cast<std::uint16_t>(Type::opt), 2);
    put(record, udp_edns_max, 2);
    put(record, query.dnssec_ok ? 0x8000 : 0, 4);  // extended code 0, version 0
    put(record, 0, 2);
    return record;
}

void put_record(Buffer& to, std::uint16_t name, Type type, ConstBytes data) {
    put(to, name, 2);
    put(to, static_cast<std::uint16_t>(type), 2);
    put(to, 1, 2);  // IN
    put(to, ttl_s, 4);
    put(to, data.size(), 2);
    append(to, data);
}

}  // namespace

std::optional<Query> parse(ConstBytes message) {
    if (message.size() < header_size) return std::nullopt;
    Reader header(message, 0);
    Query query;
    query.id = static_cast<std::uint16_t>(header.number(2));
    auto flags = static_cast<std::uint16_t>(header.number(2));
    query.response = (flags & bit_response) != 0;
    query.opcode = static_cast<std::uint8_t>((flags >> 11) & 15);
    query.recursion_desired = (flags & bit_recursion_desired) != 0;
    query.checking_disabled = (flags & bit_checking_disabled) != 0;
    std::uint64_t questions = header.number(2);
    std::uint64_t records = header.number(2) + header.number(2) + header.number(2);
    query.malformed = questions != 1;
    if (query.malformed) return query;

    Reader body(message, header_size);
    read_name(body, query);
    query.type = static_cast<std::uint16_t>(body.number(2));
    query.query_class = static_cast<std::uint16_t>(body.number(2));
    if (body.ok()) {
        ConstBytes question = message.subspan(header_size, message.size() - header_size - body.left());
        query.question.assign(question.begin(), question.end());
    }
    read_records(body, records, query);
    query.malformed = !body.ok();
    return query;
}

std::size_t udp_size_max(const Query& query) {
    return std::min<std::size_t>(query.edns_size.value_or(udp_plain_max), udp_edns_max);
}

Buffer encode_failure(const Query& query, Code code) {
    Buffer message;
    put_header(message, query, code, 0);
    append(message, opt_record(query));
    return message;
}

Buffer encode(const Query& query, const Answer& answer, std::size_t size_max) {
    if (answer.code != Code::no_error) return encode_failure(query, answer.code);
    Buffer message;
    put_header(message, query, answer.code, bit_authoritative);
    Buffer opt = opt_record(query);
    std::size_t count = 0;
    std::uint16_t owner = question_at;
    if (!answer.canonical_name.empty()) {
        Buffer target;
        put_name(target, answer.canonical_name);
        put_record(message, question_at, Type::cname, target);
        owner = static_cast<std::uint16_t>(0xc000 | (message.size() - target.size()));
        ++count;
    }
    bool truncated = false;
    for (Ip ip : answer.addresses) {
        std::size_t record_size = 12 + ip.wire().size();
        truncated = message.size() + record_size + opt.size() > size_max;
        if (truncated) break;
        put_record(message, owner, ip.is_v4() ? Type::a : Type::aaaa, ip.wire());
        ++count;
    }
    if (truncated) {
        std::uint64_t flags = get_big_endian(message.data() + 2, 2) | bit_truncated;
        put_big_endian(message.data() + 2, flags, 2);
    }
    put_big_endian(message.data() + 6, count, 2);
    append(message, opt);
    return message;
}

}  // namespace culvert::mesh::dns
