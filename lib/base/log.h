// Structured log lines in Istio's two forms (wire fact L-3): plain `time\tlevel\ttarget\tmessage\tk=v k="v"`,
// or JSON.
//
// Lines go to stdout through a queue of 10,000 lines written by its own thread. When the queue is full the
// oldest line is dropped and counted: a blocked stdout never stalls traffic (deviation from L-5, see
// docs/deviations.md). Safe from any thread. Secrets never come here: no type of lib/tls that holds one
// converts to a Field.
#pragma once
#include "lib/base/clock.h"
#include "lib/base/ip.h"
#include "lib/base/result.h"

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace culvert::log {

enum class Level : std::uint8_t { trace, debug, info, warn, error, off };

// `bare` values are printed without quotes (addresses, numbers); text is quoted and escaped.
struct Bare {
    std::string text;
};
struct Field {
    std::string_view name;
    std::variant<std::string_view, std::int64_t, std::uint64_t, Bare> value;
};

inline Field text(std::string_view name, std::string_view value) { return {name, value}; }
inline Field number(std::string_view name, std::uint64_t value) { return {name, value}; }
inline Field address(std::string_view name, const Address& value) { return {name, Bare{value.to_string()}}; }
inline Field bare(std::string_view name, std::string value) { return {name, Bare{std::move(value)}}; }

struct Options {
    bool json = false;
    std::string filter = "info";  // "info", or "info,access=debug,xds=trace": RUST_LOG's form
};

// Once, at start. An unknown level in `filter` is an error that names it.
Result<Done> start(const Options& options);
void stop();  // writes what is queued; called by main before it returns

// adds to the filter ("xds=debug,info"); `reset` first returns to what start() was given. Returns the
// filter in force.
Result<std::string> change_filter(std::string_view filter, bool reset);
std::string filter();

bool enabled(Level level, std::string_view target);
void write(Level level, std::string_view target, std::string_view message, std::span<const Field> fields);
inline void write(Level level, std::string_view target, std::string_view message,
                  std::initializer_list<Field> fields = {}) {
    write(level, target, message, std::span(fields.begin(), fields.size()));
}

inline void debug(std::string_view target, std::string_view message,
                  std::initializer_list<Field> fields = {}) {
    write(Level::debug, target, message, fields);
}
inline void info(std::string_view target, std::string_view message,
                 std::initializer_list<Field> fields = {}) {
    write(Level::info, target, message, fields);
}
inline void warn(std::string_view target, std::string_view message,
                 std::initializer_list<Field> fields = {}) {
    write(Level::warn, target, message, fields);
}
inline void error(std::string_view target, std::string_view message,
                  std::initializer_list<Field> fields = {}) {
    write(Level::error, target, message, fields);
}

std::uint64_t dropped_lines();

// What write() puts on a line, without the newline. Pure; for tests.
std::string format(bool json, WallTime at, Level level, std::string_view target, std::string_view message,
                   std::span<const Field> fields);

}  // namespace culvert::log
