// The composition root: builds everything in order, runs one loop, ends without taking capture away (decision
// 13).
//
// start() does what needs the machine as it is: cgroups by path first, then the node's namespace (decision
// 7), kernel programs, sockets; then it drops capabilities. The loop's thread is the only one but those of
// logging, the manifests' watch and reports, which talk to it through its mailbox.
#pragma once
#include "agent/census.h"
#include "agent/control_port.h"
#include "agent/reports.h"
#include "agent/settings.h"
#include "lib/control/server.h"
#include "lib/io/scope.h"

#include <memory>

namespace culvert::agent {

class Agent {
public:
    static Result<std::unique_ptr<Agent>> start(const Settings& settings);
    ~Agent();
    Result<Done> run();  // until SIGTERM or SIGINT

private:
    struct Opened;  // what start() has in hand
    Agent(const Settings& settings, Opened opened);
    Result<Done> open_doors();
    Result<Done> begin();

    io::Task<Result<Done>> keep_census();
    io::Task<Result<Done>> tick();
    io::Task<Result<Done>> watch_addresses();
    io::Task<Result<Done>> hear_refusals();
    io::Task<Result<Done>> wait_for_signal();

    void look();  // one round of the census, and what follows from it
    void follow_watches();
    void report();

    Settings settings_;
    Group root_;
    Group ztunnel_;
    io::Loop loop_;
    std::unique_ptr<Capture> capture_;
    io::Event changed_;
    ZdsServer zds_;
    Census census_;
    std::unique_ptr<Reports> reports_;
    std::unique_ptr<kube::Watch> watch_;
    Fd signals_;
    Fd addresses_;  // an epoll of the pods' netlink sockets: one task waits for all
    Fd claim_;      // on the run directory
    ControlPort port_;
    io::Scope tasks_;
    io::Scope last_;  // waits for the signal, then for tasks_
    control::Server control_;
};

// SIGTERM and SIGINT, for the whole process: called before any thread is made, so that only the descriptor
// gets them.
void block_signals();

}  // namespace culvert::agent
