#include "ztunnel/passthrough.h"

#include "lib/mesh/inbound.h"
#include "ztunnel/admission.h"
#include "ztunnel/connections.h"
#include "ztunnel/dial.h"
#include "ztunnel/pod_view.h"
#include "ztunnel/splice.h"

namespace culvert::ztunnel {

namespace {

io::Task<Result<Done>> carry(Connection& connection, io::Socket& client) {
    connection.protocol = Protocol::tcp;
    CO_TRY(connection.source, client.peer());
    CO_TRY(connection.original_destination, client.original_destination());
    CO_TRY_DONE(co_await until_known(connection));
    CO_TRY(Known known, known_now(connection));
    const mesh::Surroundings& around = connection.pod.shard().settings().around;
    const Address to = connection.original_destination;
    CO_TRY(const mesh::Inbound asked, mesh::admit_plaintext(*known.directory, around, *known.self, to));
    note(connection, known, asked);
    CO_TRY_DONE(authorise(connection, known));
    CO_TRY(io::Socket app, co_await dial_app(connection));
    co_return co_await splice(connection, std::move(app), std::move(client));
}

}  // namespace

io::Task<void> serve_passthrough(PodView& pod, io::Socket client) {
    Connection connection(pod, Direction::inbound);
    auto carrying = carry(connection, client);
    auto carried = co_await connection.scope.run(std::move(carrying));
    if (!carried && client.open()) client.reset_on_close();
    connection.begun(carried);
    connection.ended(Reason::none);
}

}  // namespace culvert::ztunnel
