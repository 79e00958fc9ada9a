#include "lib/base/metrics.h"

#include "lib/base/check.h"

#include <fmt/format.h>

#include <algorithm>

namespace culvert {
namespace {

std::string printed(const Labels& labels) {
    std::string out;
    for (const auto& [name, value] : labels) {
        if (!out.empty()) out += ',';
        out += name + "=\"";
        for (char c : value) {
            if (c == '\n')
                out += "\\n";
            else if (c == '"' || c == '\\')
                out += '\\', out += c;
            else
                out += c;
        }
        out += '"';
    }
    return out;
}

template <class Series, class... A>
Series& series(std::map<std::string, Series, std::less<>>& all, const Labels& labels, A&&... arguments) {
    std::string key = printed(labels);
    auto at = all.find(key);
    if (at != all.end()) return at->second;
    if (all.size() >= Registry::series_max) {
        Labels overflow = labels;
        for (auto& [name, value] : overflow) value = "overflow";
        key = printed(overflow);
    }
    return all.try_emplace(key, std::forward<A>(arguments)...).first->second;
}

std::string braces(const std::string& labels) { return labels.empty() ? "" : "{" + labels + "}"; }

}  // namespace

void Histogram::observe(double value) {
    auto at = std::ranges::lower_bound(bounds_, value) - bounds_.begin();
    buckets_[static_cast<std::size_t>(at)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
}

Registry::Family& Registry::family(std::string_view name, std::string_view help, Kind kind) {
    auto at = families_.find(name);
    if (at == families_.end()) {
        at = families_.try_emplace(std::string(name)).first;
        at->second.kind = kind;
        at->second.help = help;
    }
    check(at->second.kind == kind);
    return at->second;
}

Counter& Registry::counter(std::string_view name, std::string_view help, const Labels& labels) {
    std::lock_guard held(lock_);
    return series(family(name, help, Kind::counter).counters, labels);
}

Gauge& Registry::gauge(std::string_view name, std::string_view help, const Labels& labels) {
    std::lock_guard held(lock_);
    return series(family(name, help, Kind::gauge).gauges, labels);
}

Histogram& Registry::histogram(std::string_view name, std::string_view help, std::vector<double> bounds,
                               const Labels& labels) {
    std::lock_guard held(lock_);
    return series(family(name, help, Kind::histogram).histograms, labels, std::move(bounds));
}

void Registry::sample(std::string_view name, std::string_view help, std::function<std::int64_t()> read) {
    std::lock_guard held(lock_);
    family(name, help, Kind::gauge).read = std::move(read);
}

std::uint64_t Registry::count_of(std::string_view name, const Labels& labels) const {
    std::lock_guard held(lock_);
    auto family = families_.find(name);
    if (family == families_.end()) return 0;
    auto counter = family->second.counters.find(printed(labels));
    return counter == family->second.counters.end() ? 0 : counter->second.value();
}

std::string Registry::render() const {
    std::lock_guard held(lock_);
    std::string out;
    for (const auto& [name, family] : families_) {
        if (family.counters.empty() && family.gauges.empty() && family.histograms.empty() && !family.read)
            continue;
        const char* type = family.kind == Kind::counter ? "counter"
                           : family.kind == Kind::gauge ? "gauge"
                                                        : "histogram";
        std::string_view end = family.help.ends_with('.') ? "" : ".";
        out += fmt::format("# HELP {} {}{}\n# TYPE {} {}\n", name, family.help, end, name, type);
        for (const auto& [labels, counter] : family.counters)
            out += fmt::format("{}_total{} {}\n", name, braces(labels), counter.value());
        for (const auto& [labels, gauge] : family.gauges)
            out += fmt::format("{}{} {}\n", name, braces(labels), gauge.value());
        if (family.read) out += fmt::format("{} {}\n", name, family.read());
        for (const auto& [labels, histogram] : family.histograms) {
            std::uint64_t seen = 0;
            std::string comma = labels.empty() ? "" : labels + ",";
            for (std::size_t i = 0; i < histogram.buckets_.size(); ++i) {
                seen += histogram.buckets_[i].load(std::memory_order_relaxed);
                std::string bound =
                    i < histogram.bounds_.size() ? fmt::format("{}", histogram.bounds_[i]) : "+Inf";
                out += fmt::format("{}_bucket{{{}le=\"{}\"}} {}\n", name, comma, bound, seen);
            }
            out += fmt::format("{}_sum{} {}\n{}_count{} {}\n", name, braces(labels),
                               histogram.sum_.load(std::memory_order_relaxed), name, braces(labels), seen);
        }
    }
    return out + "# EOF\n";
}

}  // namespace culvert
