"""The Pod Security Standard ``restricted`` of Kubernetes, rule by rule as it is published.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ (v1.34; it holds all rules of ``baseline``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

Spec = Mapping[str, Any]

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
_SYSCTLS = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SECCOMP = {"RuntimeDefault", "Localhost"}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")

#: Rules of the pod: what it is called -> whether a pod keeps it.
POD_RULES: dict[str, Callable[[Spec], bool]] = {
    "host namespaces": lambda pod: not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")),
    "volume types": lambda pod: all(each.keys() - {"name"} <= _VOLUMES for each in pod.get("volumes") or ()),
    "sysctls": lambda pod: {each["name"] for each in _context(pod).get("sysctls") or ()} <= _SYSCTLS,
}

#: Rules of each container, in the light of what the pod says for all of them.
CONTAINER_RULES: dict[str, Callable[[Spec, Spec], bool]] = {
    "privileged": lambda pod, each: not _context(each).get("privileged"),
    "privilege escalation": lambda pod, each: _context(each).get("allowPrivilegeEscalation") is False,
    "running as non-root": lambda pod, each: _either(pod, each, "runAsNonRoot") is True,
    "non-root user": lambda pod, each: _context(pod).get("runAsUser") != 0 != _context(each).get("runAsUser"),
    "seccomp": lambda pod, each: (_either(pod, each, "seccompProfile") or {}).get("type") in _SECCOMP,
    "capabilities": lambda pod, each: (
        "ALL" in _capabilities(each).get("drop", ())
        and set(_capabilities(each).get("add") or ()) <= {"NET_BIND_SERVICE"}
    ),
    "host ports": lambda pod, each: not any(port.get("hostPort") for port in each.get("ports") or ()),
    "host process": lambda pod, each: not (_either(pod, each, "windowsOptions") or {}).get("hostProcess"),
    "proc mount": lambda pod, each: _context(each).get("procMount") in (None, "Default"),
    "SELinux": lambda pod, each: (
        _selinux(pod, each).get("type") in _SELINUX_TYPES and not _selinux(pod, each).keys() & {"user", "role"}
    ),
    "AppArmor": lambda pod, each: (_either(pod, each, "appArmorProfile") or {}).get("type") != "Unconfined",
    "host of probes": lambda pod, each: not any(_action_host(each.get(probe)) for probe in _PROBES),
}


def violations(pod: Spec) -> list[str]:
    """Return which rules a pod breaks, each with the container that does.

    :param pod: its ``spec``.
    """
    containers = [
        each for kind in ("containers", "initContainers", "ephemeralContainers") for each in pod.get(kind) or ()
    ]
    assert containers, "a pod without containers breaks no rule"
    return list(_broken(pod, containers))


def _broken(pod: Spec, containers: list[Spec]) -> Iterator[str]:
    yield from (name for name, keeps in POD_RULES.items() if not keeps(pod))
    for each in containers:
        yield from (f"{each['name']}: {name}" for name, keeps in CONTAINER_RULES.items() if not keeps(pod, each))


def _context(part: Spec) -> Spec:
    return part.get("securityContext") or {}


def _either(pod: Spec, container: Spec, key: str) -> Any:
    """Return what a container says, else what its pod says."""
    own = _context(container).get(key)
    return _context(pod).get(key) if own is None else own


def _capabilities(container: Spec) -> Spec:
    return _context(container).get("capabilities") or {}


def _selinux(pod: Spec, container: Spec) -> Spec:
    return _either(pod, container, "seLinuxOptions") or {}


def _action_host(probe: Spec | None) -> bool:
    return any((probe or {}).get(action, {}).get("host") for action in ("httpGet", "tcpSocket"))
