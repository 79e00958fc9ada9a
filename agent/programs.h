// The four BPF objects as one: shared maps found by name, rodata set before loading, programs found by name.
// Private to capture.cpp and pod_maps.cpp; the only file that includes a skeleton is programs.cpp. One
// thread.
#pragma once
#include "agent/bpffs.h"
#include "agent/capture.h"

#include <bpf/libbpf.h>
#include <memory>
#include <string>
#include <vector>

struct cv_answer;
struct cv_capture;
struct cv_deliver;
struct cv_flows;

namespace culvert::agent {

struct FreeObject {
    void operator()(cv_answer* object) const;
    void operator()(cv_capture* object) const;
    void operator()(cv_deliver* object) const;
    void operator()(cv_flows* object) const;
};
template <class T> using Held = std::unique_ptr<T, FreeObject>;

// Where a program of ours is attached, and under which name its link is pinned: the program's.
struct Attachment {
    const char* program;
    bool to_ztunnel;  // to ztunnel's group; otherwise to the root of capture
};
// In the order of attaching: who is exempt first, then records, then what rewrites (kernel fact 16).
const std::vector<Attachment>& attachments();

class Programs {
public:
    // Maps that are pinned are taken over if their layout is ours; others are made and pinned.
    static Result<Programs> load(const PinDirectory& pins, const CaptureOptions& options);

    int map(const char* name) const;  // a descriptor; the name is one of ours
    const bpf_program* program(const char* name) const;

private:
    Held<cv_answer> answer_;
    Held<cv_flows> flows_;
    Held<cv_capture> capture_;
};

// One pod's copy of the sk_lookup program, with the maps of `shared` (kernel fact 13). Returns the program.
struct LookupOptions {
    std::uint32_t pod = 0;
    bool bypass_inbound = false;
};
class Lookup {
public:
    static Result<Lookup> load(const Programs& shared, LookupOptions options);
    int program() const;

private:
    Held<cv_deliver> object_;
};

// The tag of a loaded program: the same for the same instructions.
using Tag = std::array<std::uint8_t, 8>;
Result<Tag> tag_of(int program);

}  // namespace culvert::agent
