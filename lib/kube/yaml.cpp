#include "lib/kube/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <istream>
#include <map>
#include <span>
#include <streambuf>
#include <string>
#include <vector>

namespace culvert::kube {
namespace {

struct Fault {
    YamlFault what;
};

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool among(std::string_view text, std::span<const std::string_view> words) {
    return std::ranges::find(words, text) != words.end();
}

// What a plain scalar means in Kubernetes' reader (YAML 1.1 words for booleans included).
bool means_null(std::string_view text) {
    return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
}
bool means_true(std::string_view text) {
    static constexpr std::array<std::string_view, 11> words{"true", "True", "TRUE", "yes", "Yes", "YES",
                                                            "on",   "On",   "ON",   "y",   "Y"};
    return among(text, words);
}
bool means_false(std::string_view text) {
    static constexpr std::array<std::string_view, 11> words{"false", "False", "FALSE", "no", "No", "NO",
                                                            "off",   "Off",   "OFF",   "n",  "N"};
    return among(text, words);
}
// Decimal integers and floats, 0x, 0o, .inf and .nan.
bool means_number(std::string_view text) {
    if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
    if (text == ".inf" || text == ".Inf" || text == ".INF" || text == ".nan" || text == ".NaN") return true;
    if (text.starts_with("0x") || text.starts_with("0o"))
        return text.size() > 2 &&
               text.find_first_not_of("0123456789abcdefABCDEF", 2) == std::string_view::npos;
    std::size_t digits = 0, at = 0;
    while (at < text.size() && is_digit(text[at])) ++at, ++digits;
    if (at < text.size() && text[at] == '.') {
        ++at;
        while (at < text.size() && is_digit(text[at])) ++at, ++digits;
    }
    if (digits == 0) return false;
    if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
        ++at;
        if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
        const std::size_t exponent = at;
        while (at < text.size() && is_digit(text[at])) ++at;
        if (at == exponent) return false;
    }
    return at == text.size();
}

// Builds one Value from yaml-cpp's events and keeps the accounts of the whole file.
class Builder final : public YAML::EventHandler {
public:
    void OnDocumentStart(const YAML::Mark& mark) override {
        if (++documents_ > yaml_documents_max) fault(mark, "the file has too many documents");
        root_ = {};
        anchors_.clear();
    }
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        place(mark, scalar(mark, Value::Type::null, {}), anchor);
    }
    void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
        auto found = anchors_.find(anchor);
        if (found == anchors_.end()) fault(mark, "an alias stands inside the value that it names");
        spend(mark, found->second.values, found->second.bytes);
        place(mark, found->second.value, YAML::NullAnchor);
    }
    void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  const std::string& text) override {
        if (tag == "!") last_quoted_ = mark;
        place(mark, scalar(mark, type_of(mark, tag, text), text), anchor);
    }
    void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                         YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, Value::Type::list);
    }
    void OnSequenceEnd() override { close(); }
    void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                    YAML::EmitterStyle::value) override {
        open(mark, tag, anchor, Value::Type::map);
    }
    void OnMapEnd() override { close(); }

    Value take() { return std::move(root_); }
    const YAML::Mark& last_quoted() const { return last_quoted_; }

