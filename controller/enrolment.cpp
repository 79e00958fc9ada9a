#include "controller/enrolment.h"

#include "controller/translate/workload.h"
#include "lib/kube/fields.h"
#include "lib/tls/state_directory.h"

#include <algorithm>
#include <dirent.h>
#include <memory>
#include <set>
#include <sstream>
#include <unistd.h>

namespace culvert::controller {
namespace {

constexpr std::size_t file_bytes_max = 8u << 20;  // the longest report of a node makes 5.6 MB
constexpr std::size_t text_bytes_max = 512;       // of a uid or a reason: an inode's uid has 330

bool printable(std::string_view text) {
    if (text.size() > text_bytes_max) return false;
    return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

bool is_word(std::string_view text) {
    return !text.empty() && printable(text) && text.find(' ') == text.npos;
}

// One line a pod: "UID shop/web yes REASON". The reason is the rest of the line; "-"
// stands for none.
void read_lines(std::string_view text, Enrolments::Said& out) {
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line) && out.size() < Enrolments::pods_of_node_max;) {
        std::istringstream words(line);
        std::string uid, enrolled;
        Enrolment one;
        if (!(words >> uid >> one.name >> enrolled >> std::ws) || !std::getline(words, one.reason)) continue;
        one.enrolled = enrolled == "yes";
        if (one.reason == "-") one.reason.clear();
        out[uid] = std::move(one);
    }
}

// Names of the pods about which something differs, each once.
std::vector<std::string> differences(const Enrolments::Said& before, const Enrolments::Said& now) {
    std::set<std::string> out;
    for (const auto& [uid, one] : before)
        if (auto at = now.find(uid); at == now.end() || at->second != one) out.insert(one.name);
    for (const auto& [uid, one] : now)
        if (auto at = before.find(uid); at == before.end() || at->second != one) out.insert(one.name);
    return {out.begin(), out.end()};
}

}  // namespace

Result<Enrolments> Enrolments::open(std::string directory) {
    Enrolments out(std::move(directory));
    TRY(tls::StateDirectory state, tls::StateDirectory::open(out.directory_));
    std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(out.directory_.c_str()), ::closedir);
    while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
        const std::string node(entry->d_name);
        if (!kube::is_dns_name(node, false)) continue;
        TRY(std::optional<tls::SecretText> text, state.read(node, true, file_bytes_max));
        if (text) read_lines(text->reveal(), out.nodes_[node]);
    }
    return out;
}

Result<std::vector<std::string>> Enrolments::apply(const std::string& node, const xds::Report& report) {
    if (!report.node.empty() && report.node != node)
        return refuse(Reason::bad_input, "a report of " + node + " speaks for another node");
    Said now;
    if (!report.snapshot) now = of(node);
    for (const xds::PodReport& pod : report.pods) {
        if (!is_word(pod.uid))
            return refuse(Reason::bad_input, "a report of " + node + " names a pod by an impossible uid");
        if (pod.gone) {  // says no more than its uid
            now.erase(pod.uid);
            continue;
        }
        if (!kube::is_dns_name(pod.name, false) || !kube::is_dns_name(pod.name_space, true) ||
            !printable(pod.reason))
            return refuse(Reason::bad_input, "a report of " + node + " names an impossible pod");
        now[pod.uid] = {pod.name_space + "/" + pod.name, pod.enrolled, pod.reason};
    }
    if (now.size() > pods_of_node_max)
        return refuse(Reason::limit, "a report of " + node + " names too many pods");
    std::vector<std::string> changed = differences(of(node), now);
    if (!changed.empty()) nodes_[node] = std::move(now);
    return changed;
}

Result<Done> Enrolments::save(const std::string& node) const {
    TRY(const tls::StateDirectory state, tls::StateDirectory::open(directory_));
    std::string text;
    for (const auto& [uid, one] : of(node)) {
        text += uid + " " + one.name + (one.enrolled ? " yes " : " no ");
        text += (one.reason.empty() ? "-" : one.reason) + "\n";
    }
    return state.write(node, text, true);
}

std::vector<std::string> Enrolments::keep_only(const std::set<std::string, std::less<>>& nodes) {
    std::vector<std::string> changed;
    for (auto at = nodes_.begin(); at != nodes_.end();) {
        if (nodes.contains(at->first)) {
            ++at;
            continue;
        }
        for (const auto& [uid, one] : at->second) changed.push_back(one.name);
        (void)::unlink((directory_ + "/" + at->first).c_str());
        at = nodes_.erase(at);
    }
    return changed;
}

const Enrolments::Said& Enrolments::of(const std::string& node) const {
    static const Said none;
    auto found = nodes_.find(node);
    return found == nodes_.end() ? none : found->second;
}

// A pod whose manifest gives no uid is known by its name: agents then make a uid of it and the namespace's
// inode.
bool Enrolments::enrolled(const kube::Pod& pod) const {
    const Said& said = of(pod.node);
    auto means = [&](const auto& one) {
        return one.second.enrolled && one.second.name == pod.metadata.name_space + "/" + pod.metadata.name;
    };
    if (pod.metadata.uid.empty()) return std::ranges::any_of(said, means);
    auto found = said.find(pod.metadata.uid);
    return found != said.end() && means(*found);
}

kube::ObjectPtr Enrolments::seen(const kube::ObjectPtr& object) const {
    const auto* pod = std::get_if<kube::Pod>(object.get());
    if (!pod) return object;
    const bool said = pod->metadata.annotations.contains(translate::redirection_annotation);
    const bool is = enrolled(*pod);
    if (!said && !is) return object;
    kube::Pod copy = *pod;
    if (is)
        copy.metadata.annotations[std::string(translate::redirection_annotation)] =
            translate::redirection_enabled;
    else
        copy.metadata.annotations.erase(std::string(translate::redirection_annotation));
    return std::make_shared<const kube::Object>(std::move(copy));
}

}  // namespace culvert::controller
