#include "lib/base/log.h"

#include "lib/base/escape.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>

namespace culvert::log {
namespace {

constexpr std::size_t lines_max = 10'000;  // docs/limits.md: log.lines_max
constexpr std::array<std::string_view, 6> level_words = {"trace", "debug", "info", "warn", "error", "off"};

std::optional<Level> level_of(std::string_view word) {
    auto at = std::ranges::find(level_words, word);
    if (at == level_words.end()) return {};
    return static_cast<Level>(at - level_words.begin());
}

struct Filter {
    Level everything = Level::info;
    std::map<std::string, Level, std::less<>> targets;

    Result<Done> add(std::string_view text) {
        while (!text.empty()) {
            std::string_view part = text.substr(0, text.find(','));
            text.remove_prefix(std::min(text.size(), part.size() + 1));
            if (part.empty()) continue;
            auto equals = part.find('=');
            auto level = level_of(equals == part.npos ? part : part.substr(equals + 1));
            if (!level)
                return refuse(
                    Reason::bad_configuration,
                    fmt::format("unknown log level in '{}': use trace, debug, info, warn, error or off",
                                part));
            if (equals == part.npos)
                everything = *level;
            else
                targets.insert_or_assign(std::string(part.substr(0, equals)), *level);
        }
        return Done{};
    }
    std::string to_string() const {
        std::string out(level_words[static_cast<std::size_t>(everything)]);
        for (const auto& [target, level] : targets)
            out += fmt::format(",{}={}", target, level_words[static_cast<std::size_t>(level)]);
        return out;
    }
    bool passes(Level level, std::string_view target) const {
        auto own = targets.find(target);
        return level >= (own == targets.end() ? everything : own->second);
    }
};

struct State {
    std::shared_mutex lock;
    Filter filter, initial;
    bool json = false;
    std::shared_ptr<spdlog::details::thread_pool> writer;
    std::shared_ptr<spdlog::async_logger> out;
};

State& state() {
    static State one;  // a process has one stdout
    return one;
}

void quoted(std::string& out, std::string_view text) {
    out += '"';
    while (!text.empty()) {
        std::size_t plain = std::min(text.find_first_of("\"\\"), text.size());
        append_escaped(out, text.substr(0, plain));
        if (plain < text.size()) out += '\\', out += text[plain++];
        text.remove_prefix(plain);
    }
    out += '"';
}

void value(std::string& out, const Field& field, bool json) {
    if (auto* text = std::get_if<std::string_view>(&field.value))
        quoted(out, *text);
    else if (auto* plain = std::get_if<Bare>(&field.value)) {
        if (json)
            quoted(out, plain->text);
        else
            append_escaped(out, plain->text);
    } else if (auto* number = std::get_if<std::uint64_t>(&field.value))
        out += std::to_string(*number);
    else
        out += std::to_string(std::get<std::int64_t>(field.value));
}

}  // namespace

std::string format(bool json, WallTime at, Level level, std::string_view target, std::string_view message,
                   std::span<const Field> fields) {
    auto micros = std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch()).count();
    std::string time =
        fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:06}Z", fmt::gmtime(static_cast<std::time_t>(micros / 1'000'000)),
                    micros % 1'000'000);
    std::string_view word = level_words[static_cast<std::size_t>(level)];
    std::string out;
    if (json) {
        out = fmt::format(R"({{"level":"{}","time":"{}","scope":"{}","message":)", word, time, target);
        quoted(out, message);
        for (const Field& field : fields) {
            out += fmt::format(R"(,"{}":)", field.name);
            value(out, field, true);
        }
        return out + "}";
    }
    out = fmt::format("{}\t{}\t{}\t", time, word, target);
    append_escaped(out, message);
    char before = '\t';
    for (const Field& field : fields) {
        out += before;
        out += field.name;
        out += '=';
        value(out, field, false);
        before = ' ';
    }
    return out;
}

Result<Done> start(const Options& options) {
    Filter filter;
    TRY_DONE(filter.add(options.filter));
    State& s = state();
    std::unique_lock held(s.lock);
    s.filter = s.initial = filter;
    s.json = options.json;
    s.writer = std::make_shared<spdlog::details::thread_pool>(lines_max, 1);
    s.out = std::make_shared<spdlog::async_logger>("out", std::make_shared<spdlog::sinks::stdout_sink_mt>(),
                                                   s.writer, spdlog::async_overflow_policy::overrun_oldest);
    s.out->set_pattern("%v");
    s.out->flush_on(spdlog::level::info);
    return Done{};
}

void stop() {
    State& s = state();
    std::unique_lock held(s.lock);
    if (s.out) s.out->flush();
    s.out.reset();
    s.writer.reset();  // joins the writer after the queue is empty
}

Result<std::string> change_filter(std::string_view text, bool reset) {
    State& s = state();
    std::unique_lock held(s.lock);
    Filter changed = reset ? s.initial : s.filter;
    TRY_DONE(changed.add(text));
    s.filter = changed;
    return changed.to_string();
}

std::string filter() {
    State& s = state();
    std::shared_lock held(s.lock);
    return s.filter.to_string();
}

bool enabled(Level level, std::string_view target) {
    State& s = state();
    std::shared_lock held(s.lock);
    return s.out != nullptr && s.filter.passes(level, target);
}

void write(Level level, std::string_view target, std::string_view message, std::span<const Field> fields) {
    State& s = state();
    std::shared_lock held(s.lock);
    if (!s.out || !s.filter.passes(level, target)) return;
    s.out->info(format(s.json, system_clock().wall(), level, target, message, fields));
}

std::uint64_t dropped_lines() {
    State& s = state();
    std::shared_lock held(s.lock);
    return s.writer ? s.writer->overrun_counter() : 0;
}

}  // namespace culvert::log
