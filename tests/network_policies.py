"""What a set of NetworkPolicies lets through, as Kubernetes describes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod, or something outside of the cluster.

    :param namespace: empty: outside of the cluster.
    """

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def may_connect(policies: Iterable[Policy], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Tell whether a connection is let out of one side and into the other."""
    policies = list(policies)
    return _passes(policies, "Egress", source, target, port, protocol) and _passes(
        policies, "Ingress", target, source, port, protocol
    )


def _passes(
    policies: list[Policy],
    direction: Literal["Ingress", "Egress"],
    pod: Peer,
    other: Peer,
    port: int,
    protocol: str,
) -> bool:
    own = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], pod.labels)
    ]
    if not own:
        return True  # nobody has closed it
    key = "from" if direction == "Ingress" else "to"
    rules = [(policy, rule) for policy in own for rule in policy["spec"].get(direction.lower()) or ()]
    return any(
        (not rule.get("ports") or {"protocol": protocol, "port": port} in rule["ports"])
        and (not rule.get(key) or any(_is_meant(peer, policy, other) for peer in rule[key]))
        for policy, rule in rules
    )


def _is_meant(peer: Mapping[str, Any], policy: Policy, other: Peer) -> bool:
    if not other.namespace:
        return False  # none of ours names addresses
    if "namespaceSelector" in peer:
        labels = {"kubernetes.io/metadata.name": other.namespace}
        return _selects(peer["namespaceSelector"], labels) and _selects(peer.get("podSelector") or {}, other.labels)
    return policy["metadata"]["namespace"] == other.namespace and _selects(peer["podSelector"], other.labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    for rule in selector.get("matchExpressions") or ():
        assert rule["operator"] in ("Exists", "In")
        if rule["key"] not in labels or (rule["operator"] == "In" and labels[rule["key"]] not in rule["values"]):
            return False
    return (selector.get("matchLabels") or {}).items() <= labels.items()
