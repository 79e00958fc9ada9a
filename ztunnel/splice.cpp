#include "ztunnel/splice.h"

#include "ztunnel/backlog.h"
#include "ztunnel/connections.h"
#include "ztunnel/pod_view.h"

namespace culvert::ztunnel {

namespace {

using Count = void (Connection::*)(std::size_t);

// One direction: where bytes come from, where they go, and what the other socket did not take yet.
struct Way {
    io::Socket& from;
    io::Socket& to;
    Count count;
    Backlog rest{};
};

class Splice {
public:
    Splice(Connection& connection, io::Socket app, io::Socket peer)
        : connection_(connection), app_(std::move(app)), peer_(std::move(peer)),
          both_(connection.scope.loop()) {
        connection_.pod.count_sockets(1);
        connection_.watch(&app_, &peer_);  // a direction that has ended, or waits to be sent, reads nothing
    }
    ~Splice() {
        connection_.watch(nullptr);
        connection_.pod.count_sockets(-1);
    }
    Splice(const Splice&) = delete;

    io::Task<Result<Done>> run() {
        if (!both_.start(pump(to_peer_)) || !both_.start(pump(to_app_))) fail(Reason::limit);
        co_await both_.join();
        if (failure_ == Reason::none) co_return Done{};
        app_.reset_on_close();
        peer_.reset_on_close();
        co_return refuse(failure_);
    }

private:
    // The other direction ends as well; the first reason counts.
    void fail(Reason why) {
        if (failure_ == Reason::none) failure_ = why == Reason::cancelled ? connection_.cut_reason() : why;
        both_.cancel();
    }

    io::Task<void> pump(Way& way) {
        auto moved = co_await move_all(way);
        if (moved)
            way.to.shut_write();  // behind the last byte
        else
            fail(moved.error().reason);
    }

    io::Task<Result<Done>> move_all(Way& way) {
        std::size_t most = way.from.loop().driver().buffer_size();
        for (bool more = true; more;) {
            auto received = co_await way.from.recv(most);
            CO_TRY(more, pass(way, std::move(received)));
            while (!way.rest.empty()) {
                ConstBytes next = way.rest.next();
                CO_TRY(std::size_t sent, co_await way.to.send(next));
                way.rest.sent(sent, shelf());
                if (!count_held()) co_return refuse(Reason::limit);
            }
        }
        co_return Done{};
    }

    // One receive, as far as the other socket takes it at once; false: it was the last.
    Result<bool> pass(Way& way, Result<io::Received> received) {
        if (!received) return refuse(std::move(received));
        if (received->end()) return false;
        ConstBytes bytes = received->bytes();
        (connection_.*way.count)(bytes.size());
        TRY(std::size_t sent, way.to.try_send(bytes));
        if (sent == bytes.size()) return true;
        way.rest.add(bytes.subspan(sent), shelf());
        if (!count_held()) return refuse(Reason::limit);
        return true;
    }

    bool count_held() { return connection_.holds(to_peer_.rest.size() + to_app_.rest.size()); }

    BufferShelf& shelf() { return connection_.pod.shard().shelf(); }

    Connection& connection_;
    io::Socket app_;
    io::Socket peer_;
    io::Scope both_;
    Way to_peer_{app_, peer_, &Connection::count_sent};
    Way to_app_{peer_, app_, &Connection::count_received};
    Reason failure_ = Reason::none;
};

}  // namespace

io::Task<Result<Done>> splice(Connection& connection, io::Socket app, io::Socket peer) {
    connection.settled();
    Splice both(connection, std::move(app), std::move(peer));
    co_return co_await both.run();
}

}  // namespace culvert::ztunnel
