// Our CONNECT engine on a real socket, for foreign peers to judge (h2_peers.py). What it sees goes to stdout,
// one line each.
//
//   h2_driver pki DIR                            writes certificates of both ends into DIR
//   h2_driver server [--tls DIR]                 prints "port N" and serves, each connection in a thread of
//   its own h2_driver client [--tls DIR] PORT CASE ...   exit 0: the case held
//
// The authority's first word says what the server does: echo, status-401, abort (a reset after the first
// byte), drain, unread. Client cases: echo COUNT BYTES, status N, reset N, abort, goaway, ping, refused.
#include "lib/base/check.h"
#include "lib/base/clock.h"
#include "lib/h2/tunnel.h"
#include "test/peers/wire.h"
#include "test/support/h2_wire.h"
#include "test/support/pki.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <thread>

using namespace culvert;
using namespace culvert::test;
using h2::Event;

namespace {

constexpr std::string_view server_name = "spiffe://cluster.local/ns/peers/sa/server";
constexpr std::string_view client_name = "spiffe://cluster.local/ns/peers/sa/client";

void say(const std::string& line) {
    std::printf("%s\n", line.c_str());
    std::fflush(stdout);
}

// ---- certificates ----

void write_file(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

std::string read_file(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

int make_pki(const std::string& folder) {
    WallTime now = system_clock().wall();
    Ca ca("peers root", now - 1h, now + 24h);
    for (auto [name, uri] : {std::pair("server", server_name), std::pair("client", client_name)}) {
        Leaf leaf;
        leaf.uris = {std::string(uri)};
        leaf.not_before = now - 1h;
        leaf.not_after = now + 24h;
        Ca::Issued issued = ca.issue(leaf);
        write_file(folder + "/" + name + ".key", issued.key);
        write_file(folder + "/" + name + ".pem", issued.chain);
    }
    write_file(folder + "/root.pem", ca.root());
    return 0;
}

struct Security {
    std::string folder;  // empty: plain
    bool wrap(Wire& wire, h2::Role role) const {
        if (folder.empty()) return true;
        std::string own = folder + (role == h2::Role::client ? "/client" : "/server");
        WallTime now = system_clock().wall();
        std::string root = read_file(folder + "/root.pem");
        auto credential =
            tls::Credential::from_pem(read_file(own + ".key"), read_file(own + ".pem"), root, now);
        if (!credential) std::fprintf(stderr, "%s\n", credential.error().to_string().c_str());
        check(credential.has_value());
        tls::OpensslHandshakes maker;
        auto other = mesh::Identity::parse(server_name);
        check(other.has_value());
        auto handshake = role == h2::Role::client ? maker.client(*credential, {*other}, now)
                                                  : maker.server(*credential, now);
        return wire.secure(*handshake);
    }
};

// ---- a link ----

struct Tunnel {
    std::string what;  // the authority's first word
    Buffer to_send;    // echo: received and not yet sent; its credit is not returned yet
    bool ended = false;
    bool end_sent = false;
    std::size_t sent = 0;
    std::size_t got = 0;
    bool right = true;  // client: the echo is what we sent
    int status = 0;
    bool reset = false;
    bool retry = false;
    h2::Code code{};
};

class Link {
public:
    Link(Fd socket, h2::Role role)
        : wire(std::move(socket)),
          engine(role, role == h2::Role::client ? h2::client_settings() : h2::server_settings()) {}
    virtual ~Link() = default;

    // One turn: hear, act, say. False: over.
    bool turn() {
        Buffer in;
        bool alive = wire.turn(in, 5000);
        ConstBytes input = in;
        for (;;) {
            auto event = engine.next(input);
            if (!event) {
                say("failed " + std::string(h2::word(static_cast<h2::Code>(event.error().detail))));
                alive = false;
            }
            if (!event || !*event) break;
            on(**event);
        }
        act();
        flush();
        if (alive) return true;
        wire.close_notify();
        return false;
    }
    void flush() {
        wire.queue(engine.output());
        engine.output_taken();
    }
    // As much as windows and a fair share of memory allow.
    std::size_t send(h2::StreamId id, ConstBytes bytes, bool end) {
        flush();
        std::size_t went = 0;
        while (wire.unsent() < (1 << 20)) {
            std::size_t size = std::min({bytes.size() - went, engine.send_allowance(id), h2::data_max});
            bool last = end && went + size == bytes.size();
            if (size == 0 && !last) break;
            auto header = engine.frame_data(id, size, last);
            if (!header) break;
            wire.queue(*header, bytes.subspan(went, size));
            went += size;
            if (last) tunnels[id].end_sent = true;
            if (last) break;
        }
        return went;
    }

    Wire wire;
    h2::Engine engine;
    std::map<h2::StreamId, Tunnel> tunnels;

protected:
    virtual void on(const Event& event) = 0;
    virtual void act() = 0;
};

// ---- server ----

class Serving final : public Link {
public:
    explicit Serving(Fd socket) : Link(std::move(socket), h2::Role::server) {}

private:
    void on(const Event& event) override {
        bool loud = event.kind != Event::Kind::data && event.kind != Event::Kind::window;
        if (loud) say(h2_text(event));
        if (event.kind == Event::Kind::request) return on_request(event);
        Tunnel& tunnel = tunnels[event.stream];
        if (event.kind == Event::Kind::data) {
            append(tunnel.to_send, event.bytes);
            if (tunnel.what == "abort") engine.reset(event.stream, h2::Code::connect_error);
        }
        if (event.kind == Event::Kind::ended) tunnel.ended = true;
        if (event.kind == Event::Kind::reset) tunnels.erase(event.stream);
    }
    void on_request(const Event& event) {
        const h2::ConnectRequest& request = *event.request;
        say("headers " + request.baggage + " " + request.forwarded + " " + request.traceparent);
        std::string what = request.authority.substr(0, request.authority.find(':'));
        if (!request.is_connect()) return engine.respond(event.stream, {.status = 400});
        if (what.starts_with("status-"))
            return engine.respond(event.stream, {.status = std::stoi(what.substr(7))});
        if (what == "wait") return;
        engine.respond(event.stream, {.status = 200, .baggage = request.baggage});
        tunnels[event.stream].what = what;
        if (what == "drain") engine.drain();
    }
    void act() override {
        std::erase_if(tunnels, [this](auto& row) { return !engine.find(row.first) || row.second.end_sent; });
        for (auto& [id, tunnel] : tunnels) {
            if (tunnel.what == "unread") continue;
            bool end = tunnel.ended && !tunnel.end_sent;
            if (tunnel.to_send.empty() && !end) continue;
            std::size_t went = send(id, tunnel.to_send, end);
            engine.consumed(id, went);
            tunnel.to_send.erase(tunnel.to_send.begin(),
                                 tunnel.to_send.begin() + static_cast<std::ptrdiff_t>(went));
        }
    }
};

int serve(const Security& security) {
    Listening listening = listen_loopback();
    say("port " + std::to_string(listening.port));
    for (;;) {
        Fd socket = accept_one(listening.socket);
        if (socket.get() < 0) continue;
        std::thread([&security, socket = std::move(socket)]() mutable {
            Serving link(std::move(socket));
            if (!security.wrap(link.wire, h2::Role::server)) return;
            link.flush();
            while (link.turn()) {
            }
            say("over");
        }).detach();
    }
}

// ---- client ----

class Asking final : public Link {
public:
    Asking(Fd socket, std::size_t size) : Link(std::move(socket), h2::Role::client), size_(size) {}

    h2::StreamId open(const std::string& authority) {
        auto id = engine.connect(
            {.authority = authority, .baggage = "k8s.cluster.name=c", .forwarded = "for=\"10.0.0.1:5\""});
        check(id.has_value());
        tunnels[*id].what = authority;
        flush();
        return *id;
    }
    template <class Done> bool until(Done done) {
        while (!done())
            if (!turn()) return done();
        return true;
    }
    bool pong = false;

private:
    static std::byte pattern(h2::StreamId id, std::size_t at) {
        return static_cast<std::byte>((at * 31 >> 3) + id);
    }

    void on(const Event& event) override {
        Tunnel& tunnel = tunnels[event.stream];
        switch (event.kind) {
        case Event::Kind::response: tunnel.status = event.response->status; break;
        case Event::Kind::data:
            for (std::byte each : event.bytes) tunnel.right &= each == pattern(event.stream, tunnel.got++);
            engine.consumed(event.stream, event.bytes.size());
            break;
        case Event::Kind::ended: tunnel.ended = true; break;
        case Event::Kind::reset:
            tunnel.reset = true;
            tunnel.retry = event.retry;
            tunnel.code = event.code;
            break;
        case Event::Kind::pong: pong = true; break;
        default: break;
        }
        if (event.kind != Event::Kind::data && event.kind != Event::Kind::window) say(h2_text(event));
    }
    void act() override {
        for (auto& [id, tunnel] : tunnels) {
            if (tunnel.status != 200 || tunnel.end_sent || tunnel.reset) continue;
            std::size_t allowed = std::min<std::size_t>(engine.send_allowance(id), 1 << 18);
            Buffer piece(std::min(size_ - tunnel.sent, allowed));
            if (wire.unsent() > 1 << 20 || (piece.empty() && tunnel.sent < size_)) continue;
            for (std::size_t i = 0; i < piece.size(); ++i) piece[i] = pattern(id, tunnel.sent + i);
            tunnel.sent += send(id, piece, tunnel.sent + piece.size() == size_);
        }
    }
    std::size_t size_;
};

bool echo(Asking& link, std::size_t count, std::size_t size) {
    for (std::size_t i = 0; i < count; ++i) link.open("echo:80");
    link.until([&] {
        return std::ranges::all_of(link.tunnels,
                                   [](auto& row) { return row.first == 0 || row.second.ended; });
    });
    return std::ranges::all_of(link.tunnels, [size](auto& row) {
        return row.first == 0 || (row.second.ended && row.second.right && row.second.got == size);
    });
}

bool ask(Asking& link, const std::string& what, std::size_t a, std::size_t b) {
    auto number = std::to_string(a);
    if (what == "echo") return echo(link, a, b);
    if (what == "ping") {
        link.engine.ping(7);
        link.flush();
        return link.until([&] { return link.pong; });
    }
    if (what == "goaway") {  // the server serves the first of two
        h2::StreamId one = link.open("goaway:80"), two = link.open("goaway:80");
        link.until([&] { return link.tunnels[one].ended && link.tunnels[two].reset; });
        return link.tunnels[one].right && link.tunnels[two].retry && !link.engine.can_connect();
    }
    h2::StreamId id =
        link.open(what == "status" || what == "reset" ? what + "-" + number + ":80" : "echo:80");
    Tunnel& tunnel = link.tunnels[id];
    if (what == "status")
        return link.until([&] { return tunnel.status != 0; }) && tunnel.status == static_cast<int>(a);
    if (what == "reset") {
        return link.until([&] { return tunnel.reset; }) && tunnel.code == static_cast<h2::Code>(a) &&
               !tunnel.ended;
    }
    if (what == "abort") {
        link.until([&] { return tunnel.got > 0; });
        link.engine.reset(id, h2::Code::connect_error);
        link.engine.ping(7);  // when its answer is here, the server has seen the reset
        link.flush();
        return link.until([&] { return link.pong; });
    }
    return false;
}

int run_client(const Security& security, std::uint16_t port, const std::vector<std::string>& words) {
    auto number = [&words](std::size_t at) { return words.size() > at ? std::stoul(words[at]) : 0; };
    std::size_t size = words[0] == "echo" ? number(2) : 1'000'000;
    if (words[0] == "goaway") size = 1000;
    Asking link(connect_loopback(port), size);
    if (!security.wrap(link.wire, h2::Role::client)) return 3;
    link.flush();
    if (!link.until([&] { return link.engine.peer_ready(); })) return 4;
    bool held = ask(link, words[0], number(1), number(2));
    link.wire.close_notify();
    return held ? 0 : 1;
}

}  // namespace

int main(int count, char** arguments) {
    std::vector<std::string> words(arguments + 1, arguments + count);
    Security security;
    if (words.size() >= 3 && words[1] == "--tls") {
        security.folder = words[2];
        words.erase(words.begin() + 1, words.begin() + 3);
    }
    if (words.size() == 2 && words[0] == "pki") return make_pki(words[1]);
    if (words.size() == 1 && words[0] == "server") return serve(security);
    if (words.size() < 3 || words[0] != "client") return 2;
    auto port = static_cast<std::uint16_t>(std::stoul(words[1]));
    return run_client(security, port, {words.begin() + 2, words.end()});
}
