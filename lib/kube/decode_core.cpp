// Kubernetes' own kinds. Only what the mesh needs is kept; the lists of known names are Kubernetes 1.32's and
// later.
#include "lib/kube/decode.h"

#include <algorithm>
#include <array>

namespace culvert::kube {
namespace {

constexpr std::array<std::string_view, 3> protocols{"TCP", "UDP", "SCTP"};
Protocol protocol_of(Fields& fields) {
    return static_cast<Protocol>(fields.choice("protocol", protocols).value_or(0));
}

// A probe's or hook's port: a number, or the name of one of the container's ports.
void add_probe_port(Fields& handler, const std::vector<ContainerPort>& ports,
                    std::vector<std::uint16_t>& out) {
    handler.known({"path", "host", "scheme", "httpHeaders", "service"});
    if (!handler.has("port")) return;
    const PortRef ref = handler.port_or_name("port");
    if (const auto* number = std::get_if<std::uint16_t>(&ref)) out.push_back(*number);
    if (const auto* name = std::get_if<std::string>(&ref)) {
        auto found = std::ranges::find(ports, *name, &ContainerPort::name);
        if (found != ports.end())
            out.push_back(found->port);
        else
            handler.error("port", "the container has no port named \"" + name->substr(0, 64) + "\"");
    }
}

void read_handler(Fields handler, const std::vector<ContainerPort>& ports, std::vector<std::uint16_t>& out) {
    handler.known({"exec", "sleep", "initialDelaySeconds", "timeoutSeconds", "periodSeconds",
                   "successThreshold", "failureThreshold", "terminationGracePeriodSeconds"});
    for (std::string_view way : {"httpGet", "tcpSocket", "grpc"}) {
        Fields one = handler.map(way);
        add_probe_port(one, ports, out);
    }
}

void read_container(Fields& container, bool init, Pod& pod) {
    container.known({"image", "command", "args", "workingDir", "envFrom", "env", "resources", "resizePolicy",
                     "restartPolicyRules", "volumeMounts", "volumeDevices", "terminationMessagePath",
                     "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce",
                     "tty", "targetContainerName"});
    std::string name = container.required("name");
    std::vector<ContainerPort> ports;
    container.list("ports", [&](Fields& one) {
        one.known({"hostPort", "hostIP"});
        ports.push_back({one.text("name"), one.required_port("containerPort"), protocol_of(one)});
    });
    std::vector<std::uint16_t> probe_ports;
    for (std::string_view probe : {"livenessProbe", "readinessProbe", "startupProbe"})
        read_handler(container.map(probe), ports, probe_ports);
    Fields lifecycle = container.map("lifecycle");
    lifecycle.known({"stopSignal"});
    for (std::string_view hook : {"postStart", "preStop"})
        read_handler(lifecycle.map(hook), ports, probe_ports);
    // An init container that is restarted always is a native sidecar: it lives as long as the pod.
    if (container.text("restartPolicy") != "Always" && init) return;
    pod.containers.push_back(std::move(name));
    pod.ports.insert(pod.ports.end(), ports.begin(), ports.end());
    pod.probe_ports.insert(pod.probe_ports.end(), probe_ports.begin(), probe_ports.end());
}

void read_pod_spec(Fields spec, Pod& pod) {
    spec.known({"volumes",
                "ephemeralContainers",
                "restartPolicy",
                "terminationGracePeriodSeconds",
                "activeDeadlineSeconds",
                "dnsPolicy",
                "nodeSelector",
                "automountServiceAccountToken",
                "hostPID",
                "hostIPC",
                "shareProcessNamespace",
                "securityContext",
                "imagePullSecrets",
                "hostname",
                "subdomain",
                "affinity",
                "schedulerName",
                "tolerations",
                "hostAliases",
                "priorityClassName",
                "priority",
                "dnsConfig",
                "readinessGates",
                "runtimeClassName",
                "enableServiceLinks",
                "preemptionPolicy",
                "overhead",
                "topologySpreadConstraints",
                "setHostnameAsFQDN",
                "os",
                "hostUsers",
                "schedulingGates",
                "resourceClaims",
                "resources",
                "hostnameOverride",
                "workloadRef",
                "schedulingGroup"});
    pod.node = spec.text("nodeName");
    if (!pod.node.empty() && !is_dns_name(pod.node, false)) spec.error("nodeName", "is no valid name");
    pod.service_account = spec.text("serviceAccountName");
    const std::string old_name = spec.text("serviceAccount");
    if (pod.service_account.empty()) pod.service_account = old_name.empty() ? "default" : old_name;
    if (!is_dns_name(pod.service_account, false)) spec.error("serviceAccountName", "is no valid name");
    pod.host_network = spec.flag("hostNetwork", false);
    spec.list("initContainers", [&](Fields& one) { read_container(one, true, pod); });
    spec.list("containers", [&](Fields& one) { read_container(one, false, pod); });
    std::ranges::sort(pod.probe_ports);
    pod.probe_ports.erase(std::ranges::unique(pod.probe_ports).begin(), pod.probe_ports.end());
}

void read_pod_status(Fields status, Pod& pod) {
    status.known({"observedGeneration", "message", "reason", "nominatedNodeName", "hostIP", "hostIPs",
                  "startTime", "initContainerStatuses", "containerStatuses", "qosClass",
                  "ephemeralContainerStatuses", "resize", "resourceClaimStatuses",
                  "extendedResourceClaimStatus", "allocatedResources", "resources"});
    static constexpr std::array<std::string_view, 5> phases{"Unknown", "Pending", "Running", "Succeeded",
                                                            "Failed"};
    if (auto phase = status.choice("phase", phases)) pod.phase = static_cast<Phase>(*phase);
    status.list("conditions", [&](Fields& one) {
        one.known({"lastProbeTime", "lastTransitionTime", "message", "reason", "observedGeneration"});
        const std::string type = one.required("type"), state = one.required("status");
        if (type == "Ready") pod.ready = state == "True";
    });
    status.list("podIPs", [&](Fields& one) {
        if (!one.has("ip")) one.error("ip", "is missing");
        if (auto ip = one.address("ip")) pod.ips.push_back(*ip);
    });
    const auto first = status.address("podIP");
    if (first && pod.ips.empty()) pod.ips.push_back(*first);
    for (const Ip& ip : pod.ips)
        if (ip.is_unspecified() || ip.is_loopback())
            status.error("podIPs", ip.to_string() + " cannot be a pod's address");
}

IpFamilies families_of(Fields& spec) {
    static constexpr std::array<std::string_view, 3> policies{"SingleStack", "PreferDualStack",
                                                              "RequireDualStack"};
    (void)spec.choice("ipFamilyPolicy", policies);
    bool v4 = false, v6 = false;
    for (const std::string& family : spec.texts("ipFamilies")) {
        if (family == "IPv4")
            v4 = true;
        else if (family == "IPv6")
            v6 = true;
        else
            spec.error("ipFamilies", "must be IPv4 or IPv6");
    }
    if (v4 && v6) return IpFamilies::dual;
    if (v4) return IpFamilies::ipv4;
    return v6 ? IpFamilies::ipv6 : IpFamilies::automatic;
}

void read_cluster_ips(Fields& spec, Service& service) {
    std::vector<std::string> texts = spec.texts("clusterIPs");
    const std::string first = spec.text("clusterIP");
    const std::string_view field = texts.empty() ? "clusterIP" : "clusterIPs";
    if (texts.empty() && !first.empty()) texts.push_back(first);
    for (const std::string& text : texts) {
        if (text == "None") {
            service.headless = true;
        } else if (auto ip = Ip::parse(text)) {
            service.cluster_ips.push_back(*ip);
        } else {
            spec.error(field, "\"" + text.substr(0, 64) + "\" is no IP address", "write an address, or None");
        }
    }
}

void read_service_ports(Fields& spec, Service& service) {
    spec.list("ports", [&](Fields& one) {
        one.known({"nodePort"});
        ServicePort port;
        port.name = one.text("name");
        port.port = one.required_port("port");
        port.target = one.port_or_name("targetPort");
        port.protocol = protocol_of(one);
        port.app_protocol = one.text("appProtocol");
        for (const ServicePort& other : service.ports) {
            if (other.port == port.port && other.protocol == port.protocol)
                one.error("port", "stands here twice");
            if (other.name == port.name)
                one.error("name", "two ports have this name", "give each port a name of its own");
        }
        service.ports.push_back(std::move(port));
    });
}

}  // namespace

Object decode_namespace(Fields& document, Metadata metadata) {
    document.known({"spec", "status"});
    return Namespace{std::move(metadata)};
}

Object decode_node(Fields& document, Metadata metadata) {
    document.known({"spec"});
    Node node{std::move(metadata), {}};
    Fields status = document.map("status");
    status.all_known();
    status.list("addresses", [&](Fields& one) {
        const std::string type = one.required("type");
        if (type == "InternalIP" || type == "ExternalIP") {
            if (auto ip = one.address("address")) node.addresses.push_back(*ip);
        } else {
            one.known({"address"});
        }
    });
    return node;
}

Object decode_pod(Fields& document, Metadata metadata) {
    Pod pod;
    pod.metadata = std::move(metadata);
    read_pod_spec(document.map("spec"), pod);
    read_pod_status(document.map("status"), pod);
    return pod;
}

Object decode_service(Fields& document, Metadata metadata) {
    document.known({"status"});
    Service service;
    service.metadata = std::move(metadata);
    Fields spec = document.map("spec");
    spec.known({"externalIPs", "sessionAffinity", "loadBalancerIP", "loadBalancerSourceRanges",
                "externalName", "externalTrafficPolicy", "healthCheckNodePort", "sessionAffinityConfig",
                "allocateLoadBalancerNodePorts", "loadBalancerClass"});
    static constexpr std::array<std::string_view, 4> types{"ClusterIP", "NodePort", "LoadBalancer",
                                                           "ExternalName"};
    service.external_name = spec.choice("type", types) == 3;
    service.selector = spec.labels("selector");
    read_cluster_ips(spec, service);
    read_service_ports(spec, service);
    service.ip_families = families_of(spec);
    service.publish_not_ready = spec.flag("publishNotReadyAddresses", false);
    static constexpr std::array<std::string_view, 2> policies{"Cluster", "Local"};
    service.internal_traffic_local = spec.choice("internalTrafficPolicy", policies) == 1;
    service.traffic_distribution = spec.text("trafficDistribution");
    return service;
}

Object decode_endpoint_slice(Fields& document, Metadata metadata) {
    EndpointSlice slice;
    if (auto name = metadata.labels.find("kubernetes.io/service-name"); name != metadata.labels.end())
        slice.service = name->second;
    slice.metadata = std::move(metadata);
    static constexpr std::array<std::string_view, 3> types{"IPv4", "IPv6", "FQDN"};
    if (!document.has("addressType")) document.error("addressType", "is missing", "write IPv4 or IPv6");
    slice.fqdn = document.choice("addressType", types) == 2;
    document.list("endpoints", [&](Fields& one) {
        one.known({"hostname", "deprecatedTopology", "zone", "hints"});
        SliceEndpoint endpoint;
        if (slice.fqdn)
            one.known({"addresses"});
        else
            endpoint.addresses = one.addresses("addresses");
        Fields conditions = one.map("conditions");
        conditions.known({"serving", "terminating"});
        endpoint.ready = conditions.flag("ready", true);
        endpoint.node = one.text("nodeName");
        if (one.has("targetRef")) {
            Fields ref = one.map("targetRef");
            ref.known({"apiVersion", "resourceVersion", "fieldPath"});
            endpoint.target =
                ObjectRef{ref.text("kind"), ref.text("namespace"), ref.text("name"), ref.text("uid")};
        }
        slice.endpoints.push_back(std::move(endpoint));
    });
    document.list("ports", [&](Fields& one) {
        one.known({"appProtocol"});
        SlicePort port;
        port.name = one.text("name");
        if (one.has("port")) port.port = one.port("port");
        port.protocol = protocol_of(one);
        slice.ports.push_back(std::move(port));
    });
    return slice;
}

}  // namespace culvert::kube
