// Errors are values. `Result<T>` carries either a T or an `Error` that names the step that refused and why.
//
// Three kinds of trouble, never mixed: what a peer, the network or a user did is an `Error`; a broken
// configuration or kernel at start-up is an `Error` that main prints before it exits with 1; what *we* got
// wrong is `check` (check.h).
//
// On the data path an Error is built without allocating: `text` stays empty there and `reason` is a word from
// lib/base/reason.h that becomes a counter label and the access log's `reason`; `culvert why` will answer it.
#pragma once
#include "lib/base/reason.h"

#include <expected>
#include <string>
#include <utility>

namespace culvert {

struct Error {
    Reason reason = Reason::internal;
    int detail = 0;    // errno, HTTP status, TLS alert or HTTP/2 code: whichever the reason speaks about
    std::string text;  // a sentence for people: what was tried on what, and the fix; empty on the data path

    // "connect_refused (111)" or "bad_certificate: the chain ends in ...": what logs and command lines print.
    std::string to_string() const;
    bool operator==(const Error&) const = default;
};

template <class T> using Result = std::expected<T, Error>;

// The value of an operation that only succeeds.
struct Done {
    bool operator==(const Done&) const = default;
};

inline std::unexpected<Error> refuse(Reason reason, int detail = 0) {
    return std::unexpected(Error{reason, detail, {}});
}
inline std::unexpected<Error> refuse(Reason reason, std::string text) {
    return std::unexpected(Error{reason, 0, std::move(text)});
}
// The error of another Result, passed on unchanged.
template <class T> std::unexpected<Error> refuse(Result<T>&& failed) {
    return std::unexpected(std::move(failed).error());
}

}  // namespace culvert

#define CULVERT_JOIN2(a, b) a##b
#define CULVERT_JOIN(a, b) CULVERT_JOIN2(a, b)
#define CULVERT_TRY_DONE_WITH(unique, leave, ...)                                                            \
    auto unique = (__VA_ARGS__);                                                                             \
    if (!unique) leave std::unexpected(std::move(unique).error())
#define CULVERT_TRY_WITH(unique, leave, declaration, ...)                                                    \
    CULVERT_TRY_DONE_WITH(unique, leave, __VA_ARGS__);                                                       \
    declaration = *std::move(unique)

// TRY(auto x, f());  in a function, CO_TRY(auto x, co_await f());  in a coroutine: the value, or leave with
// the error.
#define TRY(declaration, ...)                                                                                \
    CULVERT_TRY_WITH(CULVERT_JOIN(tried_, __COUNTER__), return, declaration, __VA_ARGS__)
#define CO_TRY(declaration, ...)                                                                             \
    CULVERT_TRY_WITH(CULVERT_JOIN(tried_, __COUNTER__), co_return, declaration, __VA_ARGS__)

// TRY_DONE(f());  CO_TRY_DONE(co_await f());  the same where nothing is wanted of the value.
#define TRY_DONE(...) CULVERT_TRY_DONE_WITH(CULVERT_JOIN(tried_, __COUNTER__), return, __VA_ARGS__)
#define CO_TRY_DONE(...) CULVERT_TRY_DONE_WITH(CULVERT_JOIN(tried_, __COUNTER__), co_return, __VA_ARGS__)
