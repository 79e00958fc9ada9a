// What the data path is told once, at start: who we are, and every bound and deadline of a connection's life.
// A value; the composition root fills it from the environment (wire.md 8.1), tests from what they need.
// docs/limits.md has the arithmetic of each number.
#pragma once
#include "lib/base/clock.h"
#include "lib/mesh/decide.h"

#include <cstddef>
#include <string>

namespace culvert::ztunnel {

struct Settings {
    mesh::Surroundings around;                   // NETWORK and the mesh's address ranges
    std::string cluster = "Kubernetes";          // CLUSTER_ID
    std::string node;                            // NODE_NAME
    std::string trust_domain = "cluster.local";  // of provisional records, until WDS says
    bool response_baggage = true;                // ENABLE_RESPONSE_BAGGAGE (H-25)

    // deadlines
    Duration workload_wait = std::chrono::seconds(5);     // I-2, O-2: until the directory knows
    Duration credential_wait = std::chrono::seconds(10);  // H-10
    Duration connect = std::chrono::seconds(10);          // O-12, I-6
    Duration handshake = std::chrono::seconds(10);        // W-2, S21: TLS and HTTP/2, from accept or connect
    // W-2: the far side may take `connect` to dial its app, after its own waits.
    Duration connect_reply = std::chrono::seconds(20);
    Duration idle_release = std::chrono::minutes(5);   // H-41
    Duration ping_every = std::chrono::seconds(10);    // H-19
    Duration ping_timeout = std::chrono::seconds(20);  // H-19
    // How often connections are looked at whose app may have gone unheard: nobody reads from one that has
    // sent FIN or waits for credit.
    Duration look_for_gone = std::chrono::seconds(30);
    Duration client_bound_wait = std::chrono::seconds(1);  // S3: until the kernel confirms the real client

    // bounds
    std::size_t streams_per_link_max = 100;  // H-39, of links that we dial
    std::size_t accepted_streams_max = 200;  // wire.md 1.3, of links that we accept
    std::size_t links_per_key_max = 4;       // of links that carry the same pair; more only when all are full
    std::size_t dialled_links_max = 500;     // per pod and loop (H-41)
    std::size_t accepted_links_max = 4096;   // per pod and loop
    std::size_t links_of_caller_max = 128;   // of those, from one address, half-open ones included (S21)
    std::size_t handshakes_max = 256;        // half-open on one pod and loop (S21)
    std::size_t handshakes_of_caller_max = 64;  // of those, from one address
    // Of one pod on one loop: the apps' sockets, and those of peers in plain TCP. The node lowers it to what
    // leaves half of the process's descriptors to other pods.
    std::size_t sockets_max = 16'384;
    std::size_t unsent_max = 1u << 20;  // sealed bytes that a link's socket has not taken (S19)
    // S18: bytes in memory that one side sent and the other has not taken. From half of it on windows stay as
    // they are; whoever adds to them above it is ended: a connection whose both sides keep up holds none.
    std::size_t held_of_pod_max = 256u << 20;  // of one pod on one loop
    std::size_t held_max = 1u << 30;           // of one loop
};

}  // namespace culvert::ztunnel
