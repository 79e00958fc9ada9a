// The system calls behind the sockets of lib/io that never wait: options, namespaces, original destinations.
// Private to this folder. Descriptors are blocking (calls that must not wait say so) and close-on-exec.
#pragma once
#include "lib/base/fd.h"
#include "lib/base/random.h"
#include "lib/io/address.h"
#include "lib/io/driver.h"

#include <cerrno>
#include <netinet/in.h>
#include <string_view>
#include <sys/socket.h>

namespace culvert::io {

Result<Fd> listen_in(Namespace where, Address at, const ListenOptions& options);
Result<Fd> stream_in(Namespace where, Address to, const ConnectOptions& options, Random& random);
Result<std::size_t> try_send_now(int fd, std::span<const ConstBytes> pieces);
Result<Address> local_of(int fd);
Result<Address> peer_of(int fd);
Result<Address> original_destination_of(int fd);
bool client_bound_of(int fd);
bool is_broken(int fd);
void reset_on_close_of(int fd);

// A socket being prepared: one step after the other, none after the first that failed.
class Setup {
public:
    explicit Setup(int fd) : fd_(fd) {}
    template <class T> Setup& option(int level, int name, T value) {
        if (!error_ && ::setsockopt(fd_, level, name, &value, sizeof value) != 0) error_ = errno;
        return *this;
    }
    Setup& role(std::uint32_t role);  // announced to the kernel programs; 0: nothing
    Setup& mark(std::uint32_t mark);  // SO_MARK; 0: nothing
    Setup& dual_stack(Ip at);         // an IPv6 socket takes IPv4 too if it listens on ::
    Setup& bind(Address at);
    int error() const { return error_; }
    Result<Done> done() const {
        if (error_) return refuse_os(error_);
        return Done{};
    }

private:
    int fd_;
    int error_ = 0;
};
Result<Fd> new_socket(Namespace where, Ip family_of, int type);
// "cannot listen on [::]:15001: Address already in use"
std::unexpected<Error> refuse_address(std::string_view what, const Address& at, int number);

}  // namespace culvert::io
