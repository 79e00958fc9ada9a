#!/usr/bin/env python3
"""A controller in Python that judges our client: every request is checked against what the wire demands.

  server.py KEY CERT TOKEN

Prints `port N`, goes through its script with the client, ends with `ok` or `fail: why`.
"""
import datetime
import queue
import sys
import traceback
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stubs import ADDRESS, AUTHORIZATION, expect, load, say

stubs = load()
Response = stubs.discovery.DeltaDiscoveryResponse
token = sys.argv[3]
verdict = queue.Queue()


def resource(name, version, type_url, message):
    out = stubs.discovery.Resource(name=name, version=version, aliases=["ignored/alias"])
    out.resource.type_url = type_url
    out.resource.value = message.SerializeToString()
    return out


def good_workload():
    workload = stubs.mesh.Workload(
        uid="Kubernetes//Pod/shop/web-1", name="web-1", namespace="shop",
        addresses=[bytes([10, 0, 0, 1]), bytes(15) + b"\1"], network="east", tunnel_protocol=1,
        trust_domain="example.org", service_account="web", node="n1", canonical_name="web", canonical_revision="v2",
        workload_type=2, workload_name="web", native_tunnel=True, authorization_policies=["shop/p"], status=1, cluster_id="c1", network_mode=1)
    workload.services["shop/web.shop.svc.cluster.local"].ports.add(service_port=80, target_port=8080)
    workload.locality.region = "eu"
    workload.capacity.value = 3
    workload.extensions.add(name="unknown to a node proxy")
    workload.waypoint.hostname.namespace = "shop"
    workload.waypoint.hostname.hostname = "waypoint"
    workload.waypoint.hbone_mtls_port = 15008
    return stubs.mesh.Address(workload=workload)


def good_service():
    service = stubs.mesh.Service(name="web", namespace="shop", hostname="web.shop.svc.cluster.local", ip_families=3)
    service.addresses.add(address=bytes([10, 96, 0, 1]))
    service.addresses.add(address=bytes([10, 97, 0, 0]), length=16)
    service.ports.add(service_port=80, target_port=8080, app_protocol=77)
    return stubs.mesh.Address(service=service)


def bad_workload():
    return stubs.mesh.Address(workload=stubs.mesh.Workload(uid="bad", tunnel_protocol=2))


def check_caller(context):
    metadata = dict(context.invocation_metadata())
    expect(metadata.get("authorization") == f"Bearer {token}",
           f"authorization is {metadata.get('authorization')}")
    expect(metadata.get("clusterid") == "Kubernetes", f"clusterid is {metadata.get('clusterid')}")
    expect(metadata.get("x-team") == "blue", "the extra header is missing")


def check_first(request, type_url):
    expect(request.type_url == type_url, f"asked for {request.type_url}, not {type_url}")
    expect(request.node.id == "ztunnel~10.9.8.7~z.istio-system~istio-system.svc.cluster.local",
           request.node.id)
    fields = {name: value.string_value for name, value in request.node.metadata.fields.items() if name != "LABELS"}
    wanted = {"NAME": "z", "NAMESPACE": "istio-system", "INSTANCE_IPS": "10.9.8.7", "NODE_NAME": "n1", "X": "y"}
    expect(fields == wanted, fields)
    labels = request.node.metadata.fields["LABELS"].struct_value.fields
    expect(labels["a"].number_value == 1, "ISTIO_METAJSON_ is not a JSON value")
    expect(not request.resource_names_subscribe and not request.resource_names_unsubscribe,
           "a wildcard names nothing")
    expect(not request.response_nonce and not request.HasField("error_detail"),
           "a first request answers nothing")


def check_answer(request, type_url, nonce):
    expect(request.type_url == type_url and request.response_nonce == nonce,
           f"answered {request.response_nonce}, not {nonce}")
    expect(not request.HasField("node"), "the node is for first requests")


