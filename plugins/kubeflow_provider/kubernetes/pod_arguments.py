"""Cluster settings as arguments of ``KubernetesPodOperator``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kubeflow_provider.kubernetes.settings import ClusterSettings, EnvironmentSource
from kubeflow_provider.kubernetes.step_settings import Toleration


def pod_arguments(settings: ClusterSettings) -> dict[str, Any]:
    """Return what the settings say about a pod: where it runs, as whom, with which storage and environment."""
    from kubernetes.client import V1LocalObjectReference, V1ResourceRequirements

    resources = settings.module_pod.model_dump()
    return {
        "image": settings.image,
        "image_pull_policy": settings.image_pull_policy,
        "image_pull_secrets": [V1LocalObjectReference(name=name) for name in settings.image_pull_secrets],
        "service_account_name": settings.service_account,
        # A module has no business with the Kubernetes API; identities of a cloud have tokens of their own.
        "automount_service_account_token": False,
        "env_vars": list(_environment(settings)),
        "container_resources": V1ResourceRequirements(requests=resources, limits=resources),
        "node_selector": settings.node_selector,
        "tolerations": [_toleration(toleration) for toleration in settings.tolerations],
        **_volumes(settings),
        **_security(settings),
    }


def _environment(settings: ClusterSettings) -> Iterator[Any]:
    from kubernetes.client import V1ConfigMapKeySelector, V1EnvVar, V1SecretKeySelector

    # Else the lines of stdout and stderr come in another order than they were written.
    yield V1EnvVar(name="PYTHONUNBUFFERED", value="1")
    yield from _references(settings.secrets, "secret_key_ref", V1SecretKeySelector)
    yield from _references(settings.config_maps, "config_map_key_ref", V1ConfigMapKeySelector)
    for name, value in settings.env.items():
        yield V1EnvVar(name=name, value=value)


def _references(sources: Iterable[EnvironmentSource], field: str, selector: type) -> Iterator[Any]:
    from kubernetes.client import V1EnvVar, V1EnvVarSource

    for source in sources:
        for key, variable in source.keys.items():
            reference = selector(name=source.name, key=key, optional=source.optional)
            yield V1EnvVar(name=variable, value_from=V1EnvVarSource(**{field: reference}))


def _toleration(toleration: Toleration) -> Any:
    from kubernetes.client import V1Toleration

    return V1Toleration(
        key=toleration.key or None,
        operator=toleration.operator,
        value=toleration.value or None,
        effect=toleration.effect or None,
        toleration_seconds=toleration.seconds,
    )


def _volumes(settings: ClusterSettings) -> dict[str, Any]:
    from kubernetes.client import V1PersistentVolumeClaimVolumeSource, V1Volume, V1VolumeMount

    # One volume for a claim, however often it is mounted.
    claims = dict.fromkeys(volume.claim for volume in settings.volumes)
    names = {claim: f"volume-{number}" for number, claim in enumerate(claims, start=1)}
    return {
        "volumes": [
            V1Volume(name=name, persistent_volume_claim=V1PersistentVolumeClaimVolumeSource(claim_name=claim))
            for claim, name in names.items()
        ],
        "volume_mounts": [
            V1VolumeMount(name=names[volume.claim], mount_path=volume.mount_path, sub_path=volume.sub_path or None)
            for volume in settings.volumes
        ],
    }


def _security(settings: ClusterSettings) -> dict[str, Any]:
    """Return what namespaces with the restricted Pod Security Standard ask for; the user is a setting.

    Volumes are handed to the module's group, which without a setting is 0, as in Airflow's own chart and the image.
    """
    from kubernetes.client import V1Capabilities, V1PodSecurityContext, V1SeccompProfile, V1SecurityContext

    group = settings.run_as_group
    return {
        "security_context": V1PodSecurityContext(
            run_as_user=settings.run_as_user,
            run_as_group=group,
            run_as_non_root=True,
            fs_group=0 if group is None and settings.volumes else group,
            # Else every file of the volume is looked at before each start.
            fs_group_change_policy="OnRootMismatch" if settings.volumes else None,
            seccomp_profile=V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": V1SecurityContext(
            allow_privilege_escalation=False, capabilities=V1Capabilities(drop=["ALL"])
        ),
    }
