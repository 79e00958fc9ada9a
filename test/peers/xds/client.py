#!/usr/bin/env python3
"""A node proxy in Python that judges our server.

  client.py PORT ROOTS TOKEN

Says `do NAME` when the test shall change something, and hears `done`. Ends with `ok` or `fail: why`.
"""
import queue
import sys
import traceback

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stubs import ADDRESS, AUTHORIZATION, expect, hear, load, say, xxh64

stubs = load()
Request = stubs.discovery.DeltaDiscoveryRequest
token = sys.argv[3]
DEADLINE = 20


def channel():
    roots = open(sys.argv[2], "rb").read()
    return grpc.secure_channel(f"localhost:{sys.argv[1]}", grpc.ssl_channel_credentials(roots))


def metadata(bearer=token):
    return (("authorization", f"Bearer {bearer}"), ("clusterid", "Kubernetes")) if bearer else ()


def do(what):
    say(f"do {what}")
    hear("done")


class Stream:
    def __init__(self, through, bearer=token):
        self.requests = queue.Queue()
        stub = stubs.discovery_grpc.AggregatedDiscoveryServiceStub(through)
        self.call = stub.DeltaAggregatedResources(iter(self.requests.get, None), metadata=metadata(bearer),
                                                  timeout=DEADLINE)

    def ask(self, type_url, versions=None, subscribe=(), unsubscribe=(), node="ztunnel~1.2.3.4~z.istio-system~x"):
        request = Request(type_url=type_url, resource_names_subscribe=subscribe,
                          resource_names_unsubscribe=unsubscribe)
        if node:
            request.node.id = node
        request.initial_resource_versions.update(versions or {})
        self.requests.put(request)

    def answer(self, response, error=None):
        request = Request(type_url=response.type_url, response_nonce=response.nonce)
        if error:
            request.error_detail.message = error
        self.requests.put(request)

    def next(self, type_url):
        response = next(self.call)
        expect(response.type_url == type_url, f"got {response.type_url} instead of {type_url}")
        expect(response.nonce, "a response without nonce")
        return response

    def end(self):
        self.requests.put(None)
        self.call.cancel()


def refusal(work):
    try:
        work()
    except grpc.RpcError as error:
        return error.code()
    return None


def addresses(response):
    out = {}
    for each in response.resources:
        expect(each.resource.type_url == ADDRESS, each.resource.type_url)
        expect(each.version == format(xxh64(each.resource.value), "x"),
               f"{each.name} has version {each.version}")
        out[each.name] = stubs.mesh.Address.FromString(each.resource.value)
    return out


def discovery(through):
    expect(refusal(lambda: next(Stream(through, bearer=None).call)) == grpc.StatusCode.UNAUTHENTICATED,
           "no token must be refused")
    expect(refusal(lambda: next(Stream(through, bearer="x.y.z").call)) == grpc.StatusCode.UNAUTHENTICATED,
           "a wrong token must be refused")
    nameless = Stream(through)
    nameless.ask(ADDRESS, node=None)
    expect(refusal(lambda: nameless.next(ADDRESS)) == grpc.StatusCode.INVALID_ARGUMENT,
           "a node without id must be refused")

    stream = Stream(through)
    stream.ask(ADDRESS)
    first = stream.next(ADDRESS)
    got = addresses(first)
    expect(set(got) == {"Kubernetes//Pod/shop/pod-1", "Kubernetes//Pod/shop/pod-2", "shop/svc-1.shop.svc.cluster.local"}, set(got))
    pod = got["Kubernetes//Pod/shop/pod-1"].workload
    expect(pod.addresses[0] == bytes([10, 0, 0, 1]) and pod.addresses[1] == bytes([0xfd] + [0] * 14 + [1]),
           "addresses are 4 or 16 bytes")
    expect(pod.tunnel_protocol == 1 and pod.workload_type == 2 and pod.status == 1 and pod.network_mode == 1,
           "numbers of a workload")
    expect(pod.trust_domain == "example.org" and pod.service_account == "web" and pod.cluster_id == "east-1",
           "names of a workload")
    expect(pod.network_gateway.address.network == "west" and pod.network_gateway.hbone_mtls_port == 15008,
           "network gateway")
    expect(pod.services["shop/named.shop.svc.cluster.local"].ports[0].target_port == 8443,
           "ports of an endpoint")
    expect(pod.application_tunnel.port == 15080 and pod.locality.zone == "eu-1" and pod.capacity.value == 7,
           "the rest of a workload")
    service = got["shop/svc-1.shop.svc.cluster.local"].service
    expect(service.addresses[0].network == "east" and not service.addresses[0].HasField("length"),
           "an exact VIP has no length")
    expect(service.addresses[1].length == 64 and len(service.addresses[1].address) == 16, "a range has one")
    expect(list(service.load_balancing.routing_preference) == [2, 6] and service.load_balancing.mode == 2,
           "load balancing")
    expect(service.weighted_waypoints[1].weight == 10 and service.visibility == 1 and
           service.ip_families == 3,
           "the rest of a service")
    aliases = {each.name: sorted(each.aliases) for each in first.resources}
    expect(aliases["Kubernetes//Pod/shop/pod-1"] == ["east/10.0.0.1", "east/fd00::1"], aliases)
    expect(aliases["shop/svc-1.shop.svc.cluster.local"] == ["/fd00:96::/64", "east/10.96.0.1"], aliases)
    versions = {each.name: each.version for each in first.resources}

    do("change-pod-2")  # while the first response is not answered: nothing may come
    stream.answer(first, error="Kubernetes//Pod/shop/pod-1: I do not like it")
    second = stream.next(ADDRESS)
    expect(set(addresses(second)) == {"Kubernetes//Pod/shop/pod-2"},
           "only what changed, and nothing again because of a NACK")
    stale = type(first)(type_url=ADDRESS, nonce=first.nonce)
    stream.answer(stale)
    stream.answer(second)

    stream.ask(AUTHORIZATION, node=None)
    policies = stream.next(AUTHORIZATION)
    expect([each.name for each in policies.resources] == ["shop/policy-1"], "policies are namespace/name")
    policy = stubs.policy.Authorization.FromString(policies.resources[0].resource.value)
    match = policy.rules[0].clauses[0].matches[0]
    expect(policy.scope == 2 and policy.action == 1 and policy.dry_run, "scope and action")
    expect(match.namespaces[0].prefix == "a" and match.not_namespaces[0].suffix == "b" and
           match.principals[0].HasField("presence"),
           "text")
    expect(match.source_ips[0].length == 8 and match.destination_ports[0] == 80 and
           match.service_accounts[0].service_account == "web",
           "rest")
    stream.answer(policies)
    stream.end()

    do("change-pod-1")
    do("remove-service")
    again = Stream(through)
    versions["Kubernetes//Pod/shop/pod-2"] = second.resources[0].version
    again.ask(ADDRESS, versions=versions)
    third = again.next(ADDRESS)
    expect(set(addresses(third)) == {"Kubernetes//Pod/shop/pod-1"}, "a reconnect brings the difference")
    expect(list(third.removed_resources) == ["shop/svc-1.shop.svc.cluster.local"], "and what is gone")
    again.end()

    demand = Stream(through)
    demand.ask(ADDRESS, subscribe=["*"], unsubscribe=["*"])
    demand.ask(ADDRESS, subscribe=["/10.0.0.2", "Kubernetes//Pod/shop/nobody"])
    fourth = demand.next(ADDRESS)
    expect(set(addresses(fourth)) == {"Kubernetes//Pod/shop/pod-2"}, "found by its address")
    expect(list(fourth.removed_resources) == ["Kubernetes//Pod/shop/nobody"],
           "an unknown name comes back as removed")
    demand.end()


