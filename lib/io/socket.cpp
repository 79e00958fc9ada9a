#include "lib/io/socket.h"

#include <cerrno>

namespace culvert::io {

Error os_error(int number) {
    auto error = [number](Reason reason) { return Error{reason, number, {}}; };
    switch (number) {
    case ECANCELED: return error(Reason::cancelled);
    case ECONNREFUSED: return error(Reason::connect_refused);
    case ETIMEDOUT: return error(Reason::timed_out);
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case EADDRNOTAVAIL: return error(Reason::unreachable);
    case ECONNRESET:
    case ECONNABORTED: return error(Reason::reset);
    case EPIPE:
    case ENOTCONN: return error(Reason::closed);
    case EACCES:
    case EPERM: return error(Reason::permission);
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM: return error(Reason::no_buffers);
    case EMFILE:
    case ENFILE: return error(Reason::limit);
    case ENOSYS:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EAFNOSUPPORT: return error(Reason::missing_feature);
    default: return error(Reason::io);
    }
}

Result<Listener> Listener::open(Loop& loop, Namespace where, Address at, const ListenOptions& options) {
    TRY(int handle, loop.driver().listen(where, at, options));
    return Listener(loop, handle);
}

Task<Result<Socket>> connect(Loop& loop, Namespace where, Address to, ConnectOptions options) {
    CO_TRY(int handle, loop.driver().stream(where, to, options));
    Socket socket(loop, handle);
    Result<Done> connected = co_await ConnectWait(loop, handle, to);
    if (!connected) {
        Error error = connected.error();
        if (error.reason == Reason::timed_out) error.reason = Reason::connect_timed_out;
        co_return std::unexpected(error);
    }
    co_return std::move(socket);
}

}  // namespace culvert::io
