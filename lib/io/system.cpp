#include "lib/io/system.h"

#include "bpf/abi.h"
#include "lib/io/netns.h"

#include <array>
#include <cerrno>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/uio.h>

namespace culvert::io {
namespace {

constexpr int keepalive_idle_s = 180;  // wire.md 9: KEEPALIVE_TIME, _INTERVAL, _RETRIES
constexpr int keepalive_interval_s = 180;
constexpr int keepalive_probes = 9;
constexpr int so_original_dst = 80;  // SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST
constexpr int sol_ip = 0;
constexpr int sol_ipv6 = 41;
constexpr std::size_t pieces_max = 64;    // of one try_send; the rest counts as not sent
constexpr int bind_address_no_port = 24;  // IP_BIND_ADDRESS_NO_PORT

// Small writes leave at once, dead peers are found. Sockets accepted from a listener inherit all of it.
Setup& set_tcp_options(Setup& setup) {
    return setup.option(IPPROTO_TCP, TCP_NODELAY, 1)
        .option(SOL_SOCKET, SO_KEEPALIVE, 1)
        .option(IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s)
        .option(IPPROTO_TCP, TCP_KEEPINTVL, keepalive_interval_s)
        .option(IPPROTO_TCP, TCP_KEEPCNT, keepalive_probes);
}

// 127.0.0.1 to 127.255.255.254: 16 million tuple spaces instead of one (decision 2).
Ip random_loopback(Random& random) {
    return Ip::v4(0x7f000000u + 1 + static_cast<std::uint32_t>(random.below(0xfffffe)));
}

// Fails closed: without the option the app would take the mesh for its client, or itself (kernel contract d,
// S3).
Result<Done> tell_real_client(int fd, Address client) {
    cv_address value{};
    std::memcpy(value.ip, client.ip.mapped().data(), sizeof value.ip);
    value.port = client.port;
    if (::setsockopt(fd, CV_SOL_MESH, CV_OPT_REAL_CLIENT, &value, sizeof value) != 0) {
        return refuse(Reason::client_not_bound, errno);
    }
    return Done{};
}

// The port is chosen at connect, when the whole tuple is known: else 28,000 dials exhaust an address. IPv6
// has one loopback address, and from that one the kernel's own answers get lost (docs/decisions/0011): its
// choice of a source stands.
Result<Done> bind_source(int fd, Ip to, const ConnectOptions& options, Random& random) {
    std::optional<Ip> from = options.bind;
    if (options.from_loopback && to.is_v4()) from = random_loopback(random);
    if (!from) return Done{};
    return Setup(fd).option(sol_ip, bind_address_no_port, 1).bind({*from, 0}).done();
}

template <class Get> Result<Address> name_of(Get get, int fd) {
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    if (get(fd, reinterpret_cast<sockaddr*>(&name), &size) != 0) return refuse_os(errno);
    return from_system(name);
}

}  // namespace

Setup& Setup::role(std::uint32_t role) { return role == 0 ? *this : option(CV_SOL_MESH, CV_OPT_ROLE, role); }

Setup& Setup::mark(std::uint32_t mark) { return mark == 0 ? *this : option(SOL_SOCKET, SO_MARK, mark); }

Setup& Setup::dual_stack(Ip at) {
    return at.is_v4() ? *this : option(sol_ipv6, IPV6_V6ONLY, at == Ip() ? 0 : 1);
}

Setup& Setup::bind(Address at) {
    SocketAddress name = to_system(at);
    if (!error_ && ::bind(fd_, &name.any, name.size) != 0) error_ = errno;
    return *this;
}

Result<Fd> new_socket(Namespace where, Ip family_of, int type) {
    return inside(where, [&]() -> Result<Fd> {
        Fd fd(::socket(family_of.is_v4() ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0));
        if (!fd.open()) return refuse_os(errno);
        return fd;
    });
}

std::unexpected<Error> refuse_address(std::string_view what, const Address& at, int number) {
    Error error = os_error(number);
    error.text = "cannot " + std::string(what) + " " + at.to_string() + ": " + std::strerror(number);
    return std::unexpected(std::move(error));
}

Result<Fd> listen_in(Namespace where, Address at, const ListenOptions& options) {
    TRY(Fd fd, new_socket(where, at.ip, SOCK_STREAM));
    Setup setup(fd.get());
    set_tcp_options(setup).option(SOL_SOCKET, SO_REUSEADDR, 1).dual_stack(at.ip).mark(options.mark);
    if (options.reuse_port) setup.option(SOL_SOCKET, SO_REUSEPORT, 1);
    setup.bind(at).role(options.role);
    if (setup.error()) return refuse_address("listen on", at, setup.error());
    if (::listen(fd.get(), options.backlog) != 0) return refuse_address("listen on", at, errno);
    return fd;
}

Result<Fd> stream_in(Namespace where, Address to, const ConnectOptions& options, Random& random) {
    TRY(Fd fd, new_socket(where, to.ip, SOCK_STREAM));
    Setup setup(fd.get());
    TRY_DONE(set_tcp_options(setup).mark(options.mark).done());
    if (options.real_client) {
        TRY_DONE(tell_real_client(fd.get(), *options.real_client));
    }
    TRY_DONE(bind_source(fd.get(), to.ip, options, random));
    return fd;
}

Result<std::size_t> try_send_now(int fd, std::span<const ConstBytes> pieces) {
    std::array<iovec, pieces_max> vectors;
    std::size_t count = std::min(pieces.size(), pieces_max);
    for (std::size_t i = 0; i < count; ++i) {
        vectors[i] = {const_cast<std::byte*>(pieces[i].data()), pieces[i].size()};
    }
    msghdr message{};
    message.msg_iov = vectors.data();
    message.msg_iovlen = count;
    ssize_t sent = ::sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    if (errno == EAGAIN) return 0;
    return refuse_os(errno);
}

Result<Address> local_of(int fd) { return name_of(::getsockname, fd); }

Result<Address> peer_of(int fd) { return name_of(::getpeername, fd); }

// IPv4 first, then IPv6, as the reference asks and the kernel programs answer (C-5, kernel fact 9). An error
// means that nobody has a record: the connection must be closed, not guessed about (kernel contract c).
Result<Address> original_destination_of(int fd) {
    sockaddr_storage name{};
    socklen_t size = sizeof(sockaddr_in);
    if (::getsockopt(fd, sol_ip, so_original_dst, &name, &size) == 0) return from_system(name);
    size = sizeof(sockaddr_in6);
    if (::getsockopt(fd, sol_ipv6, so_original_dst, &name, &size) == 0) return from_system(name);
    return refuse(Reason::no_original_destination, errno);
}

bool is_broken(int fd) {
    pollfd look{.fd = fd, .events = 0, .revents = 0};
    return poll(&look, 1, 0) == 1 && (look.revents & POLLERR) != 0;
}

bool client_bound_of(int fd) {
    std::uint32_t bound = 0;
    socklen_t size = sizeof bound;
    return ::getsockopt(fd, CV_SOL_MESH, CV_OPT_CLIENT_BOUND, &bound, &size) == 0 && bound == 1;
}

// Errors are none of our business here: a socket without a connection has nothing to reset.
void reset_on_close_of(int fd) {
    linger now{.l_onoff = 1, .l_linger = 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace culvert::io
