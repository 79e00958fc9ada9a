// Reading one map of a document field by field. Whoever decodes an object asks for the fields it knows; what
// nobody asked for is reported as unknown, with the nearest known name. Every problem carries line, path,
// message and fix.
//
// Fields lives on the stack of a decoder, on one thread; it borrows the Value and the Problems.
#pragma once
#include "lib/kube/manifests.h"
#include "lib/kube/value.h"

#include <initializer_list>
#include <optional>
#include <span>

namespace culvert::kube {

// The problems of one file, at most file_problems_max; `object` is what is being decoded.
class Problems {
public:
    explicit Problems(std::string_view file) : file_(file) {}
    void error(int line, std::string field, std::string message, std::string fix = {});
    void warning(int line, std::string field, std::string message, std::string fix = {});
    void about(std::string object) { object_ = std::move(object); }
    std::size_t errors() const { return errors_; }
    const std::string& file() const { return file_; }
    std::vector<Problem> take();  // in the order of lines

private:
    void add(Problem::Severity severity, int line, std::string field, std::string message, std::string fix);
    std::string file_, object_;
    std::vector<Problem> list_;
    std::size_t errors_ = 0;
};

struct Range {
    std::int64_t least;
    std::int64_t most;
};
inline constexpr Range any_port{1, 65535};

class Fields {
public:
    // `path` is "" for the document itself. A value that is no map is a problem (null counts as an empty
    // map).
    Fields(const Value* value, std::string path, int line, Problems& problems);
    ~Fields();  // reports the fields that nobody asked for
    Fields(const Fields&) = delete;

    bool has(std::string_view name);  // present and not null
    int line() const { return line_; }
    std::string path(std::string_view name) const;
    int line_of(std::string_view name);

    std::string text(std::string_view name);      // "" when absent
    std::string required(std::string_view name);  // a problem when absent or empty
    bool flag(std::string_view name, bool fallback);
    std::optional<std::int64_t> number(std::string_view name, Range range);
    std::uint16_t port(std::string_view name);  // 0 when absent
    std::uint16_t required_port(std::string_view name);
    PortRef port_or_name(std::string_view name);
    std::optional<Ip> address(std::string_view name);
    std::vector<std::string> texts(std::string_view name);  // no empty ones
    std::vector<Ip> addresses(std::string_view name);
    std::vector<Cidr> ranges(std::string_view name);
    std::vector<std::uint16_t>
    ports_as_texts(std::string_view name);                    // Istio writes ports of policies as strings
    Labels labels(std::string_view name);                     // label keys and values, checked
    Labels annotations(std::string_view name);                // any text
    std::optional<std::int64_t> time(std::string_view name);  // RFC 3339, seconds since 1970

    // The nested map; an empty one when absent.
    Fields map(std::string_view name);
    // Calls `each(Fields&)` for the maps of a list, or `each(key, Fields&)` for the maps of a map.
    template <class F> void list(std::string_view name, F each) {
        const Value* found = take(name, Value::Type::list);
        if (!found) return;
        for (std::size_t i = 0; i < found->items.size(); ++i) {
            Fields one(&found->items[i], path(name) + "[" + std::to_string(i) + "]", found->items[i].line,
                       problems_);
            each(one);
        }
    }
    template <class F> void entries(std::string_view name, F each) {
        const Value* found = take(name, Value::Type::map);
        if (!found) return;
        for (const auto& [key, value] : found->fields) {
            Fields one(&value, path(name) + "." + key, value.line, problems_);
            each(key, one);
        }
    }
    // One of `words`; the index of the word, or nothing when absent or wrong (then a problem).
    std::optional<std::size_t> choice(std::string_view name, std::span<const std::string_view> words);

    void known(std::initializer_list<std::string_view> names);  // legal, and not used
    void all_known() { check_unknown_ = false; }                // whatever stands here is legal, and not used

    void error(std::string_view name, std::string message, std::string fix = {});
    void warning(std::string_view name, std::string message, std::string fix = {});
    Problems& problems() { return problems_; }

private:
    const Value* take(std::string_view name);
    const Value* take(std::string_view name, Value::Type type);
    std::string text_of(const Value& value, const std::string& path, bool may_be_empty);
    void report_unknown() const;

    const Value* value_;  // a map, or null
    std::string path_;
    int line_;
    Problems& problems_;
    bool check_unknown_ = true;
    std::vector<std::string_view> asked_;  // names of the decoder: literals
};

// DNS-1123 names, as Kubernetes checks them. `label`: without dots, at most 63; otherwise at most 253.
bool is_dns_name(std::string_view text, bool label);
// The nearest of `names` to `wrong`, or "" when none is near.
std::string_view nearest(std::string_view wrong, std::span<const std::string_view> names);

}  // namespace culvert::kube
