// Random policies, destinations and connections: judging agrees with the obvious evaluator of test/support.
#include "lib/base/check.h"
#include "test/support/random_policies.h"
#include "test/support/slow_rbac.h"

using namespace culvert;
using namespace culvert::mesh;
using namespace culvert::mesh::test;

namespace {

// Choices out of the fuzzer's input; when it ends, always the first.
class InputRandom final : public Random {
public:
    explicit InputRandom(std::span<const std::uint8_t> input) : input_(input) {}
    std::uint64_t next() override {
        if (at_ == input_.size()) return 0;
        return static_cast<std::uint64_t>(input_[at_++]) << 56;
    }

private:
    std::span<const std::uint8_t> input_;
    std::size_t at_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    InputRandom random({data, size});
    RandomPolicies make(random);
    RbacConnection connection = make.connection();
    Workload destination = make.destination();
    std::vector<NamedPolicy> policies = make.policies();
    DirectoryWriter writer;
    DirectoryPtr directory = writer.apply({{}, {}, policies, {}, true, true});
    Judgement result = judge(*directory, *make_record(destination), connection);
    check(result.reason == slow_judge(policies, destination, connection));
    return 0;
}
