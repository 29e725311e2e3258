"""Starts a thread for each pod of the API server, and ends those that are deleted."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.doubles.kubernetes.clock import Clock, Lags
from tests.doubles.kubernetes.errors import ApiError
from tests.doubles.kubernetes.faults import Faults
from tests.doubles.kubernetes.pod_run import PodRun
from tests.doubles.kubernetes.programs import Program
from tests.doubles.kubernetes.resources import PODS
from tests.doubles.kubernetes.store import Store


class Kubelet:
    """The one node of the cluster.

    :param images: what each image name stands for; pods with another image cannot pull it.
    :param claims: folders that stand for PersistentVolumeClaims, by name.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        lags: Lags,
        faults: Faults,
        images: dict[str, Program],
        claims: Mapping[str, Path],
    ) -> None:
        self.store = store
        self.clock = clock
        self.lags = lags
        self.faults = faults
        self.images = images
        self.claims = claims
        self._ips = itertools.count(2)
        self._runs: dict[str, PodRun] = {}
        self._ending: set[str] = set()
        self._thread = threading.Thread(target=self._watch, name="kubelet", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End every pod at once."""
        self._thread.join(5)
        for run in list(self._runs.values()):
            run.end(0)

    def run_of(self, pod: dict[str, Any]) -> PodRun | None:
        return self._runs.get(pod["metadata"]["uid"])

    def program(self, image: str) -> Program | None:
        return self.images.get(image)

    def next_ip(self) -> str:
        number = next(self._ips)
        return f"10.244.{number // 250}.{number % 250}"

    def _watch(self) -> None:
        seen = 0
        while not self.clock.stopped:
            with self.store.changed:
                if self.store.version == seen:
                    self.store.changed.wait(0.2)
                seen = self.store.version
                pods = {pod["metadata"]["uid"]: pod for pod in self.store.entries(PODS)}
            self._follow(pods)

    def _follow(self, pods: Mapping[str, dict[str, Any]]) -> None:
        for uid, pod in pods.items():
            if uid not in self._runs:
                self._runs[uid] = PodRun(self, pod)
                self._runs[uid].start()
            elif pod["metadata"].get("deletionTimestamp") and uid not in self._ending:
                self._ending.add(uid)
                threading.Thread(target=self._end, args=(pod,), daemon=True).start()
        for uid in self._runs.keys() - pods.keys():
            threading.Thread(target=self._runs.pop(uid).end, args=(0,), daemon=True).start()

    def _end(self, pod: dict[str, Any]) -> None:
        """Let the pod's processes end within its grace period, then take it out of the API."""
        metadata = pod["metadata"]
        if run := self._runs.get(metadata["uid"]):
            run.end(metadata.get("deletionGracePeriodSeconds") or 0)
        present = self.store.find(PODS, metadata["namespace"], metadata["name"])
        if present and present["metadata"]["uid"] == metadata["uid"]:
            try:
                self.store.delete(PODS, metadata["namespace"], metadata["name"], grace_seconds=0)
            except ApiError:
                return  # deleted by force meanwhile
