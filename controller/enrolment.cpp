#include "controller/enrolment.h"

#include "controller/translate/workload.h"
#include "lib/kube/fields.h"
#include "lib/tls/state_directory.h"

#include <algorithm>
#include <dirent.h>
#include <memory>
#include <sstream>
#include <unistd.h>

namespace culvert::controller {
namespace {

constexpr std::size_t text_bytes_max = 512;  // of a uid or a reason: an inode's uid has 330

bool printable(std::string_view text) {
    if (text.size() > text_bytes_max) return false;
    return std::ranges::none_of(text, [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

bool is_word(std::string_view text) {
    return !text.empty() && printable(text) && text.find(' ') == text.npos;
}

// One line a pod: "shop/web UID yes REASON". The reason is the rest of the line; "-" stands for none.
void read_lines(std::string_view text, std::map<std::string, Enrolment, std::less<>>& out) {
    std::istringstream lines{std::string(text)};
    for (std::string line; std::getline(lines, line) && out.size() < Enrolments::pods_of_node_max;) {
        std::istringstream words(line);
        std::string name, enrolled;
        Enrolment one;
        if (!(words >> name >> one.uid >> enrolled >> std::ws) || !std::getline(words, one.reason)) continue;
        one.enrolled = enrolled == "yes";
        if (one.reason == "-") one.reason.clear();
        out[name] = std::move(one);
    }
}

}  // namespace

Result<Enrolments> Enrolments::open(std::string directory) {
    Enrolments out(std::move(directory));
    TRY(tls::StateDirectory state, tls::StateDirectory::open(out.directory_));
    std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(out.directory_.c_str()), ::closedir);
    while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
        const std::string node(entry->d_name);
        if (!kube::is_dns_name(node, false)) continue;
        TRY(std::optional<tls::SecretText> text, state.read(node, true));
        if (text) read_lines(text->reveal(), out.nodes_[node]);
    }
    return out;
}

Result<std::vector<std::string>> Enrolments::apply(const std::string& node, const xds::Report& report) {
    if (!report.node.empty() && report.node != node)
        return refuse(Reason::bad_input, "a report of " + node + " speaks for another node");
    std::map<std::string, Enrolment, std::less<>> now;
    if (!report.snapshot) now = of(node);
    for (const xds::PodReport& pod : report.pods) {
        if (!kube::is_dns_name(pod.name, false) || !kube::is_dns_name(pod.name_space, true) ||
            !is_word(pod.uid) || !printable(pod.reason))
            return refuse(Reason::bad_input, "a report of " + node + " names an impossible pod");
        const std::string name = pod.name_space + "/" + pod.name;
        auto known = now.find(name);
        // An older pod of this name may be said to have gone after a newer one came.
        if (pod.gone) {
            if (known != now.end() && known->second.uid == pod.uid) now.erase(known);
        } else {
            now[name] = {pod.uid, pod.enrolled, pod.reason};
        }
    }
    if (now.size() > pods_of_node_max)
        return refuse(Reason::limit, "a report of " + node + " names too many pods");
    std::vector<std::string> changed;
    const auto& before = of(node);
    for (const auto& [name, one] : before)
        if (auto at = now.find(name); at == now.end() || at->second != one) changed.push_back(name);
    for (const auto& [name, one] : now)
        if (!before.contains(name)) changed.push_back(name);
    if (!changed.empty()) nodes_[node] = std::move(now);
    return changed;
}

Result<Done> Enrolments::save(const std::string& node) const {
    TRY(const tls::StateDirectory state, tls::StateDirectory::open(directory_));
    std::string text;
    for (const auto& [name, one] : of(node))
        text += name + " " + one.uid + (one.enrolled ? " yes " : " no ") +
                (one.reason.empty() ? "-" : one.reason) + "\n";
    return state.write(node, text, true);
}

void Enrolments::forget(const std::string& node) {
    nodes_.erase(node);
    (void)::unlink((directory_ + "/" + node).c_str());
}

const std::map<std::string, Enrolment, std::less<>>& Enrolments::of(const std::string& node) const {
    static const std::map<std::string, Enrolment, std::less<>> none;
    auto found = nodes_.find(node);
    return found == nodes_.end() ? none : found->second;
}

bool Enrolments::enrolled(const kube::Pod& pod) const {
    const auto& said = of(pod.node);
    auto found = said.find(pod.metadata.namespace_ + "/" + pod.metadata.name);
    if (found == said.end() || !found->second.enrolled) return false;
    return pod.metadata.uid.empty() || pod.metadata.uid == found->second.uid;
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