class Discovery(stubs.discovery_grpc.AggregatedDiscoveryServiceServicer):
    def __init__(self):
        self.streams = 0

    def DeltaAggregatedResources(self, requests, context):
        self.streams += 1
        try:
            check_caller(context)
            script = self.first if self.streams == 1 else self.second
            yield from script(requests, context)
        except AssertionError as why:
            verdict.put(f"fail: {why} (stream {self.streams})")
        except StopIteration:
            verdict.put(f"fail: the client ended stream {self.streams}")

    def first(self, requests, context):
        addresses, policies = next(requests), next(requests)
        check_first(addresses, ADDRESS)
        check_first(policies, AUTHORIZATION)
        expect(not addresses.initial_resource_versions, "a first stream has nothing to report")

        yield Response(type_url=ADDRESS, nonce="n1", resources=[
            resource("Kubernetes//Pod/shop/web-1", "1", ADDRESS, good_workload()),
            resource("bad", "1", ADDRESS, bad_workload()),
            resource("shop/web.shop.svc.cluster.local", "1", ADDRESS, good_service())])
        answer = next(requests)
        check_answer(answer, ADDRESS, "n1")
        expect(answer.error_detail.message == "bad: tunnel protocol LEGACY_ISTIO_MTLS is not supported",
               answer.error_detail.message)
        expect(answer.error_detail.code == 0, "a NACK has code 0")

        policy = stubs.policy.Authorization(name="p", namespace="shop", scope=2, action=1)
        match = policy.rules.add().clauses.add().matches.add()
        match.not_source_ips.add(address=bytes([10, 0, 0, 0]), length=8)
        match.destination_ports.append(80)
        match.service_accounts.add(namespace="shop", service_account="web")
        yield Response(type_url=AUTHORIZATION, nonce="n2", resources=[resource("shop/p", "", AUTHORIZATION, policy)])
        answer = next(requests)
        check_answer(answer, AUTHORIZATION, "n2")
        expect(not answer.HasField("error_detail"), answer.error_detail.message)

        yield Response(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster", nonce="n3", resources=[
            resource("c", "1", "type.googleapis.com/envoy.config.cluster.v3.Cluster", stubs.mesh.Address())])
        answer = next(requests)
        check_answer(answer, "type.googleapis.com/envoy.config.cluster.v3.Cluster", "n3")
        expect(not answer.HasField("error_detail"), "an unknown type is acknowledged")

        gone = good_workload()
        gone.workload.uid = "gone"
        yield Response(type_url=ADDRESS, nonce="n4", resources=[resource("gone", "1", ADDRESS, gone)],
                       removed_resources=["gone", "never/existed"])
        check_answer(next(requests), ADDRESS, "n4")
        context.abort(grpc.StatusCode.UNAVAILABLE, "transport is closing")

    def second(self, requests, _context):
        addresses, policies = next(requests), next(requests)
        check_first(addresses, ADDRESS)
        check_first(policies, AUTHORIZATION)
        reported = dict(addresses.initial_resource_versions)
        wanted = {"Kubernetes//Pod/shop/web-1": "1", "shop/web.shop.svc.cluster.local": "1"}
        expect(reported == wanted, f"reported {reported}")
        reported = dict(policies.initial_resource_versions)
        expect(reported == {"shop/p": ""}, f"reported {reported}")
        yield Response(type_url=ADDRESS, nonce="a", removed_resources=["shop/web.shop.svc.cluster.local"])
        yield Response(type_url=AUTHORIZATION, nonce="b")
        check_answer(next(requests), ADDRESS, "a")
        check_answer(next(requests), AUTHORIZATION, "b")
        verdict.put("ok")
        for _ in requests:
            pass


class Authority(stubs.ca_grpc.IstioCertificateServiceServicer):
    """A root, an intermediate, and one answer for each way in which a CA can be right or wrong."""

    def __init__(self):
        self.root_key = ec.generate_private_key(ec.SECP256R1())
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self.certificate("peer root", self.root_key.public_key(), "peer root", self.root_key, ca=True)
        self.intermediate = self.certificate("peer intermediate", self.key.public_key(), "peer root", self.root_key,
                                             ca=True)
        self.other = self.certificate("other root", self.key.public_key(), "other root", self.key, ca=True)

    @staticmethod
    def certificate(subject, public, issuer, signer, ca=False, uri=None):
        now = datetime.datetime.utcnow()
        name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])
        builder = (x509.CertificateBuilder().public_key(public).serial_number(x509.random_serial_number())
                   .subject_name(name(subject)).issuer_name(name(issuer))
                   .not_valid_before(now - datetime.timedelta(minutes=5))
                   .not_valid_after(now + datetime.timedelta(hours=1))
                   .add_extension(x509.BasicConstraints(ca, None), critical=True))
        if uri:
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
            builder = builder.add_extension(names, critical=True)
        return builder.sign(signer, hashes.SHA256())

    def CreateCertificate(self, request, context):
        try:
            return self.create(request, context)
        except AssertionError as why:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(why))

    def create(self, request, context):
        check_caller(context)
        asked = request.metadata.fields["ImpersonatedIdentity"].string_value
        csr = x509.load_pem_x509_csr(request.csr.encode())
        expect(csr.is_signature_valid, "the CSR is not signed by its key")
        expect(isinstance(csr.public_key().curve, ec.SECP256R1), "the key is not on P-256")
        expect(isinstance(csr.signature_hash_algorithm, hashes.SHA256), "not SHA-256")
        expect(not list(csr.subject), "the subject is not empty")
        expect(len(csr.extensions) == 1 and csr.extensions[0].critical,
               "one critical extension, nothing else")
        names = [name.value for name in csr.extensions[0].value]
        expect(names == [asked], f"the CSR names {names}, the request {asked}")
        expect(request.validity_duration == 3600, f"asks for {request.validity_duration} s")

        account = asked.rsplit("/", 1)[1]
        if account == "denied":
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "request impersonation authentication failure")
        uri = asked + "x" if account == "other" else asked
        leaf = self.certificate("", csr.public_key(), "peer intermediate", self.key, uri=uri)
        pem = lambda certificate: certificate.public_bytes(serialization.Encoding.PEM).decode()
        if account == "lonely":
            return stubs.ca.IstioCertificateResponse(cert_chain=[pem(leaf)])
        chain = [pem(leaf), pem(self.intermediate), pem(self.root) + pem(self.other)]
        return stubs.ca.IstioCertificateResponse(cert_chain=chain)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(8))
    stubs.discovery_grpc.add_AggregatedDiscoveryServiceServicer_to_server(Discovery(), server)
    stubs.ca_grpc.add_IstioCertificateServiceServicer_to_server(Authority(), server)
    key, certificate = (open(path, "rb").read() for path in sys.argv[1:3])
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
    server.start()
    say(f"port {port}")
    said = verdict.get(timeout=60)
    say(said)
    sys.stdin.read()  # serves certificates until the test is done
    server.stop(None)


if __name__ == "__main__":
    try:
        main()
    except Exception:  # the test shows what went wrong here
        say("fail: " + traceback.format_exc().replace("\n", " | "))
