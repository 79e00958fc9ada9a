// The verdicts of bpf/decide.h as tables: the same code that the kernel runs, without a kernel.
#include "bpf/decide.h"
#include "lib/base/ip.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <set>
#include <string>

using culvert::Address;
using culvert::Ip;

namespace {

void set_ip(__u8* to, const std::string& text) {
    if (!text.empty()) std::memcpy(to, Ip::parse(text)->mapped().data(), 16);
}

cv_address at(const std::string& ip, std::uint16_t port) {
    cv_address made{};
    set_ip(made.ip, ip);
    made.port = port;
    return made;
}

cv_pod pod_with(const std::string& v4, const std::string& v6, __u32 flags) {
    cv_pod pod{};
    set_ip(pod.ip4, v4);
    set_ip(pod.ip6, v6);
    pod.id = 7;
    pod.flags = flags;
    return pod;
}

cv_pod captured() { return pod_with("10.0.0.5", "fd00::5", CV_POD_CAPTURE | CV_POD_DNS); }

cv_flow flow_of(const cv_address& from, const cv_address& to) { return {from, to}; }

cv_verdict deliver(const cv_flow& flow, const cv_record* record = nullptr,
                   const cv_approval* approval = nullptr, int bypass = 0) {
    cv_arrival arrival{&flow, record, approval, 1000, bypass};
    return cv_deliver(&arrival);
}

}  // namespace

TEST_CASE("loopback is decided by all sixteen bytes", "[decide]") {
    auto [text, loopback] = GENERATE(table<std::string, bool>({
        {"127.0.0.1", true},
        {"127.255.255.254", true},
        {"::1", true},
        {"128.0.0.1", false},
        {"10.0.127.1", false},
        {"2001:db8::7f00:1", false},  // byte 12 is 127, and it is no loopback
        {"::7f00:1", false},          // IPv4-compatible, not mapped
        {"::2", false},
        {"fd00::1", false},
        {"::", false},
    }));
    INFO(text);
    CHECK((cv_is_loopback(at(text, 0).ip) != 0) == loopback);
}

TEST_CASE("a connect of an enrolled pod goes where the table says", "[decide]") {
    auto [to, port, action] = GENERATE(table<std::string, int, cv_action>({
        {"10.9.9.9", 80, CV_REDIRECT},
        {"fd99::9", 80, CV_REDIRECT},
        {"2001:db8::7f00:1", 80, CV_REDIRECT},
        {"10.9.9.9", 53, CV_REDIRECT},
        {"10.9.9.9", 15008, CV_REDIRECT},
        {"127.0.0.1", 80, CV_LEAVE},
        {"::1", 80, CV_LEAVE},
        {"0.0.0.0", 80, CV_REMEMBER_SELF},
        {"::", 80, CV_REMEMBER_SELF},
        {"10.0.0.5", 80, CV_REMEMBER_SELF},
        {"fd00::5", 80, CV_REMEMBER_SELF},
    }));
    INFO(to << " " << port);
    cv_pod pod = captured();
    cv_address target = at(to, static_cast<std::uint16_t>(port));
    cv_verdict verdict = cv_capture(&pod, 0, &target, 12345);
    CHECK(verdict.action == action);
    if (action != CV_REDIRECT) return;
    CHECK(cv_is_reserved(verdict.to.port));
    CHECK(cv_same_ip(verdict.to.ip, cv_is_v4(target.ip) ? pod.ip4 : pod.ip6));
    CHECK(verdict.role == (port == 53 ? CV_ROLE_DNS : CV_ROLE_OUTBOUND));
}

TEST_CASE("ztunnel's own sockets are never captured, nor a pod whose enrolment is not complete", "[decide]") {
    cv_pod pod = captured(), half = pod_with("10.0.0.5", "", 0);
    cv_address target = at("10.9.9.9", 80), resolver = at("10.9.9.9", 53);
    CHECK(cv_capture(&pod, 1, &target, 1).action == CV_LEAVE);
    CHECK(cv_capture(&half, 0, &target, 1).action == CV_LEAVE);
    CHECK(cv_capture_dns(&pod, 1, &resolver, 15053).action == CV_LEAVE);
    CHECK(cv_capture_dns(&half, 0, &resolver, 15053).action == CV_LEAVE);
}

