#include "lib/control/server.h"

#include "lib/h1/parser.h"
#include "lib/h1/writer.h"

#include <algorithm>

namespace culvert::control {
namespace {

using namespace std::chrono_literals;

constexpr Duration request_deadline = 2s;
constexpr Duration idle_deadline = 30s;
constexpr Duration answer_deadline = 10s;  // to make it
constexpr Duration send_deadline = 30s;    // a configuration dump to a slow reader
constexpr Duration accept_pause = 100ms;   // when the process is out of descriptors
constexpr std::size_t receive_max = 16u << 10;

// Bytes that came behind a request, kept until the next is asked for (pipelining).
struct Inbox {
    h1::RequestParser parser;
    Buffer rest;
};

Result<std::optional<h1::Request>> parse(Inbox& inbox, ConstBytes bytes) {
    append(inbox.rest, bytes);
    ConstBytes input = inbox.rest;
    auto request = inbox.parser.next(input);
    inbox.rest.erase(inbox.rest.begin(), inbox.rest.end() - static_cast<std::ptrdiff_t>(input.size()));
    return request;
}

io::Task<Result<Done>> wait_for_bytes(io::Socket& socket, Inbox& inbox) {
    if (!inbox.rest.empty()) co_return Done{};
    CO_TRY(io::Received got, co_await socket.recv(receive_max));
    if (got.end()) co_return refuse(Reason::closed);
    append(inbox.rest, got.bytes());
    co_return Done{};
}

io::Task<Result<h1::Request>> read_request(io::Socket& socket, Inbox& inbox) {
    CO_TRY(std::optional<h1::Request> request, parse(inbox, {}));
    while (!request) {
        CO_TRY(io::Received got, co_await socket.recv(receive_max));
        if (got.end()) co_return refuse(Reason::closed);
        CO_TRY(request, parse(inbox, got.bytes()));
    }
    co_return std::move(*request);
}

io::Task<Result<Done>> send_all(io::Socket& socket, Buffer bytes) {
    CO_TRY(std::size_t sent, co_await socket.send(bytes));
    if (sent != bytes.size()) co_return refuse(Reason::cancelled);
    co_return Done{};
}

h1::Response failed(const Error& error) { return {.status = 500, .body = error.to_string() + "\n"}; }

h1::Response bad_request(const Error& error) {
    int status = error.detail >= 400 ? error.detail : 400;
    return {.status = status, .body = std::string(h1::status_text(status)) + "\n"};
}

}  // namespace

// A connection in its port's list; idle while it waits for a request.
struct Server::Serving {
    Serving(io::Loop& loop, Port& of) : port(of), waiting(loop) { port.serving.push_back(this); }
    ~Serving() { std::erase(port.serving, this); }
    Serving(const Serving&) = delete;
    // To the end of the list: it has been idle for the shortest time.
    void became_idle() {
        std::erase(port.serving, this);
        port.serving.push_back(this);
        idle = true;
    }
    Port& port;
    io::Scope waiting;
    bool idle = false;
};

bool Server::Port::make_room() {
    if (serving.size() < connections_max) return true;
    auto oldest = std::ranges::find(serving, true, &Serving::idle);
    if (oldest == serving.end()) return false;
    (*oldest)->idle = false;
    (*oldest)->waiting.cancel();
    return true;
}

Result<std::uint16_t> Server::listen(Address at, Routes routes) {
    auto listener = io::Listener::open(loop_, io::own_namespace, at, {.reuse_port = false});
    if (!listener) {
        Error error = std::move(listener).error();
        if (error.text.empty()) error.text = "cannot listen on " + at.to_string();
        return std::unexpected(std::move(error));
    }
    TRY(Address local, listener->local());
    ports_.push_back(
        std::make_unique<Port>(std::move(*listener), std::move(routes), std::vector<Serving*>()));
    if (!scope_.start(accept_all(*ports_.back()))) {
        ports_.pop_back();
        return refuse(Reason::limit, "no memory to listen on " + at.to_string());
    }
    return local.port;
}

io::Task<Result<Done>> Server::accept_all(Port& port) {
    for (;;) {
        auto socket = co_await port.listener.accept();
        if (!socket) {
            if (io::Listener::is_over(socket.error())) co_return refuse(std::move(socket));
            CO_TRY_DONE(co_await io::sleep(loop_, accept_pause));
            continue;
        }
        // The socket closes where it is not served.
        if (port.make_room()) std::ignore = scope_.start(serve(port, std::move(*socket)));
    }
}

io::Task<Result<Done>> Server::serve(Port& port, io::Socket socket) {
    Serving serving(loop_, port);
    Inbox inbox;
    Result<Done> going = Done{};
    while (going) {
        serving.became_idle();
        auto heard = io::within(loop_, idle_deadline, wait_for_bytes(socket, inbox));
        going = co_await serving.waiting.run(std::move(heard));
        if (!going) break;
        serving.idle = false;
        auto request = co_await io::within(loop_, request_deadline, read_request(socket, inbox));
        h1::Response response;
        h1::ResponseOptions options;
        if (request) {
            const h1::Request& asked = *request;
            auto made = co_await io::within(loop_, answer_deadline, answer(port.routes, asked));
            if (!made && made.error().reason == Reason::cancelled) break;
            response = made ? std::move(*made) : failed(made.error());
            options = {.keep_alive = request->keep_alive, .head_only = request->method == "HEAD"};
        } else if (request.error().reason == Reason::bad_request) {
            response = bad_request(request.error());
        } else {
            break;
        }
        Buffer bytes = h1::response_bytes(response, options);
        going = co_await io::within(loop_, send_deadline, send_all(socket, std::move(bytes)));
        if (!options.keep_alive) break;
    }
    co_return going;
}

}  // namespace culvert::control
