#include "agent/programs.h"

#include "agent/os.h"
#include "bpf/abi.h"
#include "lib/base/check.h"
#include "lib/base/log.h"

#include "answer.skel.h"
#include "capture.skel.h"
#include "deliver.skel.h"
#include "flows.skel.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <cerrno>
#include <cstdarg>
#include <cstdio>

namespace culvert::agent {
namespace {

// libbpf explains a failed load on its log only: the last line stands in our error.
std::string last_complaint;

int hear(enum libbpf_print_level level, const char* format, std::va_list arguments) {
    if (level == LIBBPF_DEBUG) return 0;
    char line[512];
    int size = std::vsnprintf(line, sizeof line, format, arguments);
    if (size <= 0) return 0;
    std::string text(line);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    log::debug("bpf", text);
    last_complaint = std::move(text);
    return 0;
}

std::unexpected<Error> refuse_load(const char* what, int number) {
    auto refused = refuse_call(std::string("cannot load the kernel programs of ") + what, number);
    if (!last_complaint.empty()) refused.error().text += " (" + last_complaint + ")";
    return refused;
}

bool is_shared(const bpf_map* map) { return !bpf_map__is_internal(map); }  // rodata is each object's own

// A pin of another layout under our version's name: someone forgot to raise CV_ABI_VERSION, or it is not
// ours.
Result<Done> compare_layout(const bpf_map* map, const std::string& path) {
    Result<Fd> found = pinned(path);
    if (!found)
        return found.error().reason == Reason::closed ? Result<Done>(Done{}) : refuse(std::move(found));
    bpf_map_info info{};
    __u32 size = sizeof info;
    if (::bpf_obj_get_info_by_fd(found->get(), &info, &size) != 0)
        return refuse_call("cannot look at " + path, errno);
    if (info.type == static_cast<__u32>(bpf_map__type(map)) && info.key_size == bpf_map__key_size(map) &&
        info.value_size == bpf_map__value_size(map) && info.max_entries == bpf_map__max_entries(map))
        return Done{};
    return refuse(Reason::bad_configuration,
                  path + " has another layout than this agent's: run `agent uninstall`, then start again");
}

Result<Done> pin_maps(bpf_object* object, const PinDirectory& pins) {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        if (!is_shared(map)) continue;
        std::string path = pins.map(bpf_map__name(map));
        TRY_DONE(compare_layout(map, path));
        if (int failed = bpf_map__set_pin_path(map, path.c_str()); failed != 0)
            return refuse_call("cannot pin " + path, -failed);
    }
    return Done{};
}

bool kernel_has_mptcp() {
    std::unique_ptr<btf, decltype(&btf__free)> types(btf__load_vmlinux_btf(), btf__free);
    return types && btf__find_by_name_kind(types.get(), "mptcp_sock", BTF_KIND_STRUCT) > 0;
}

}  // namespace

void FreeObject::operator()(cv_answer* object) const { cv_answer__destroy(object); }
void FreeObject::operator()(cv_capture* object) const { cv_capture__destroy(object); }
void FreeObject::operator()(cv_deliver* object) const { cv_deliver__destroy(object); }
void FreeObject::operator()(cv_flows* object) const { cv_flows__destroy(object); }

const std::vector<Attachment>& attachments() {
    static const std::vector<Attachment> all{
        {"cv_tag", true},           {"cv_bound4", true},        {"cv_bound6", true},
        {"cv_getsockopt", true},    {"cv_setsockopt", true},    {"cv_link_ends", false},
        {"cv_getpeername4", false}, {"cv_getpeername6", false}, {"cv_recvmsg4", false},
        {"cv_recvmsg6", false},     {"cv_sendmsg4", false},     {"cv_sendmsg6", false},
        {"cv_connect4", false},     {"cv_connect6", false},
    };
    return all;
}

Result<Programs> Programs::load(const PinDirectory& pins, const CaptureOptions& options) {
    libbpf_set_print(hear);
    last_complaint.clear();
    Programs programs;
    programs.answer_.reset(cv_answer__open());
    programs.flows_.reset(cv_flows__open());
    programs.capture_.reset(cv_capture__open());
    if (!programs.answer_ || !programs.flows_ || !programs.capture_) return refuse_load("this build", errno);
    programs.capture_->rodata->cv_node_namespace = options.node_namespace;
    programs.capture_->rodata->cv_probe_all_ports = options.probe_all_ports;
    programs.capture_->rodata->cv_has_mptcp = kernel_has_mptcp();
    for (bpf_object* object : {programs.answer_->obj, programs.flows_->obj, programs.capture_->obj})
        if (Result<Done> ok = pin_maps(object, pins); !ok) return refuse(std::move(ok));
    if (int failed = cv_answer__load(programs.answer_.get()); failed != 0)
        return refuse_load("answer", -failed);
    if (int failed = cv_flows__load(programs.flows_.get()); failed != 0) return refuse_load("flows", -failed);
    if (int failed = cv_capture__load(programs.capture_.get()); failed != 0)
        return refuse_load("capture", -failed);
    return programs;
}

int Programs::map(const char* name) const {
    const bpf_map* found = bpf_object__find_map_by_name(capture_->obj, name);
    check(found != nullptr);
    return bpf_map__fd(found);
}

const bpf_program* Programs::program(const char* name) const {
    for (bpf_object* object : {answer_->obj, flows_->obj, capture_->obj})
        if (const bpf_program* found = bpf_object__find_program_by_name(object, name)) return found;
    bug("no program of that name");
}

Result<Lookup> Lookup::load(const Programs& shared, LookupOptions options) {
    last_complaint.clear();
    Lookup lookup;
    lookup.object_.reset(cv_deliver__open());
    if (!lookup.object_) return refuse_load("this build", errno);
    lookup.object_->rodata->cv_pod_id = options.pod;
    lookup.object_->rodata->cv_bypass_inbound = options.bypass_inbound;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, lookup.object_->obj) {
        if (!is_shared(map)) continue;
        if (int failed = bpf_map__reuse_fd(map, shared.map(bpf_map__name(map))); failed != 0)
            return refuse_call(std::string("cannot share ") + bpf_map__name(map), -failed);
    }
    if (int failed = cv_deliver__load(lookup.object_.get()); failed != 0)
        return refuse_load("deliver", -failed);
    return lookup;
}

int Lookup::program() const { return bpf_program__fd(object_->progs.cv_lookup); }

Result<Tag> tag_of(int program) {
    bpf_prog_info info{};
    __u32 size = sizeof info;
    if (::bpf_obj_get_info_by_fd(program, &info, &size) != 0)
        return refuse_call("cannot look at a program", errno);
    Tag tag{};
    std::copy(std::begin(info.tag), std::end(info.tag), tag.begin());
    return tag;
}

}  // namespace culvert::agent