TEST_CASE("a family of which the pod has no address is refused, for TCP and DNS [S5]", "[decide]") {
    cv_pod pod = pod_with("10.0.0.5", "", CV_POD_CAPTURE | CV_POD_DNS);
    cv_address target = at("fd99::9", 80), resolver = at("fd99::9", 53);
    CHECK(cv_capture(&pod, 0, &target, 1).action == CV_REFUSE);
    CHECK(cv_capture(&pod, 0, &target, 1).outcome == CV_OUT_NO_ADDRESS);
    CHECK(cv_capture_dns(&pod, 0, &resolver, 15053).action == CV_REFUSE);
}

TEST_CASE("connections to one target are spread over the whole reserved range", "[decide]") {
    cv_address target = at("10.9.9.9", 5432);
    std::set<std::uint16_t> used;
    std::uint32_t chance = 1;
    for (int i = 0; i < 4096; ++i) {
        chance = chance * 1664525u + 1013904223u;
        used.insert(cv_reserved_port(&target, chance));
    }
    CHECK(used.size() == CV_RESERVED_SIZE);
    CHECK(*used.begin() == CV_RESERVED_FIRST);
    CHECK(*used.rbegin() == CV_RESERVED_FIRST + CV_RESERVED_SIZE - 1);
}

TEST_CASE("only DNS of UDP is redirected, to ztunnel's announced port [S13]", "[decide]") {
    cv_pod pod = captured();
    cv_address ntp = at("10.9.9.9", 123), resolver = at("fd99::9", 53), local = at("127.0.0.53", 53);
    CHECK(cv_capture_dns(&pod, 0, &ntp, 15053).action == CV_LEAVE);
    CHECK(cv_capture_dns(&pod, 0, &local, 15053).action == CV_LEAVE);
    cv_verdict verdict = cv_capture_dns(&pod, 0, &resolver, 15999);
    CHECK(verdict.action == CV_REDIRECT);
    CHECK(verdict.to.port == 15999);
    CHECK(cv_same_ip(verdict.to.ip, pod.ip6));
}

TEST_CASE("a SYN that arrives without a record goes to ztunnel or nowhere [S1, S8]", "[decide]") {
    auto [from, to, port, action, outcome] =
        GENERATE(table<std::string, std::string, int, cv_action, cv_outcome>({
            {"10.8.8.8", "10.0.0.5", 80, CV_STEER, CV_OUT_STEERED_INBOUND},
            {"fd88::8", "fd00::5", 80, CV_STEER, CV_OUT_STEERED_INBOUND},
            {"2001:db8::7f00:1", "fd00::5", 80, CV_STEER, CV_OUT_STEERED_INBOUND},
            {"10.8.8.8", "10.0.0.5", 15008, CV_STEER, CV_OUT_STEERED_HBONE},
            {"10.8.8.8", "10.0.0.5", 15001, CV_DROP, CV_OUT_RESERVED_PORT},
            {"10.8.8.8", "10.0.0.5", 15006, CV_DROP, CV_OUT_RESERVED_PORT},
            {"10.8.8.8", "10.0.0.5", 15053, CV_DROP, CV_OUT_RESERVED_PORT},
            {"10.8.8.8", "10.0.0.5", 15080, CV_DROP, CV_OUT_RESERVED_PORT},
            {"10.8.8.8", "10.0.0.5", 15104, CV_DROP, CV_OUT_NO_RECORD},
            {"10.8.8.8", "10.0.0.5", 15167, CV_DROP, CV_OUT_NO_RECORD},
            {"10.8.8.8", "10.0.0.5", 15168, CV_STEER, CV_OUT_STEERED_INBOUND},
            {"10.0.0.5", "10.0.0.5", 80, CV_DROP, CV_OUT_SPOOFED_SELF},
            {"fd00::5", "fd00::5", 15008, CV_DROP, CV_OUT_SPOOFED_SELF},
            {"10.0.0.5", "10.0.0.5", 15104, CV_DROP, CV_OUT_NO_RECORD},
            {"127.3.2.1", "10.0.0.5", 80, CV_LEAVE, CV_OUT_PASSED_LOOPBACK},
            {"::1", "fd00::5", 80, CV_LEAVE, CV_OUT_PASSED_LOOPBACK},
            {"127.0.0.1", "127.0.0.1", 15104, CV_LEAVE, CV_OUT_PASSED_LOOPBACK},
            {"127.0.0.1", "10.0.0.5", 15104, CV_DROP, CV_OUT_NO_RECORD},
        }));
    INFO(from << " -> " << to << ":" << port);
    cv_verdict verdict = deliver(flow_of(at(from, 40000), at(to, static_cast<std::uint16_t>(port))));
    CHECK(verdict.action == action);
    CHECK(verdict.outcome == outcome);
}

