#include "lib/base/fd.h"
#include "lib/control/client.h"
#include "lib/control/server.h"
#include "lib/io/uring.h"

#include <arpa/inet.h>
#include <catch2/catch.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <thread>

using namespace culvert;
using namespace std::chrono_literals;

namespace {

// A server on a thread of its own, as in the programs.
class Running {
public:
    Running()
        : loop_(*io::make_uring()), scope_(loop_), closing_(loop_), released_(loop_), server_(loop_, scope_) {
        auto hello = [](const h1::Request& request) {
            return control::at_once({.body = "hello " + request.query});
        };
        auto big = [](const h1::Request&) { return control::at_once({.body = std::string(3 << 20, 'x')}); };
        auto broken = [](const h1::Request&) { return broken_answer(); };
        auto slow = [this](const h1::Request&) { return when_released(); };
        auto port = server_.listen(
            *Address::parse("127.0.0.1:0"),
            {{"/", "GET", hello}, {"/big", "", big}, {"/broken", "", broken}, {"/slow", "", slow}});
        REQUIRE(port);
        address = {*Ip::parse("127.0.0.1"), *port};
        thread_ = std::thread([this] { loop_.run(); });
    }
    ~Running() {
        loop_.post_message([this] { check(closing_.start(end())); });
        thread_.join();
    }
    void release() {
        loop_.post_message([this] { released_.set(); });
    }
    Address address;

private:
    static control::Answer broken_answer() { co_return refuse(Reason::io, "it is broken"); }
    control::Answer when_released() {
        CO_TRY_DONE(co_await released_.wait());
        co_return h1::Response{.body = "released"};
    }
    io::Task<void> end() {
        scope_.cancel();
        co_await scope_.join();
        loop_.stop();
    }
    io::Loop loop_;
    io::Scope scope_;
    io::Scope closing_;
    io::Event released_;
    control::Server server_;
    std::thread thread_;
};

int raw_client(Address at);
std::string exchange(Address at, std::string_view text);

}  // namespace

TEST_CASE("a control port answers, refuses other methods and paths, and carries large answers whole",
          "[control]") {
    Running running;
    auto hello = control::fetch_blocking(running.address, {.query = "a=1"}, 5s);
    REQUIRE(hello);
    CHECK(hello->body == "hello a=1");
    CHECK(control::fetch_blocking(running.address, {.path = "/x"}, 5s)->status == 404);
    auto post = control::fetch_blocking(running.address, {.method = "POST"}, 5s);
    CHECK(post->status == 405);
    CHECK(post->field("allow") == "GET");
    CHECK(control::fetch_blocking(running.address, {.path = "/big"}, 5s)->body.size() == 3 << 20);
}

TEST_CASE("a port that nobody listens on is an error that names it", "[control]") {
    Address nobody;
    {
        Running running;
        nobody = running.address;
    }
    auto answer = control::fetch_blocking(nobody, {}, 5s);
    REQUIRE_FALSE(answer);
    CHECK(answer.error().text.find(nobody.to_string()) != std::string::npos);
}

TEST_CASE("garbage gets 400, pipelined requests an answer each, and neither disturbs the next caller",
          "[control]") {
    Running running;
    CHECK(exchange(running.address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    auto two = exchange(
        running.address,
        "GET /?1 HTTP/1.1\r\nhost: x\r\n\r\nGET /?2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    CHECK(two.find("hello 1") < two.find("hello 2"));
    CHECK(two.find("hello 2") != two.npos);
    CHECK(control::fetch_blocking(running.address, {}, 5s));
}

TEST_CASE("who does nothing keeps nobody out: one beyond the bound ends the longest idle", "[control]") {
    Running running;
    std::vector<Fd> held;
    for (std::size_t i = 0; i < control::Server::connections_max; ++i)
        held.emplace_back(raw_client(running.address));
    CHECK(control::fetch_blocking(running.address, {}, 5s));
    auto is_open = [](const Fd& fd) {
        pollfd look{.fd = fd.get(), .events = POLLIN, .revents = 0};
        return poll(&look, 1, 0) == 0;
    };
    CHECK_FALSE(is_open(held.front()));
    CHECK(is_open(held.back()));
    CHECK(std::ranges::count_if(held, is_open) == control::Server::connections_max - 1);
}

TEST_CASE("an answer that waits holds up nobody else", "[control]") {
    Running running;
    auto late = std::async(std::launch::async,
                           [&] { return control::fetch_blocking(running.address, {.path = "/slow"}, 5s); });
    CHECK(control::fetch_blocking(running.address, {}, 5s)->status == 200);
    running.release();
    auto answer = late.get();
    REQUIRE(answer);
    CHECK(answer->body == "released");
}

TEST_CASE("a handler's error is 500 with its text [A-1]", "[control]") {
    Running running;
    auto answer = control::fetch_blocking(running.address, {.path = "/broken"}, 5s);
    REQUIRE(answer);
    CHECK(answer->status == 500);
    CHECK(answer->body == "io: it is broken\n");
}

namespace {

int raw_client(Address at) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{.sin_family = AF_INET,
                   .sin_port = htons(at.port),
                   .sin_addr = {htonl(INADDR_LOOPBACK)},
                   .sin_zero = {}};
    REQUIRE(connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
    return fd;
}

std::string exchange(Address at, std::string_view text) {
    Fd fd(raw_client(at));
    REQUIRE(write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    std::string all;
    char part[4096];
    for (ssize_t got; (got = read(fd.get(), part, sizeof part)) > 0;)
        all.append(part, static_cast<std::size_t>(got));
    return all;
}

}  // namespace
