"""Pods really run, and their status says what a kubelet would say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, watch  # noqa: TID253

from tests.doubles.kubernetes import Cluster


def phase(core: Any, name: str = "a-pod") -> str:
    return str(core.read_namespaced_pod(name, "models").status.phase)


def log(core: Any, name: str = "a-pod", **options: Any) -> str:
    """Return a log. Without ``_preload_content`` this version of the client returns the repr of the bytes."""
    return str(core.read_namespaced_pod_log(name, "models", _preload_content=False, **options).data.decode())


def over(core: Any, name: str = "a-pod") -> Any:
    pod = core.read_namespaced_pod(name, "models")
    return pod if pod.status.phase in ("Succeeded", "Failed") else None


def waiting(core: Any, reason: str, name: str = "a-pod") -> Any:
    found = core.read_namespaced_pod(name, "models").status.container_statuses or []
    return next(
        (item.state.waiting for item in found if item.state.waiting and item.state.waiting.reason == reason), None
    )


def reasons(core: Any, name: str = "a-pod") -> set[str]:
    return {
        event.reason
        for event in core.list_namespaced_event("models", field_selector=f"involvedObject.name={name}").items
    }


def test_a_pod_succeeds_and_its_log_can_be_read(core: Any, python_pod: Any, eventually: Any) -> None:
    core.create_namespaced_pod("models", python_pod("print('one'); print('two')"))
    pod = eventually(lambda: over(core))

    assert pod.status.phase == "Succeeded"
    assert pod.status.container_statuses[0].state.terminated.reason == "Completed"
    assert log(core) == "one\ntwo\n"
    assert log(core, tail_lines=1) == "two\n"
    stamped = log(core, timestamps=True)
    assert stamped.splitlines()[0].endswith("Z one")
    assert {"Scheduled", "Pulled", "Started"} <= reasons(core)


def test_a_failure_carries_its_exit_code_and_the_end_of_its_log(core: Any, python_pod: Any, eventually: Any) -> None:
    container = {"terminationMessagePolicy": "FallbackToLogsOnError"}
    core.create_namespaced_pod("models", python_pod("raise SystemExit('no data')", container=container))
    terminated = eventually(lambda: over(core)).status.container_statuses[0].state.terminated

    assert (terminated.exit_code, terminated.reason, terminated.message) == (1, "Error", "no data\n")


def test_a_log_can_be_followed_while_it_grows(core: Any, python_pod: Any, eventually: Any) -> None:
    code = "import time\nfor number in range(5): print(number, flush=True); time.sleep(0.1)"
    core.create_namespaced_pod("models", python_pod(code))
    eventually(lambda: phase(core) != "Pending")

    followed = core.read_namespaced_pod_log("a-pod", "models", follow=True, _preload_content=False)

    assert [line.decode().strip() for line in followed] == list("01234")


def test_a_log_is_refused_before_the_container_starts(core: Any, python_pod: Any, k8s: Cluster) -> None:
    k8s.faults.unschedulable()
    core.create_namespaced_pod("models", python_pod("pass"))

    with pytest.raises(client.ApiException) as refused:
        log(core)

    assert refused.value.status == 400
    assert 'container "base" in pod "a-pod" is waiting to start' in json.loads(refused.value.body)["message"]


def test_variables_come_from_values_secrets_and_the_pod(
    core: Any, python_pod: Any, k8s: Cluster, eventually: Any
) -> None:
    k8s.add_secret("login", {"password": "let me in"})
    env = [
        {"name": "WHO", "value": "me"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GREETING", "value": "I am $(WHO)"},
    ]
    code = "import os; print(*(os.environ[name] for name in ('PASSWORD', 'POD', 'GREETING')), sep='|')"
    core.create_namespaced_pod("models", python_pod(code, container={"env": env}))
    eventually(lambda: over(core))

    assert log(core) == "let me in|a-pod|I am me\n"


def test_a_claim_is_a_folder_of_this_machine(core: Any, python_pod: Any, k8s: Cluster, eventually: Any) -> None:
    mount = {"volumeMounts": [{"name": "store", "mountPath": "/mnt/models", "subPath": "reviews"}]}
    volumes = [{"name": "store", "persistentVolumeClaim": {"claimName": "models"}}]
    code = "import pathlib; pathlib.Path('/mnt/models/written').write_text('here')"
    core.create_namespaced_pod("models", python_pod(code, container=mount, volumes=volumes))

    assert eventually(lambda: over(core)).status.phase == "Succeeded"
    assert (k8s.claims["models"] / "reviews" / "written").read_text() == "here"


def test_a_pod_waits_for_a_claim_that_is_not_there(core: Any, python_pod: Any, k8s: Cluster, eventually: Any) -> None:
    volumes = [{"name": "store", "persistentVolumeClaim": {"claimName": "absent"}}]
    core.create_namespaced_pod("models", python_pod("pass", volumes=volumes))
    eventually(lambda: "FailedScheduling" in reasons(core))

    condition = core.read_namespaced_pod("a-pod", "models").status.conditions[0]
    assert (condition.type, condition.status, condition.reason) == ("PodScheduled", "False", "Unschedulable")
    assert 'persistentvolumeclaim "absent" not found' in condition.message

    k8s.add_claim("absent")
    assert eventually(lambda: over(core)).status.phase == "Succeeded"


def test_an_unknown_image_is_pulled_in_vain(core: Any, python_pod: Any, eventually: Any) -> None:
    core.create_namespaced_pod("models", python_pod("pass", container={"image": "release:absent"}))

    eventually(lambda: waiting(core, "ErrImagePull"))
    eventually(lambda: waiting(core, "ImagePullBackOff"))
    assert {"Pulling", "Failed", "BackOff"} <= reasons(core)
    assert phase(core) == "Pending"


def test_an_image_name_that_is_none_is_told_from_one_that_is_not_there(
    core: Any, python_pod: Any, eventually: Any
) -> None:
    core.create_namespaced_pod("models", python_pod("pass", container={"image": "Not An Image"}))

    assert "invalid reference format" in eventually(lambda: waiting(core, "InvalidImageName")).message


def test_a_missing_secret_is_a_configuration_error_until_it_is_there(
    core: Any, python_pod: Any, k8s: Cluster, eventually: Any
) -> None:
    env = [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}]
    core.create_namespaced_pod("models", python_pod("pass", container={"env": env}))
    message = eventually(lambda: waiting(core, "CreateContainerConfigError")).message
    k8s.add_secret("login", {"password": "x"})

    assert message == 'secret "login" not found'
    assert eventually(lambda: over(core)).status.phase == "Succeeded"


def test_a_missing_secret_volume_is_a_failed_mount(core: Any, python_pod: Any, eventually: Any) -> None:
    volumes = [{"name": "key", "secret": {"secretName": "absent"}}]
    core.create_namespaced_pod("models", python_pod("pass", volumes=volumes))

    eventually(lambda: "FailedMount" in reasons(core))


def test_a_pod_without_room_says_why(core: Any, python_pod: Any, k8s: Cluster, eventually: Any) -> None:
    k8s.faults.unschedulable("a-*")
    core.create_namespaced_pod("models", python_pod("pass"))
    eventually(lambda: "FailedScheduling" in reasons(core))

    assert phase(core) == "Pending"
    k8s.faults.heal()
    assert eventually(lambda: over(core)).status.phase == "Succeeded"


def test_the_kernel_kills_a_pod_that_is_out_of_memory(
    core: Any, python_pod: Any, k8s: Cluster, eventually: Any
) -> None:
    k8s.faults.out_of_memory()
    core.create_namespaced_pod("models", python_pod("import time; time.sleep(60)"))
    terminated = eventually(lambda: over(core)).status.container_statuses[0].state.terminated

    assert (terminated.exit_code, terminated.reason) == (137, "OOMKilled")


def test_a_crashing_container_backs_off_and_keeps_its_earlier_log(core: Any, python_pod: Any, eventually: Any) -> None:
    code = "print('starting'); raise SystemExit(3)"
    core.create_namespaced_pod("models", python_pod(code, restartPolicy="Always"))
    eventually(lambda: waiting(core, "CrashLoopBackOff"))
    status = eventually(
        lambda: next(
            (s for s in core.read_namespaced_pod("a-pod", "models").status.container_statuses if s.restart_count), None
        )
    )

    assert status.last_state.terminated.exit_code == 3
    assert log(core, previous=True) == "starting\n"
    assert phase(core) == "Running"


def test_a_command_that_is_not_in_the_image_cannot_start(core: Any, python_pod: Any, eventually: Any) -> None:
    core.create_namespaced_pod("models", python_pod("", container={"command": ["no-such-program"]}))
    terminated = eventually(lambda: over(core)).status.container_statuses[0].state.terminated

    assert (terminated.exit_code, terminated.reason) == (128, "StartError")
    assert "executable file not found in $PATH" in terminated.message


def test_deleting_a_pod_stops_everything_it_started(
    core: Any, python_pod: Any, eventually: Any, tmp_path: Path
) -> None:
    alive = tmp_path / "alive"
    child = f"import time, pathlib\nwhile True: pathlib.Path('{alive}').touch(); time.sleep(0.05)"
    code = f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
    core.create_namespaced_pod("models", python_pod(code))
    eventually(alive.exists)

    core.delete_namespaced_pod("a-pod", "models", grace_period_seconds=5)
    eventually(lambda: not core.list_namespaced_pod("models").items)
    alive.unlink(missing_ok=True)

    with pytest.raises(client.ApiException) as gone:
        core.read_namespaced_pod("a-pod", "models")
    assert json.loads(gone.value.body)["message"] == 'pods "a-pod" not found'
    with pytest.raises(AssertionError):
        eventually(alive.exists, seconds=0.3)


def test_a_watch_sees_the_whole_life_of_a_pod(core: Any, python_pod: Any) -> None:
    version = core.list_namespaced_pod("models").metadata.resource_version
    core.create_namespaced_pod("models", python_pod("pass"))
    phases: list[str] = []
    stream = watch.Watch()
    for event in stream.stream(
        core.list_namespaced_pod, "models", label_selector="app=a-pod", resource_version=version, timeout_seconds=20
    ):
        if not phases or phases[-1] != event["object"].status.phase:
            phases.append(event["object"].status.phase)
        if phases[-1] == "Succeeded":
            stream.stop()

    assert phases == ["Pending", "Running", "Succeeded"]


def test_a_deadline_ends_a_pod(core: Any, python_pod: Any, eventually: Any) -> None:
    core.create_namespaced_pod("models", python_pod("import time; time.sleep(60)", activeDeadlineSeconds=5))
    status = eventually(lambda: over(core)).status

    assert (status.phase, status.reason) == ("Failed", "DeadlineExceeded")


def test_init_containers_run_first_and_their_failure_is_the_pods(core: Any, python_pod: Any, eventually: Any) -> None:
    fetch = {"name": "fetch", "image": "release:1.0", "command": ["python", "-c", "raise SystemExit('no bucket')"]}
    core.create_namespaced_pod("models", python_pod("print('never')", initContainers=[fetch]))
    status = eventually(lambda: over(core)).status

    assert status.phase == "Failed"
    assert status.init_container_statuses[0].state.terminated.exit_code == 1
    assert log(core, container="fetch") == "no bucket\n"