TEST_CASE("a record steers to the listener that it names; a self call's record passes [S1]", "[decide]") {
    cv_flow captured_flow = flow_of(at("10.0.0.5", 40000), at("10.0.0.5", 15110));
    cv_flow self = flow_of(at("10.0.0.5", 40000), at("10.0.0.5", 80));
    cv_record outbound{{}, 1, CV_ROLE_OUTBOUND}, dns{{}, 1, CV_ROLE_DNS}, own{{}, 1, 0};
    CHECK(deliver(captured_flow, &outbound).role == CV_ROLE_OUTBOUND);
    CHECK(deliver(captured_flow, &dns).role == CV_ROLE_DNS);
    CHECK(deliver(self, &own).action == CV_LEAVE);
    // A socket that is bound to loopback and was captured still goes to ztunnel.
    cv_flow bound = flow_of(at("127.0.0.1", 40000), at("10.0.0.5", 15110));
    CHECK(deliver(bound, &outbound).action == CV_STEER);
}

TEST_CASE("an approval passes until it expires, and never to a port of the mesh [S7, S8]", "[decide]") {
    cv_flow probe = flow_of(at("10.0.0.1", 40000), at("10.0.0.5", 8080));
    cv_approval fresh{1001, 1, 0}, stale{1000, 1, 0};
    CHECK(deliver(probe, nullptr, &fresh).outcome == CV_OUT_PASSED_APPROVED);
    CHECK(deliver(probe, nullptr, &stale).outcome == CV_OUT_STEERED_INBOUND);
    cv_flow mesh_port = flow_of(at("10.0.0.1", 40000), at("10.0.0.5", 15006));
    CHECK(deliver(mesh_port, nullptr, &fresh).action == CV_DROP);
}

TEST_CASE("bypass-inbound-capture leaves all but HBONE and the mesh's ports to the app [C-13]", "[decide]") {
    cv_address from = at("10.8.8.8", 40000);
    CHECK(deliver(flow_of(from, at("10.0.0.5", 80)), nullptr, nullptr, 1).outcome == CV_OUT_PASSED_BYPASS);
    CHECK(deliver(flow_of(from, at("10.0.0.5", 15008)), nullptr, nullptr, 1).outcome == CV_OUT_STEERED_HBONE);
    CHECK(deliver(flow_of(from, at("10.0.0.5", 15006)), nullptr, nullptr, 1).action == CV_DROP);
}

TEST_CASE("ztunnel's resolver answers its own pod only", "[decide]") {
    cv_flow own = flow_of(at("10.0.0.5", 40000), at("10.0.0.5", 15053));
    cv_flow loopback = flow_of(at("127.0.0.1", 40000), at("127.0.0.1", 15053));
    cv_flow outside = flow_of(at("10.8.8.8", 40000), at("10.0.0.5", 15053));
    CHECK(cv_deliver_dns(&own).action == CV_LEAVE);
    CHECK(cv_deliver_dns(&loopback).action == CV_LEAVE);
    CHECK(cv_deliver_dns(&outside).action == CV_DROP);
}

TEST_CASE("what nobody steered has no original destination [S8]", "[decide]") {
    cv_address steered = at("10.0.0.5", 80), direct = at("10.0.0.5", 15006), loopback = at("127.0.0.1", 80);
    CHECK(cv_is_inbound_target(&steered, 15006));
    CHECK_FALSE(cv_is_inbound_target(&direct, 15006));
    CHECK_FALSE(cv_is_inbound_target(&loopback, 15006));
}
