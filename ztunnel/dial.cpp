#include "ztunnel/dial.h"

#include "ztunnel/connections.h"
#include "ztunnel/pod_view.h"

namespace culvert::ztunnel {

namespace {

// The app's half of the handshake is done by the kernel a moment after ours: usually it is bound at the first
// look.
io::Task<Result<Done>> client_bound(io::Loop& loop, const io::Socket& app, Duration wait) {
    Instant until = loop.now() + wait;
    for (Duration pause = std::chrono::milliseconds(1); !app.client_bound(); pause *= 2) {
        if (loop.now() >= until) co_return refuse(Reason::client_not_bound);
        CO_TRY_DONE(co_await io::sleep(loop, pause));
    }
    co_return Done{};
}

}  // namespace

io::Task<Result<io::Socket>> dial(PodView& pod, Address to, io::ConnectOptions options) {
    io::Loop& loop = pod.shard().loop();
    auto connecting = io::connect(loop, pod.info().where, to, options);
    auto socket = co_await io::within(loop, pod.shard().settings().connect, std::move(connecting));
    if (!socket && socket.error().reason == Reason::timed_out) co_return refuse(Reason::connect_timed_out);
    co_return socket;
}

io::Task<Result<io::Socket>> dial_app(const Connection& connection) {
    const PodInfo& pod = connection.pod.info();
    const Settings& settings = connection.pod.shard().settings();
    io::Loop& loop = connection.pod.shard().loop();
    io::ConnectOptions options;
    if (pod.real_client) options.real_client = connection.source;
    options.from_loopback = pod.real_client;
    auto app = co_await dial(connection.pod, connection.next_hop, options);
    if (!app || !pod.real_client) co_return app;
    auto bound = co_await client_bound(loop, *app, settings.client_bound_wait);
    if (bound) co_return app;
    app->reset_on_close();  // the app must never take the client for itself
    co_return refuse(std::move(bound));
}

}  // namespace culvert::ztunnel
