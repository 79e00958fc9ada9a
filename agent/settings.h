// What the agent is told on its command line (flags.cpp says what each means). A value; paths are absolute.
#pragma once
#include "agent/pods.h"
#include "lib/base/ip.h"

#include <string>
#include <vector>

namespace culvert::agent {

enum class Command : std::uint8_t { run, precheck, uninstall, nothing };  // nothing: help was printed

struct Settings {
    Command command = Command::run;
    std::string node_name;
    std::string manifests;
    std::string run_directory;
    std::string bpffs;
    std::string zds_path;
    std::string capture_group;    // empty: the root of cgroup2
    std::string ztunnel_group;    // empty: culvert-ztunnel below the capture group
    std::string ztunnel_program;  // empty: any program of our user
    bool adopt_ztunnel = true;    // move it into ztunnel_group; otherwise it must be there already
    std::vector<std::string> pod_groups;
    std::string node_namespace;  // empty: the one we are started in
    Address control;
    std::string controller;       // host:port; empty: nobody is told
    std::string controller_name;  // in its certificate; empty: the host
    std::string token;
    std::string root_certificate;
    std::string root_namespace;
    MembershipOptions membership;
    bool probe_all_ports = false;
    Sweeping sweeping = Sweeping::strict;
    std::string log_filter;
    bool log_json = false;
    bool json = false;   // of precheck's answer
    bool force = false;  // uninstall although an agent lives
};

}  // namespace culvert::agent