def certificates(through):
    stub = stubs.ca_grpc.IstioCertificateServiceStub(through)

    def ask(identity, bearer=token, csr=None):
        key = ec.generate_private_key(ec.SECP256R1())
        made = (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
                .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]),
                               critical=True)
                .sign(key, hashes.SHA256()))
        csr = csr or made.public_bytes(serialization.Encoding.PEM).decode()
        request = stubs.ca.IstioCertificateRequest(csr=csr, validity_duration=600)
        request.metadata["ImpersonatedIdentity"] = identity
        return key, stub.CreateCertificate(request, metadata=metadata(bearer), timeout=DEADLINE)

    web = "spiffe://cluster.local/ns/shop/sa/web"
    key, response = ask(web)
    expect(len(response.cert_chain) >= 2, "leaf and roots")
    leaf = x509.load_pem_x509_certificate(response.cert_chain[0].encode())
    root = x509.load_pem_x509_certificate(response.cert_chain[-1].encode())
    root.public_key().verify(leaf.signature, leaf.tbs_certificate_bytes,
                             ec.ECDSA(leaf.signature_hash_algorithm))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    expect([name.value for name in names.value] == [web], "the leaf is for whom it was asked")
    expect(leaf.public_key().public_numbers() == key.public_key().public_numbers(),
           "and for the key of the request")
    expect(600 <= (leaf.not_valid_after - leaf.not_valid_before).total_seconds() <= 900,
           "and for as long as asked")
    denied = "spiffe://cluster.local/ns/shop/sa/denied"
    try:
        ask(denied)
        expect(False, "signed for somebody who is not here")
    except grpc.RpcError as error:
        expect(error.code() == grpc.StatusCode.UNAUTHENTICATED, error.code())
        expect(error.details() == "request impersonation authentication failure", error.details())
    expect(refusal(lambda: ask(web, bearer=None)) == grpc.StatusCode.UNAUTHENTICATED,
           "no token, no certificate")
    expect(refusal(lambda: ask(web, csr="nonsense")) == grpc.StatusCode.INVALID_ARGUMENT,
           "no CSR, no certificate")


def nonsense(through):
    unknown = through.unary_unary("/istio.v1.auth.IstioCertificateService/NoSuch", lambda x: x, lambda x: x)
    expect(refusal(lambda: unknown(b"", metadata=metadata(), timeout=DEADLINE)) == grpc.StatusCode.UNIMPLEMENTED,
           "no such method")
    garbage = through.stream_stream("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
                                    lambda x: x, lambda x: x)
    call = garbage(iter([b"\xff\xff\xff"]), metadata=metadata(), timeout=DEADLINE)
    expect(refusal(lambda: next(call)) == grpc.StatusCode.INVALID_ARGUMENT, "bytes that are no message")
    plain = grpc.insecure_channel(f"localhost:{sys.argv[1]}")
    late = stubs.ca_grpc.IstioCertificateServiceStub(plain)
    ask = lambda: late.CreateCertificate(stubs.ca.IstioCertificateRequest(), timeout=DEADLINE)
    expect(refusal(ask) == grpc.StatusCode.UNAVAILABLE, "nothing is served in the clear")
    plain.close()


if __name__ == "__main__":
    try:
        with channel() as through:
            for part in (discovery, certificates, nonsense):
                part(through)
        say("ok")
    except Exception:  # the test shows what went wrong here
        say("fail: " + traceback.format_exc().replace("\n", " | "))
