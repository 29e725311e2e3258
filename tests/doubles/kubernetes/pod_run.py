"""The life of one pod: scheduled, mounted, pulled, started, restarted, over."""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.doubles.kubernetes import pod_files, probes
from tests.doubles.kubernetes.clock import timestamp
from tests.doubles.kubernetes.containers import Container
from tests.doubles.kubernetes.events import record
from tests.doubles.kubernetes.pod_status import pod_status
from tests.doubles.kubernetes.programs import Launch, StartError
from tests.doubles.kubernetes.resources import PODS

if TYPE_CHECKING:
    from tests.doubles.kubernetes.kubelet import Kubelet

_IMAGE_NAME = re.compile(r"^[a-z0-9][a-z0-9._:/-]*(@sha256:[0-9a-f]+)?(:[\w.-]+)?$")
_HEALS_AFTER_SECONDS = 1.0
_LOOKS_EVERY_SECONDS = 0.02


class PodRun(threading.Thread):
    """Brings a pod up and keeps its status true until somebody deletes it."""

    def __init__(self, kubelet: Kubelet, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        super().__init__(name=f"pod {metadata['namespace']}/{metadata['name']}", daemon=True)
        self.kubelet = kubelet
        self.pod = pod
        self.uid: str = metadata["uid"]
        self.namespace: str = metadata["namespace"]
        self.pod_name: str = metadata["name"]
        self.folder = Path(tempfile.mkdtemp(prefix="pod-"))
        spec = pod["spec"]
        self.init_containers = [self._container(entry) for entry in spec.get("initContainers") or []]
        self.containers = [self._container(entry) for entry in spec["containers"]]
        self.volumes: dict[str, Path] = {}
        self.started_at: str | None = None
        self.ip: str | None = None
        self.unschedulable = ""
        self.failure: tuple[str, str] | None = None
        self.gone = threading.Event()
        self._deadline: float | None = None
        self._reporting = threading.Lock()

    # From the kubelet's thread

    def end(self, grace_seconds: float) -> None:
        """Stop what runs and remove the pod from the API; for a deleted pod."""
        if self.gone.is_set():
            return
        self.gone.set()
        for container in self.containers + self.init_containers:
            if container.execution and container.exit_code is None:
                container.execution.stop(grace_seconds / self.kubelet.clock.speed)
        if self.ident is not None:
            self.join(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def find_container(self, name: str) -> Container | None:
        return next((item for item in self.init_containers + self.containers if item.name == name), None)

    # The thread of the pod

    def run(self) -> None:
        if not self._schedule() or not self._mount():
            return
        if limit := self.pod["spec"].get("activeDeadlineSeconds"):
            self._deadline = time.monotonic() + limit / self.kubelet.clock.speed
        for container in self.init_containers:
            if not self._run_init(container):
                return
        runners = [
            threading.Thread(target=self._keep_running, args=(container,), daemon=True) for container in self.containers
        ]
        for runner in runners:
            runner.start()
        for runner in runners:
            runner.join()
        self.report()

    def report(self) -> None:
        """Write the pod's status."""
        with self._reporting:
            status = pod_status(self)
            self.kubelet.store.change(
                PODS, self.namespace, self.pod_name, lambda pod: self._replace(pod, status), subresource="status"
            )

    def event(self, reason: str, message: str, *, warning: bool = False) -> None:
        record(self.kubelet.store, self.pod, reason, message, kind="Warning" if warning else "Normal")

    def _replace(self, pod: dict[str, Any], status: dict[str, Any]) -> None:
        if pod["metadata"]["uid"] != self.uid:
            return
        before = {(item["type"], item["status"]): item for item in pod.get("status", {}).get("conditions") or []}
        for condition in status["conditions"]:
            if known := before.get((condition["type"], condition["status"])):
                condition["lastTransitionTime"] = known["lastTransitionTime"]
        pod["status"] = status

    def _container(self, spec: dict[str, Any]) -> Container:
        folder = self.folder / spec["name"]
        folder.mkdir()
        return Container(spec, folder)

    def _schedule(self) -> bool:
        store, faults = self.kubelet.store, self.kubelet.faults
        self.kubelet.clock.wait(self.kubelet.lags.schedule_seconds, self.gone)
        while not self.gone.is_set():
            problem = faults.of_pod("unschedulable", self.pod_name) or ""
            if claim := pod_files.missing_claim(store, self.pod):
                problem = f'0/1 nodes are available: persistentvolumeclaim "{claim}" not found. preemption: 0/1 nodes '
                problem += "are available: 1 Preemption is not helpful for scheduling."
            if not problem:
                self.unschedulable, self.ip, self.started_at = "", self.kubelet.next_ip(), timestamp()
                store.change(PODS, self.namespace, self.pod_name, self._bind)
                message = f"Successfully assigned {self.namespace}/{self.pod_name} to node-1"
                record(store, self.pod, "Scheduled", message, source="default-scheduler")
                self.report()
                return True
            self.unschedulable = problem
            record(store, self.pod, "FailedScheduling", problem, kind="Warning", source="default-scheduler")
            self.report()
            self.kubelet.clock.wait(_HEALS_AFTER_SECONDS, self.gone)
        return False

    def _bind(self, pod: dict[str, Any]) -> None:
        pod["spec"]["nodeName"] = "node-1"

    def _mount(self) -> bool:
        while not self.gone.is_set():
            self.volumes, problem = pod_files.make_volumes(
                self.kubelet.store, self.pod, claims=self.kubelet.claims, folder=self.folder
            )
            if not problem:
                return True
            self.event("FailedMount", problem, warning=True)
            self.kubelet.clock.wait(_HEALS_AFTER_SECONDS, self.gone)
        return False

    def _run_init(self, container: Container) -> bool:
        """Run an init container until it succeeds; return whether the pod goes on."""
        while self._start(container):
            if self._watch(container) == 0:
                container.ready = True
                return True
            if self.pod["spec"].get("restartPolicy", "Always") == "Never" or self.failure:
                for waiting in self.containers:
                    waiting.wait_for("PodInitializing")
                self.report()
                return False
            self._back_off(container)
        return False

    def _keep_running(self, container: Container) -> None:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        while self._start(container):
            code = self._watch(container)
            self.report()
            if self.gone.is_set() or self.failure or policy == "Never" or (policy == "OnFailure" and code == 0):
                return
            self._back_off(container)

    def _start(self, container: Container) -> bool:
        """Pull the image and start the container; return ``False`` when that will not come to be."""
        while not self.gone.is_set():
            program = self.kubelet.program(container.spec["image"])
            if program is None:
                self._refuse_image(container)
                continue
            try:
                variables = pod_files.environment(self.kubelet.store, self.pod, container.spec)
                mounted = pod_files.mounts(container.spec, self.volumes)
            except pod_files.MissingSource as problem:
                container.wait_for("CreateContainerConfigError", str(problem))
                self.event("Failed", f"Error: {problem}", warning=True)
                self.report()
                self.kubelet.clock.wait(_HEALS_AFTER_SECONDS, self.gone)
                continue
            if not container.has_run:
                self.kubelet.clock.wait(self.kubelet.lags.pull_seconds, self.gone)
                self.event("Pulled", f'Container image "{container.spec["image"]}" already present on machine')
            launch = self._launch(container, variables, mounted)
            try:
                container.execution = program.start(launch)
            except StartError as problem:
                container.finish(128, reason="StartError", message=f"failed to create containerd task: {problem}")
                self.event("Failed", f"Error: failed to create containerd task: {problem}", warning=True)
                return True
            self.event("Started", f"Started container {container.name}")
            self.report()
            return True
        return False

    def _refuse_image(self, container: Container) -> None:
        """Report, as a kubelet does, an image that cannot be had; the test may make it known meanwhile."""
        image = container.spec["image"]
        if not _IMAGE_NAME.match(image):
            message = f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid '
            container.wait_for("InvalidImageName", message + "reference format")
            self.event("InspectFailed", message + "reference format", warning=True)
        elif container.spec.get("imagePullPolicy") == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            container.wait_for("ErrImageNeverPull", message)
            self.event("ErrImageNeverPull", message, warning=True)
        elif container.state.get("waiting", {}).get("reason") == "ErrImagePull":
            container.wait_for("ImagePullBackOff", f'Back-off pulling image "{image}"')
            self.event("BackOff", f'Back-off pulling image "{image}"')
        else:
            self.event("Pulling", f'Pulling image "{image}"')
            self.kubelet.clock.wait(self.kubelet.lags.pull_seconds, self.gone)
            message = f'failed to pull and unpack image "{image}": failed to resolve reference "{image}": not found'
            container.wait_for("ErrImagePull", f"rpc error: code = NotFound desc = {message}")
            self.event("Failed", f'Failed to pull image "{image}": {message}', warning=True)
            self.event("Failed", "Error: ErrImagePull", warning=True)
        self.report()
        self.kubelet.clock.wait(_HEALS_AFTER_SECONDS, self.gone)

    def _launch(self, container: Container, variables: dict[str, str], mounted: dict[str, Path]) -> Launch:
        paths = {**mounted, container.spec["terminationMessagePath"]: container.termination_file}

        def local(texts: list[str] | None) -> list[str]:
            return [pod_files.relocate(pod_files.expand(text, variables), paths) for text in texts or []]

        return Launch(
            pod=self.pod,
            container=container.spec,
            command=local(container.spec.get("command")),
            arguments=local(container.spec.get("args")),
            variables={name: pod_files.relocate(value, paths) for name, value in variables.items()},
            mounted=mounted,
            folder=container.folder,
            log=container.begin(),
        )

    def _watch(self, container: Container) -> int:
        """Follow a started container to its end, and return its exit code."""
        if container.exit_code is not None:
            return container.exit_code
        assert container.execution is not None
        probe = probes.Probe(container, self.kubelet.clock)
        while (code := container.execution.wait(_LOOKS_EVERY_SECONDS)) is None:
            if self.kubelet.faults.of_pod("out_of_memory", self.pod_name):
                container.execution.stop(0)
                container.execution.wait(5)
                container.finish(137, reason="OOMKilled")
                return 137
            if self._deadline and time.monotonic() > self._deadline and not self.failure:
                self.failure = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
                container.execution.stop(0)
            if probe.changes():
                self.report()
        container.finish(code)
        return code

    def _back_off(self, container: Container) -> None:
        """Wait before the next start, longer each time."""
        container.last_state = container.state
        seconds = self.kubelet.lags.back_off_seconds * 2**container.restarts
        seconds = min(seconds, self.kubelet.lags.back_off_limit_seconds)
        what = f"container={container.name} pod={self.pod_name}_{self.namespace}({self.uid})"
        container.wait_for("CrashLoopBackOff", f"back-off {seconds:g}s restarting failed {what}")
        self.event(
            "BackOff", f"Back-off restarting failed container {container.name} in pod {self.pod_name}", warning=True
        )
        self.report()
        self.kubelet.clock.wait(seconds, self.gone)
