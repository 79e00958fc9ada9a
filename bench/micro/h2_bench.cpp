// What the CONNECT engine adds to a byte and to a connection: both ends of a link in memory, no TLS, no
// sockets. The payload is not touched by either end, so bytes a second here say only how often nine bytes are
// written and read.
#include "lib/base/check.h"
#include "lib/h2/tunnel.h"

#include <benchmark/benchmark.h>

using namespace culvert;
using namespace culvert::h2;

namespace {

struct Link {
    Engine client{Role::client, client_settings()};
    Engine server{Role::server, server_settings()};

    Link() {
        for (int i = 0; i < 3; ++i) {
            give(client, server);
            give(server, client);
        }
    }
    // Control frames of one end to the other; CONNECTs are answered, DATA is taken.
    static void give(Engine& from, Engine& to) {
        ConstBytes bytes = from.output();
        hear(to, bytes);
        from.output_taken();
    }
    static void hear(Engine& to, ConstBytes bytes) {
        for (;;) {
            auto event = to.next(bytes);
            check(event.has_value());
            if (!*event) return;
            if ((*event)->kind == Event::Kind::request) to.respond((*event)->stream, {});
            if ((*event)->kind == Event::Kind::data) to.consumed((*event)->stream, (*event)->bytes.size());
        }
    }
    StreamId open(const ConnectRequest& request) {
        StreamId id = client.connect(request).value();
        give(client, server);
        give(server, client);
        return id;
    }
    void send(Engine& from, Engine& to, StreamId id, Buffer& frame, bool end) {
        auto header = from.frame_data(id, frame.size() - frame_header_size, end);
        check(header.has_value());
        std::ranges::copy(*header, frame.begin());
        hear(to, frame);
        if (!to.output().empty()) give(to, from);
    }
};

ConnectRequest usual_request() {
    return {.authority = "10.244.1.17:8080",
            .baggage = "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=web,"
                       "service.name=web,service.version=v1",
            .forwarded = "for=\"10.244.2.9:43210\";host=web.default.svc.cluster.local",
            .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"};
}

// Both ends' cost of one DATA frame, its share of WINDOW_UPDATEs included.
void data_frame(benchmark::State& state) {
    Link link;
    StreamId id = link.open(usual_request());
    Buffer frame(frame_header_size + static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) link.send(link.client, link.server, id, frame, false);
    state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(data_frame)->Arg(100)->Arg(data_max);

// Both ends' cost of one tunnel: CONNECT, 200, one small DATA frame each way with its end.
void connect_round_trip(benchmark::State& state) {
    Link link;
    const ConnectRequest request = usual_request();
    Buffer frame(frame_header_size + 100);
    for (auto _ : state) {
        StreamId id = link.open(request);
        link.send(link.client, link.server, id, frame, true);
        link.send(link.server, link.client, id, frame, true);
    }
    check(link.client.streams() == 0 && link.server.streams() == 0);
}
BENCHMARK(connect_round_trip)->Iterations(200'000);

// A hand-over's share of one link: an engine with that many tunnels to bytes and back.
void save_and_load(benchmark::State& state) {
    Link link;
    for (std::int64_t i = 0; i < state.range(0); ++i) link.open(usual_request());
    Buffer bytes;
    for (auto _ : state) {
        bytes.clear();
        Encoder to(bytes);
        link.server.save(to);
        Decoder from{ConstBytes(bytes)};
        auto copy = Engine::load(from);
        check(copy.has_value());
    }
    state.counters["bytes"] = static_cast<double>(bytes.size());
    state.counters["sizeof_engine"] = sizeof(Engine);
    state.counters["sizeof_stream"] = sizeof(Stream);
}
BENCHMARK(save_and_load)->Arg(1)->Arg(100);

}  // namespace
