#include "lib/control/client.h"

#include "lib/h1/parser.h"
#include "lib/h1/writer.h"
#include "lib/io/uring.h"

namespace culvert::control {
namespace {

constexpr std::size_t receive_max = 256u << 10;

io::Task<Result<h1::Response>> ask(io::Loop& loop, Address at, h1::Request request) {
    io::ConnectOptions options;
    CO_TRY(io::Socket socket, co_await io::connect(loop, io::own_namespace, at, options));
    std::string host = at.to_string();
    Buffer bytes = h1::request_bytes(request, {.host = host});
    CO_TRY_DONE(co_await socket.send(bytes));
    h1::ResponseParser parser;
    for (;;) {
        CO_TRY(io::Received got, co_await socket.recv(receive_max));
        if (got.end()) co_return parser.end();
        ConstBytes input = got.bytes();
        CO_TRY(std::optional<h1::Response> response, parser.next(input));
        if (response) co_return std::move(*response);
    }
}

io::Task<void> fetch_then_stop(io::Loop& loop, io::Task<Result<h1::Response>> question,
                               Result<h1::Response>& answer) {
    answer = co_await question;
    loop.stop();
}

}  // namespace

io::Task<Result<h1::Response>> fetch(io::Loop& loop, Address at, h1::Request request, Duration deadline) {
    auto response = co_await io::within(loop, deadline, ask(loop, at, std::move(request)));
    if (!response && response.error().text.empty()) {
        Error error = response.error();
        error.text = "no answer from " + at.to_string();
        co_return std::unexpected(std::move(error));
    }
    co_return response;
}

Result<h1::Response> fetch_blocking(Address at, h1::Request request, Duration deadline) {
    TRY(auto driver, io::make_uring({.buffers = 2}));
    io::Loop loop(std::move(driver));
    io::Scope scope(loop);
    Result<h1::Response> answer = refuse(Reason::internal);
    if (!scope.start(fetch_then_stop(loop, fetch(loop, at, std::move(request), deadline), answer)))
        return answer;
    loop.run();
    return answer;
}

}  // namespace culvert::control