private:
    struct Open {
        Value value;
        YAML::anchor_t anchor;
        std::size_t values_before, bytes_before;
        std::optional<Value> key;                      // of a map: the key whose value comes next
        std::map<std::string, int, std::less<>> keys;  // name → line
    };
    struct Anchored {
        Value value;
        std::size_t values, bytes;
    };

    [[noreturn]] static void fault(const YAML::Mark& mark, std::string message) {
        throw Fault{{mark.line + 1, std::move(message)}};
    }
    void spend(const YAML::Mark& mark, std::size_t values, std::size_t bytes) {
        values_ += values;
        bytes_ += bytes;
        if (values_ > yaml_values_max) fault(mark, "the file holds too many values");
        if (bytes_ > yaml_text_bytes_max) fault(mark, "the file holds too much text");
    }
    Value scalar(const YAML::Mark& mark, Value::Type type, const std::string& text) {
        spend(mark, 1, text.size());
        Value value;
        value.type = type;
        value.line = mark.line + 1;
        if (type == Value::Type::boolean)
            value.text = means_true(text) ? "true" : "false";
        else if (type != Value::Type::null)
            value.text = text;
        return value;
    }
    static Value::Type type_of(const YAML::Mark& mark, const std::string& tag, const std::string& text) {
        if (tag == "!" || tag == "tag:yaml.org,2002:str") return Value::Type::text;
        if (tag != "?" && !tag.empty()) fault(mark, "the tag " + tag + " has no meaning here");
        if (means_null(text)) return Value::Type::null;
        if (means_true(text) || means_false(text)) return Value::Type::boolean;
        return means_number(text) ? Value::Type::number : Value::Type::text;
    }
    void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Value::Type type) {
        if (tag != "?" && tag != "!" && !tag.empty() && !tag.starts_with("tag:yaml.org,2002:"))
            fault(mark, "the tag " + tag + " has no meaning here");
        if (static_cast<int>(stack_.size()) >= yaml_depth_max) fault(mark, "values are nested too deeply");
        Open one{{}, anchor, values_, bytes_, {}, {}};
        one.value.type = type;
        one.value.line = mark.line + 1;
        spend(mark, 1, 0);
        last_ = mark;
        stack_.push_back(std::move(one));
    }
    void close() {
        Open one = std::move(stack_.back());
        stack_.pop_back();
        if (one.anchor != YAML::NullAnchor) {
            const std::size_t values = values_ - one.values_before, bytes = bytes_ - one.bytes_before;
            spend(last_, values, bytes);  // the copy
            anchors_[one.anchor] = {one.value, values, bytes};
        }
        attach(last_, std::move(one.value));
    }
    void place(const YAML::Mark& mark, Value value, YAML::anchor_t anchor) {
        last_ = mark;
        if (anchor != YAML::NullAnchor) {
            spend(mark, 1, value.text.size());
            anchors_[anchor] = {value, 1, value.text.size()};
        }
        attach(mark, std::move(value));
    }
    void attach(const YAML::Mark& mark, Value value) {
        if (stack_.empty()) {
            root_ = std::move(value);
            return;
        }
        Open& parent = stack_.back();
        if (parent.value.type == Value::Type::list) {
            parent.value.items.push_back(std::move(value));
        } else if (!parent.key) {
            if (value.type == Value::Type::list || value.type == Value::Type::map)
                fault(mark, "a field's name is a list or a map: something is indented wrongly");
            auto [at, fresh] = parent.keys.try_emplace(value.text, value.line);
            if (!fresh)
                fault(mark, "the field " + value.text.substr(0, 64) + " stands here twice, first on line " +
                                std::to_string(at->second));
            parent.key = std::move(value);
        } else {
            value.line = parent.key->line;  // a field is where its name is
            parent.value.fields.push_back({std::move(parent.key->text), std::move(value)});
            parent.key.reset();
        }
    }

    Value root_;
    std::vector<Open> stack_;
    std::map<YAML::anchor_t, Anchored> anchors_;
    YAML::Mark last_, last_quoted_ = YAML::Mark::null_mark();
    std::size_t values_ = 0, bytes_ = 0, documents_ = 0;
};

// yaml-cpp reads from a stream; this one is a view and copies nothing.
class ViewBuffer final : public std::streambuf {
public:
    explicit ViewBuffer(std::string_view text) {
        char* begin = const_cast<char*>(text.data());  // streambuf's get area is never written to
        setg(begin, begin, begin + text.size());
    }
};

// yaml-cpp takes byte 4 for the end of the file, which would cut a policy off in silence; YAML forbids these
// bytes anyway. It also repairs broken UTF-8, after which its positions are not ours.
std::optional<YamlFault> not_text(std::string_view text) {
    int line = 1;
    int following = 0;  // bytes of a UTF-8 sequence that are still to come
    for (char c : text) {
        if (c == '\n') ++line;
        const auto byte = static_cast<unsigned char>(c);
        const bool continues = (byte & 0xc0) == 0x80;
        if (continues != (following > 0) || byte >= 0xf8)
            return YamlFault{line, "this is not UTF-8: save the file as UTF-8 text"};
        if (continues)
            --following;
        else if (byte >= 0xc0)
            following = byte >= 0xf0 ? 3 : byte >= 0xe0 ? 2 : 1;
        if ((byte < 0x20 && c != '\n' && c != '\r' && c != '\t') || byte == 0x7f)
            return YamlFault{line, "a control character stands here: is this a text file?"};
    }
    if (following > 0) return YamlFault{line, "the file ends inside a character"};
    return {};
}

// yaml-cpp 0.7 takes the end of the file for a closing quote; a file that was cut off must not count as good.
std::optional<YamlFault> unclosed_quote(std::string_view text, const YAML::Mark& at) {
    if (at.is_null() || at.pos < 0 || static_cast<std::size_t>(at.pos) >= text.size()) return {};
    const char quote = text[static_cast<std::size_t>(at.pos)];
    if (quote != '"' && quote != '\'') return {};
    // A doubled single quote reads as an end and a new beginning, which leaves the parity right.
    bool open = true;
    for (std::size_t i = static_cast<std::size_t>(at.pos) + 1; i < text.size(); ++i) {
        if (quote == '"' && open && text[i] == '\\')
            ++i;
        else if (text[i] == quote)
            open = !open;
        else if (!open)
            return {};
    }
    if (!open) return {};
    return YamlFault{at.line + 1, "a quote is opened here and never closed"};
}

}  // namespace

std::optional<YamlFault> parse_yaml(std::string_view text, const std::function<void(Value&&)>& each) {
    if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark
    if (auto found = not_text(text)) return found;
    ViewBuffer buffer(text);
    std::istream stream(&buffer);
    try {
        YAML::Parser parser(stream);
        Builder builder;
        while (parser.HandleNextDocument(builder)) {
            Value document = builder.take();
            if (!document.is(Value::Type::null)) each(std::move(document));
        }
        return unclosed_quote(text, builder.last_quoted());
    } catch (const Fault& fault) {
        return fault.what;
    } catch (const YAML::Exception& error) {
        return YamlFault{std::max(error.mark.line + 1, 1), error.msg};
    }
}

}  // namespace culvert::kube
