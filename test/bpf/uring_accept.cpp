// An app's server on io_uring, for deliver_test.py: accepts on the listener that it inherits as descriptor 0
// and prints, a line each, what accept wrote as the peer and what getpeername says.
//   uring_accept plain | address | multishot    one shot without or with the peer's address, or multishot
//   with it
#include <arpa/inet.h>
#include <cstdio>
#include <cstring>
#include <liburing.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

namespace {

std::string show(const sockaddr_storage& from) {
    char text[INET6_ADDRSTRLEN] = "none";
    unsigned port = 0;
    if (from.ss_family == AF_INET) {
        const auto& v4 = reinterpret_cast<const sockaddr_in&>(from);
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
        port = ntohs(v4.sin_port);
    } else if (from.ss_family == AF_INET6) {
        const auto& v6 = reinterpret_cast<const sockaddr_in6&>(from);
        inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
        port = ntohs(v6.sin6_port);
    }
    return std::string(text) + " " + std::to_string(port);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2) return 2;
    std::string mode = argv[1];
    bool wants_address = mode != "plain", multishot = mode == "multishot";
    io_uring ring{};
    if (io_uring_queue_init(8, &ring, 0) != 0) return 77;
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    bool armed = false;
    for (;;) {
        if (!armed) {
            io_uring_sqe* entry = io_uring_get_sqe(&ring);
            std::memset(&peer, 0, sizeof peer);
            size = sizeof peer;
            auto* address = wants_address ? reinterpret_cast<sockaddr*>(&peer) : nullptr;
            if (multishot)
                io_uring_prep_multishot_accept(entry, 0, address, &size, 0);
            else
                io_uring_prep_accept(entry, 0, address, wants_address ? &size : nullptr, 0);
            io_uring_submit(&ring);
        }
        io_uring_cqe* done = nullptr;
        if (io_uring_wait_cqe(&ring, &done) != 0 || done->res < 0) return 1;
        armed = multishot && (done->flags & IORING_CQE_F_MORE);
        sockaddr_storage asked{};
        socklen_t asked_size = sizeof asked;
        getpeername(done->res, reinterpret_cast<sockaddr*>(&asked), &asked_size);
        std::printf("%s | %s\n", show(peer).c_str(), show(asked).c_str());
        std::fflush(stdout);
        close(done->res);
        io_uring_cqe_seen(&ring, done);
    }
}
