// TCP sockets over a Driver. Resources: move-only, one owner; the destructor closes, after every operation has joined.
#pragma once
#include "lib/io/driver.h"
#include "lib/io/loop.h"
#include "lib/io/task.h"

namespace culvert::io {

// Bytes in one of the loop's shared receive buffers; gives the buffer back when it goes. Never kept across an await.
class Received {
public:
    Received() = default;
    Received(Loop& loop, int buffer, std::size_t size);
    Received(Received&& other) noexcept;
    Received& operator=(Received&&) = delete;
    ~Received();
    Bytes bytes() const { return bytes_; }
    bool end() const { return bytes_.empty(); }  // the other side sent FIN

private:
    Loop* loop_ = nullptr;
    int buffer_ = -1;
    Bytes bytes_;
};

class Socket {
public:
    Socket() = default;
    Socket(Loop& loop, int handle) : loop_(&loop), handle_(handle) {}
    Socket(Socket&& other) noexcept;
    Socket& operator=(Socket&& other) noexcept;
    ~Socket();

    // co_await these. A cancelled wait returns Reason::cancelled; a receive that took bytes before the cancel returns them.
    auto recv(std::size_t most);           // Result<Received>
    auto send(ConstBytes bytes);           // Result<std::size_t>: all of it, or what went before a cancel
    Result<std::size_t> try_send(std::span<const ConstBytes> pieces);  // never waits; 0: would block
    Result<std::size_t> try_send(ConstBytes bytes);

    void shut_write();
    void reset_on_close();
    Result<Address> local() const;
    Result<Address> peer() const;
    Result<Address> original_destination() const;
    bool client_bound() const;

    bool open() const { return handle_ >= 0; }
    int handle() const { return handle_; }
    Loop& loop() const { return *loop_; }

private:
    Loop* loop_ = nullptr;
    int handle_ = -1;
};

class Listener {
public:
    static Result<Listener> open(Loop& loop, Namespace where, Address at, const ListenOptions& options);
    Listener(Listener&& other) noexcept;
    Listener& operator=(Listener&& other) noexcept;
    ~Listener();
    auto accept();  // Result<Socket>; the accepted socket may be moved to another loop before a coroutine uses it
    Result<Address> local() const;

private:
    Listener(Loop& loop, int handle) : loop_(&loop), handle_(handle) {}
    Loop* loop_ = nullptr;
    int handle_ = -1;
};

// TCP_NODELAY and keepalive (wire.md 9) are set. Errors: connect_refused, connect_timed_out (10 s is the caller's Deadline
// or the kernel's), unreachable, permission, io; detail is errno.
Task<Result<Socket>> connect(Loop& loop, Namespace where, Address to, ConnectOptions options);

}  // namespace culvert::io
