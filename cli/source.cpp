#include "cli/source.h"

#include "lib/control/client.h"

namespace culvert::cli {

using namespace std::chrono_literals;

Result<std::string> get(Address at, std::string_view path) {
    auto answer = control::fetch_blocking(at, {.path = std::string(path)}, 5s);
    if (!answer && answer.error().reason == Reason::connect_refused && at.ip == *Ip::parse("127.0.0.1")) {
        // A program that listens on ::1 alone is on this machine all the same.
        auto other = control::fetch_blocking({*Ip::parse("::1"), at.port}, {.path = std::string(path)}, 5s);
        if (other) answer = std::move(other);
    }
    TRY(auto response, std::move(answer));
    if (response.status != 200) {
        std::string body = response.body.substr(0, response.body.find('\n'));
        return std::unexpected(
            Error{Reason::bad_input, response.status, at.to_string() + std::string(path) + ": " + body});
    }
    return std::move(response.body);
}

Address controller_beside(const Json& agent, Address otherwise) {
    auto reported = Address::parse_flag(agent["controller"]["address"].text());
    return reported ? Address{reported->ip, otherwise.port} : otherwise;
}

Result<Json> get_json(Address at, std::string_view path) {
    TRY(std::string body, get(at, path));
    return Json::parse(body);
}

}  // namespace culvert::cli
