// Counters and gauges in OpenMetrics text (wire facts M-1, M-2).
//
// A Registry belongs to a program's composition root. Looking a series up takes a lock and is done per
// connection or rarer; what comes back is a stable pointer whose add() is one relaxed atomic, good for the
// data path and any thread. A family holds at most series_max label sets; further ones share one series whose
// labels all say "overflow", so that a peer who invents labels cannot make us grow (docs/limits.md:
// metrics.series_max).
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert {

class Counter {
public:
    void add(std::uint64_t by = 1) { value_.fetch_add(by, std::memory_order_relaxed); }
    std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

class Gauge {
public:
    void set(std::int64_t to) { value_.store(to, std::memory_order_relaxed); }
    void add(std::int64_t by) { value_.fetch_add(by, std::memory_order_relaxed); }
    std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::int64_t> value_{0};
};

class Histogram {
public:
    explicit Histogram(std::vector<double> bounds)
        : bounds_(std::move(bounds)), buckets_(bounds_.size() + 1) {}
    void observe(double value);

private:
    friend class Registry;
    std::vector<double> bounds_;
    std::deque<std::atomic<std::uint64_t>> buckets_;
    std::atomic<double> sum_{0};
};

using Labels = std::vector<std::pair<std::string, std::string>>;  // in the order in which they are printed

class Registry {
public:
    static constexpr std::size_t series_max = 20'000;

    // `name` without "_total". The help text of the first call counts. One name is always one type.
    Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
    Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
    Histogram& histogram(std::string_view name, std::string_view help, std::vector<double> bounds,
                         const Labels& labels = {});
    // Called at each scrape, for values that somebody else keeps (open descriptors, a BPF map).
    void sample(std::string_view name, std::string_view help, std::function<std::int64_t()> read);

    // Of one series; 0 if there is none.
    std::uint64_t count_of(std::string_view name, const Labels& labels) const;
    // OpenMetrics text, ends with "# EOF". Families without a series are left out.
    std::string render() const;

private:
    enum class Kind : std::uint8_t { counter, gauge, histogram };
    struct Family {
        Kind kind{};
        std::string help;
        std::map<std::string, Counter, std::less<>> counters;  // by printed labels; nodes never move
        std::map<std::string, Gauge, std::less<>> gauges;
        std::map<std::string, Histogram, std::less<>> histograms;
        std::function<std::int64_t()> read;
    };
    Family& family(std::string_view name, std::string_view help, Kind kind);

    mutable std::mutex lock_;
    std::map<std::string, Family, std::less<>> families_;
};

}  // namespace culvert
