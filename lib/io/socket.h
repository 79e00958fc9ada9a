// TCP sockets over a Driver. Resources: move-only, one owner; the destructor closes, after every operation
// has joined. One reader and one writer at a time. Limits: a receive yields at most Driver::buffer_size()
// bytes.
#pragma once
#include "lib/io/driver.h"
#include "lib/io/loop.h"
#include "lib/io/task.h"

namespace culvert::io {

// Bytes in one of the loop's shared receive buffers; gives the buffer back when it goes. Never kept across an
// await.
class Received {
public:
    Received() = default;
    Received(Loop& loop, int buffer, std::size_t size)
        : loop_(&loop), buffer_(buffer), bytes_(loop.driver().buffer(buffer).first(size)) {}
    Received(Received&& other) noexcept
        : loop_(std::exchange(other.loop_, nullptr)), buffer_(other.buffer_), bytes_(other.bytes_) {}
    Received& operator=(Received&& other) noexcept {
        std::swap(loop_, other.loop_);
        std::swap(buffer_, other.buffer_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Received() {
        if (loop_) loop_->driver().give_back(buffer_);
    }
    Bytes bytes() const { return bytes_; }
    bool end() const { return bytes_.empty(); }  // the other side sent FIN

private:
    Loop* loop_ = nullptr;
    int buffer_ = -1;
    Bytes bytes_;
};

// What the awaitables below have in common: an operation in the frame of whoever awaits it.
class OpWait {
public:
    bool await_ready() const noexcept { return false; }
    template <class P> bool await_suspend(std::coroutine_handle<P> task) {
        return loop_->begin(op_, task.promise());
    }

protected:
    OpWait(Loop& loop, Op::Kind kind, int handle) : loop_(&loop), op_(kind, handle) {}
    Loop* loop_;
    Op op_;
};

class RecvWait : public OpWait {
public:
    RecvWait(Loop& loop, int handle, std::size_t most) : OpWait(loop, Op::Kind::recv, handle) {
        op_.most = most;
    }
    Result<Received> await_resume() {
        if (op_.result < 0) return refuse_os(-op_.result);
        if (op_.buffer < 0) return Received();
        return Received(*loop_, op_.buffer, static_cast<std::size_t>(op_.result));
    }
};

class SendWait : public OpWait {
public:
    SendWait(Loop& loop, int handle, ConstBytes bytes) : OpWait(loop, Op::Kind::send, handle) {
        op_.data = bytes.data();
        op_.most = bytes.size();
    }
    Result<std::size_t> await_resume() {
        if (op_.result < 0) return refuse_os(-op_.result);
        return static_cast<std::size_t>(op_.result);
    }
};

class ConnectWait : public OpWait {
public:
    ConnectWait(Loop& loop, int handle, const Address& to) : OpWait(loop, Op::Kind::connect, handle) {
        op_.address = &to;
    }
    Result<Done> await_resume() {
        if (op_.result < 0) return refuse_os(-op_.result);
        return Done{};
    }
};

// A descriptor that is read or written by somebody else's calls (datagrams, packets, inotify): real drivers
// only.
class PollWait : public OpWait {
public:
    PollWait(Loop& loop, Op::Kind kind, int handle) : OpWait(loop, kind, handle) {}
    Result<Done> await_resume() {
        if (op_.result < 0) return refuse_os(-op_.result);
        return Done{};
    }
};
// co_await these: Result<Done>; also when the descriptor has an error to report.
inline PollWait readable(Loop& loop, int fd) { return PollWait(loop, Op::Kind::readable, fd); }
inline PollWait writable(Loop& loop, int fd) { return PollWait(loop, Op::Kind::writable, fd); }

class Socket {
public:
    Socket() = default;
    Socket(Loop& loop, int handle) : loop_(&loop), handle_(handle) {}
    Socket(Socket&& other) noexcept : loop_(other.loop_), handle_(std::exchange(other.handle_, -1)) {}
    Socket& operator=(Socket&& other) noexcept {
        std::swap(loop_, other.loop_);
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Socket() {
        if (handle_ >= 0) loop_->driver().close(handle_);
    }

    // co_await these: Result<Received> with `most` >= 1, and Result<std::size_t>: all of it, or what went
    // before a cancel or an error (`bytes` stay untouched meanwhile). A cancelled wait returns
    // Reason::cancelled; a receive that took bytes before the cancel returns them.
    RecvWait recv(std::size_t most) { return RecvWait(*loop_, handle_, most); }
    SendWait send(ConstBytes bytes) { return SendWait(*loop_, handle_, bytes); }
    // Never waits; 0: it would have to.
    Result<std::size_t> try_send(std::span<const ConstBytes> pieces) {
        return loop_->driver().try_send(handle_, pieces);
    }
    Result<std::size_t> try_send(ConstBytes bytes) { return try_send(std::span(&bytes, 1)); }

    void shut_write() { loop_->driver().shut_write(handle_); }
    void reset_on_close() { loop_->driver().reset_on_close(handle_); }
    Result<Address> local() const { return loop_->driver().local(handle_); }
    Result<Address> peer() const { return loop_->driver().peer(handle_); }
    Result<Address> original_destination() const { return loop_->driver().original_destination(handle_); }
    bool client_bound() const { return loop_->driver().client_bound(handle_); }
    bool broken() const { return loop_->driver().broken(handle_); }

    // Before its first await there: an accepted socket goes to the loop that will serve it (decision 3).
    void move_to(Loop& loop) { loop_ = &loop; }
    [[nodiscard]] int release() { return std::exchange(handle_, -1); }  // the caller closes it
    bool open() const { return handle_ >= 0; }
    int handle() const { return handle_; }
    Loop& loop() const { return *loop_; }

private:
    Loop* loop_ = nullptr;
    int handle_ = -1;
};

class AcceptWait : public OpWait {
public:
    AcceptWait(Loop& loop, int handle) : OpWait(loop, Op::Kind::accept, handle) {}
    Result<Socket> await_resume() {
        if (op_.result < 0) return refuse_os(-op_.result);
        return Socket(*loop_, op_.result);
    }
};

class Listener {
public:
    static Result<Listener> open(Loop& loop, Namespace where, Address at, const ListenOptions& options);
    Listener() = default;
    Listener(Loop& loop, int handle) : loop_(&loop), handle_(handle) {}  // one that listens already (unix.h)
    Listener(Listener&& other) noexcept : loop_(other.loop_), handle_(std::exchange(other.handle_, -1)) {}
    Listener& operator=(Listener&& other) noexcept {
        std::swap(loop_, other.loop_);
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Listener() {
        if (handle_ >= 0) loop_->driver().close(handle_);
    }
    // Result<Socket>; it may be moved to another loop before a coroutine uses it. Errors that concern one
    // connection only (it was reset in the queue) and a lack of descriptors are for the caller to survive.
    AcceptWait accept() { return AcceptWait(*loop_, handle_); }
    // Whether an error of accept() ends the listener; any other may pass.
    static bool is_over(const Error& error) {
        return error.reason == Reason::cancelled || error.reason == Reason::internal;
    }
    Result<Address> local() const { return loop_->driver().local(handle_); }
    bool open() const { return handle_ >= 0; }
    Loop& loop() const { return *loop_; }

private:
    Loop* loop_ = nullptr;
    int handle_ = -1;
};

// TCP_NODELAY and keepalive (wire.md 9) are set. Errors: connect_refused, connect_timed_out (10 s is the
// caller's Deadline or the kernel's), unreachable, permission, io; detail is errno.
Task<Result<Socket>> connect(Loop& loop, Namespace where, Address to, ConnectOptions options);

}  // namespace culvert::io
