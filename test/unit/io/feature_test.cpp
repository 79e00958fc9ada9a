// What a program says at start when the kernel does not give it io_uring.
#include "lib/io/uring.h"

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstddef>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <thread>

using namespace culvert;
using namespace culvert::io;

namespace {

// From here on io_uring_setup fails with `number` in this thread alone.
bool deny_rings(int number) {
    auto answer = SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(number);
    std::array<sock_filter, 4> program{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, answer),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

std::optional<Error> error_when(int number) {
    std::optional<Error> error;
    std::thread([&] {
        if (!deny_rings(number)) return;
        auto driver = make_uring();
        if (!driver) error = driver.error();
    }).join();
    return error;
}

}  // namespace

TEST_CASE("a kernel that refuses io_uring is an error that names the feature and the fix", "[io]") {
    auto [number, words] = GENERATE(table<int, std::string>({
        {EPERM, "kernel.io_uring_disabled"},
        {ENOSYS, "Linux 6.1 or newer"},
        {EINVAL, "IORING_SETUP_DEFER_TASKRUN"},
        {ENOMEM, "memory limit"},
        {EIO, "cannot set up io_uring"},
    }));
    auto error = error_when(number);
    REQUIRE(error);
    CHECK(error->reason == Reason::missing_feature);
    CHECK(error->detail == number);
    CHECK(error->text.find(words) != std::string::npos);
}
