// The load of the tunnel bench: plain epoll, no part of the mesh. Prints one line of JSON.
//
//   bench_load serve PORT                              PORT swallows, PORT+1 answers each KB with a KB,
//   PORT+2 holds bench_load bulk HOST PORT CONNECTIONS SECONDS      {"bytes":...} bench_load requests HOST
//   PORT CONNECTIONS SECONDS  closed loop of 1 KB requests: {"count":...,"p50_us":...,"p99_us":...}
//   bench_load paced HOST PORT RATE SECONDS            open loop, latency from the time a request was due
//   bench_load connects HOST PORT PARALLEL SECONDS     connect, 1 KB request, answer, close
//   bench_load idle HOST PORT CONNECTIONS              opens them, prints "held", closes when stdin ends
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

namespace {

constexpr std::size_t request_size = 1024;
char block[256 << 10];

double now() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(1);
}

int make_socket() {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd < 0) die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int dial(const char* host, int port) {
    int fd = make_socket();
    sockaddr_in at{.sin_family = AF_INET,
                   .sin_port = htons(static_cast<std::uint16_t>(port)),
                   .sin_addr = {},
                   .sin_zero = {}};
    inet_pton(AF_INET, host, &at.sin_addr);
    if (connect(fd, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) die("connect");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

struct Epoll {
    int fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_event events[256]{};
    void add(int what, std::uint64_t data, std::uint32_t mask) const {
        epoll_event e{.events = mask, .data = {.u64 = data}};
        epoll_ctl(fd, EPOLL_CTL_ADD, what, &e);
    }
    int wait(int timeout_ms) { return epoll_wait(fd, events, 256, timeout_ms); }
};

struct Percentiles {
    std::vector<double> seconds;
    double at(double share) {
        if (seconds.empty()) return 0;
        auto nth =
            seconds.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(seconds.size() - 1));
        std::nth_element(seconds.begin(), nth, seconds.end());
        return *nth * 1e6;
    }
};

// ---- server

enum class Role : std::uint8_t { swallow, answer, hold };

bool serve_one(int fd, Role role, std::size_t& have) {
    for (;;) {
        ssize_t got = recv(fd, block, sizeof block, 0);
        if (got < 0) return errno == EAGAIN;
        if (got == 0) return false;
        if (role != Role::answer) continue;
        have += static_cast<std::size_t>(got);
        for (; have >= request_size; have -= request_size)
            if (send(fd, block, request_size, MSG_NOSIGNAL) < 0) return false;
    }
}

int serve(int port) {
    Epoll epoll;
    int listeners[3];
    for (int i = 0; i < 3; ++i) {
        listeners[i] = make_socket();
        int one = 1;
        setsockopt(listeners[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        sockaddr_in at{.sin_family = AF_INET,
                       .sin_port = htons(static_cast<std::uint16_t>(port + i)),
                       .sin_addr = {},
                       .sin_zero = {}};
        if (bind(listeners[i], reinterpret_cast<sockaddr*>(&at), sizeof at) != 0 ||
            listen(listeners[i], 4096) != 0)
            die("listen");
        epoll.add(listeners[i], static_cast<std::uint64_t>(listeners[i]), EPOLLIN);
    }
    struct Connection {
        Role role{};
        std::size_t have = 0;
    };
    std::vector<Connection> connections(1 << 16);
    for (;;) {
        int count = epoll.wait(-1);
        for (int i = 0; i < count; ++i) {
            int fd = static_cast<int>(epoll.events[i].data.u64);
            auto listener = std::ranges::find(listeners, fd);
            if (listener == std::end(listeners)) {
                if (!serve_one(fd, connections[static_cast<std::size_t>(fd)].role,
                               connections[static_cast<std::size_t>(fd)].have))
                    close(fd);
                continue;
            }
            int accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (accepted < 0) continue;
            int one = 1;
            setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            connections[static_cast<std::size_t>(accepted)] = {
                static_cast<Role>(listener - std::begin(listeners)), 0};
            epoll.add(accepted, static_cast<std::uint64_t>(accepted), EPOLLIN | EPOLLRDHUP);
        }
    }
}

// ---- clients

int bulk(const char* host, int port, int connections, double seconds) {
    Epoll epoll;
    std::vector<int> fds;
    for (int i = 0; i < connections; ++i) {
        fds.push_back(dial(host, port));
        epoll.add(fds.back(), static_cast<std::uint64_t>(i), EPOLLOUT);
    }
    std::uint64_t bytes = 0;
    double start = now(), end = start + seconds;
    while (now() < end) {
        int count = epoll.wait(100);
        for (int i = 0; i < count; ++i) {
            ssize_t sent = send(fds[epoll.events[i].data.u64], block, sizeof block, MSG_NOSIGNAL);
            if (sent < 0 && errno != EAGAIN) die("send");
            if (sent > 0) bytes += static_cast<std::uint64_t>(sent);
        }
    }
    std::printf("{\"bytes\":%llu,\"seconds\":%.3f}\n", static_cast<unsigned long long>(bytes), now() - start);
    return 0;
}

int requests(const char* host, int port, int connections, double seconds) {
    Epoll epoll;
    struct Connection {
        int fd;
        std::size_t have;
        double sent;
    };
    std::vector<Connection> all;
    for (int i = 0; i < connections; ++i) {
        all.push_back({dial(host, port), 0, now()});
        epoll.add(all.back().fd, static_cast<std::uint64_t>(i), EPOLLIN);
        if (send(all.back().fd, block, request_size, MSG_NOSIGNAL) != request_size) die("send");
    }
    Percentiles latency;
    double start = now(), end = start + seconds;
    while (now() < end) {
        int count = epoll.wait(100);
        for (int i = 0; i < count; ++i) {
            Connection& c = all[epoll.events[i].data.u64];
            ssize_t got = recv(c.fd, block, request_size - c.have, 0);
            if (got == 0 || (got < 0 && errno != EAGAIN)) die("recv");
            if (got < 0 || (c.have += static_cast<std::size_t>(got)) < request_size) continue;
            double at = now();
            latency.seconds.push_back(at - c.sent);
            c.have = 0;
            c.sent = at;
            if (send(c.fd, block, request_size, MSG_NOSIGNAL) != request_size) die("send");
        }
    }
    std::printf("{\"count\":%zu,\"seconds\":%.3f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", latency.seconds.size(),
                now() - start, latency.at(0.5), latency.at(0.99));
    return 0;
}

// Each request has a due time; a late answer counts from then, so that a stall is seen by all that it delays.
int paced(const char* host, int port, double rate, double seconds) {
    constexpr int connections = 16;
    Epoll epoll;
    struct Connection {
        int fd;
        std::size_t have = 0;
        std::vector<double> due;
    };
    std::vector<Connection> all(connections);
    for (int i = 0; i < connections; ++i) {
        all[static_cast<std::size_t>(i)].fd = dial(host, port);
        epoll.add(all[static_cast<std::size_t>(i)].fd, static_cast<std::uint64_t>(i), EPOLLIN);
    }
    Percentiles latency;
    double start = now();
    std::size_t sent = 0;
    while (now() - start < seconds) {
        while (static_cast<double>(sent) / rate <= now() - start) {
            Connection& c = all[sent % connections];
            if (send(c.fd, block, request_size, MSG_NOSIGNAL | MSG_DONTWAIT) != request_size) die("send");
            c.due.push_back(start + static_cast<double>(sent++) / rate);
        }
        int count = epoll.wait(1);
        for (int i = 0; i < count; ++i) {
            Connection& c = all[epoll.events[i].data.u64];
            ssize_t got = recv(c.fd, block, sizeof block, 0);
            if (got <= 0) continue;
            for (c.have += static_cast<std::size_t>(got); c.have >= request_size && !c.due.empty();
                 c.have -= request_size) {
                latency.seconds.push_back(now() - c.due.front());
                c.due.erase(c.due.begin());
            }
        }
    }
    std::printf("{\"count\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", latency.seconds.size(), latency.at(0.5),
                latency.at(0.99));
    return 0;
}

struct Short {
    int fd = -1;
    std::size_t have = 0;
    bool asked = false;
};

void restart(Short& c, Epoll& epoll, std::uint64_t index, const sockaddr_in& at) {
    c = {make_socket(), 0, false};
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    if (connect(c.fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 && errno != EINPROGRESS)
        die("connect");
    epoll.add(c.fd, index, EPOLLOUT | EPOLLIN);
}

int connects(const char* host, int port, int parallel, double seconds) {
    Epoll epoll;
    sockaddr_in at{.sin_family = AF_INET,
                   .sin_port = htons(static_cast<std::uint16_t>(port)),
                   .sin_addr = {},
                   .sin_zero = {}};
    inet_pton(AF_INET, host, &at.sin_addr);
    std::vector<Short> all(static_cast<std::size_t>(parallel));
    for (std::size_t i = 0; i < all.size(); ++i) restart(all[i], epoll, i, at);
    std::uint64_t done = 0, failed = 0;
    double start = now(), end = start + seconds;
    while (now() < end) {
        int count = epoll.wait(100);
        for (int i = 0; i < count; ++i) {
            Short& c = all[epoll.events[i].data.u64];
            bool over = false;
            if (!c.asked) {
                if (send(c.fd, block, request_size, MSG_NOSIGNAL) != request_size) {
                    ++failed;
                    over = true;
                } else {
                    c.asked = true;
                    epoll_event e{.events = EPOLLIN, .data = {.u64 = epoll.events[i].data.u64}};
                    epoll_ctl(epoll.fd, EPOLL_CTL_MOD, c.fd, &e);
                }
            } else {
                ssize_t got = recv(c.fd, block, request_size - c.have, 0);
                if (got <= 0) {
                    if (got < 0 && errno == EAGAIN) continue;
                    ++failed;
                    over = true;
                } else if ((c.have += static_cast<std::size_t>(got)) == request_size) {
                    ++done;
                    over = true;
                }
            }
            if (over) {
                close(c.fd);
                restart(c, epoll, epoll.events[i].data.u64, at);
            }
        }
    }
    std::printf("{\"count\":%llu,\"failed\":%llu,\"seconds\":%.3f}\n", static_cast<unsigned long long>(done),
                static_cast<unsigned long long>(failed), now() - start);
    return 0;
}

int idle(const char* host, int port, int connections) {
    std::vector<int> fds;
    for (int i = 0; i < connections; ++i) fds.push_back(dial(host, port));
    std::puts("{\"held\":true}");
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
    return 0;
}

}  // namespace

int main(int count, char** words) {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    std::string verb = count > 1 ? words[1] : "";
    auto number = [&](int i) { return count > i ? std::atof(words[i]) : 0; };
    if (verb == "serve" && count == 3) return serve(static_cast<int>(number(2)));
    if (count < 5) {
        std::fputs("usage: see the head of bench/tunnel/load.cpp\n", stderr);
        return 2;
    }
    int port = static_cast<int>(number(3));
    if (verb == "bulk") return bulk(words[2], port, static_cast<int>(number(4)), number(5));
    if (verb == "requests") return requests(words[2], port + 1, static_cast<int>(number(4)), number(5));
    if (verb == "paced") return paced(words[2], port + 1, number(4), number(5));
    if (verb == "connects") return connects(words[2], port + 1, static_cast<int>(number(4)), number(5));
    if (verb == "idle") return idle(words[2], port + 2, static_cast<int>(number(4)));
    return 2;
}
