// The loop's half of certs.h: a table that messages fill, and those who wait for it.
#include "ztunnel/certs.h"

namespace culvert::ztunnel {

struct LoopCredentials::Waiter {
    explicit Waiter(io::Loop& loop) : told(loop) {}
    io::Event told;
    std::optional<News> news;
};

bool LoopCredentials::usable(const std::shared_ptr<const tls::Credential>& credential) const {
    return credential && loop_.clock().wall() < credential->not_after();
}

io::Task<Result<std::shared_ptr<const tls::Credential>>> LoopCredentials::get(mesh::Identity identity) {
    if (auto known = known_.find(identity); known != known_.end()) {
        if (usable(known->second.credential)) co_return known->second.credential;
        if (known->second.error) co_return std::unexpected(*known->second.error);  // CA-8
    }
    Waiter waiter(loop_);
    auto place = waiters_.emplace(identity, &waiter);
    certs_.urgent(identity);
    Result<Done> told = co_await waiter.told.wait();
    if (!waiter.news) {  // cancelled before there was any
        waiters_.erase(place);
        co_return refuse(std::move(told));
    }
    if (usable(waiter.news->credential)) co_return waiter.news->credential;
    if (waiter.news->error) co_return std::unexpected(*waiter.news->error);
    co_return refuse(Reason::no_certificate, "no longer needed");  // CA-11
}

void LoopCredentials::tell(const mesh::Identity& identity, News news) {
    auto [from, to] = waiters_.equal_range(identity);
    for (auto at = from; at != to; ++at) {
        at->second->news = news;
        at->second->told.set();
    }
    waiters_.erase(from, to);
    if (news.passing) return;
    if (news.credential || news.error)
        known_[identity] = std::move(news);
    else
        known_.erase(identity);
}

}  // namespace culvert::ztunnel
