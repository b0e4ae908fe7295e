"""Runs one container of a pod as a kubelet would, with podman on this machine's network.

Environment and volumes come from the API server, as the pod's specification says. The container gets nothing else, so
anything that the chart forgets is missing.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.image import USER, Container, Image, Mount
from tests.support.kube_api import KubeApi
from tests.support.mounted import MountedFolder

Spec = Mapping[str, Any]


class Pod:
    """A pod of a Deployment that the API server stores.

    Args:
        api: The API server.
        namespace: Namespace of the Deployment.
        deployment: Name of the Deployment.
        folder: The folder for the volumes.

    """

    def __init__(self, api: KubeApi, namespace: str, deployment: str, folder: Path) -> None:
        self._api = api
        self._namespace = namespace
        stored = api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}")
        self._spec: Spec = stored["spec"]["template"]["spec"]
        folder.mkdir()
        self._volumes = {
            volume["name"]: MountedFolder(folder / volume["name"], self._files(volume))
            for volume in self._spec["volumes"]
            if "emptyDir" not in volume
        }
        _give_away(folder)

    @property
    def init_containers(self) -> list[Spec]:
        """The containers that run before the broker, in order."""
        return list(self._spec["initContainers"])

    @contextmanager
    def run(self, image: Image, container: Spec | None = None) -> Iterator[Container]:
        """Run a container of the pod, by default the broker's."""
        spec = container or self._spec["containers"][0]
        mounts = [
            Mount(self._volumes[mount["name"]].path, mount["mountPath"])
            for mount in spec["volumeMounts"]
            if mount["name"] in self._volumes
        ]
        with image.run(*spec["args"], env=self._environment(spec), mounts=mounts) as running:
            yield running

    def _environment(self, container: Spec) -> dict[str, str]:
        environment: dict[str, str] = {}
        for source in container.get("envFrom", []):
            environment |= self._stored("configmaps", source["configMapRef"]["name"])["data"]
        return environment | {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}

    def _files(self, volume: Spec) -> dict[str, bytes]:
        """The files of a volume, by their path in it."""
        if "projected" in volume:
            files: dict[str, bytes] = {}
            for source in volume["projected"]["sources"]:
                files |= self._projected(source)
            return files
        if "configMap" in volume:
            return self._picked(volume["configMap"], self._data("configmaps", volume["configMap"]["name"]))
        return self._picked(volume["secret"], self._data("secrets", volume["secret"]["secretName"]))

    def _projected(self, source: Spec) -> dict[str, bytes]:
        if "serviceAccountToken" in source:
            wanted = source["serviceAccountToken"]
            account = self._spec["serviceAccountName"]
            token = self._api.token_request(
                self._namespace, account, wanted.get("audience"), wanted["expirationSeconds"]
            )
            return {wanted["path"]: token.encode()}
        [(kind, named)] = source.items()
        return self._picked(named, self._data(f"{kind.lower()}s", named["name"]))

    def _picked(self, source: Spec, data: Mapping[str, bytes]) -> dict[str, bytes]:
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        return {item["path"]: data[item["key"]] for item in items}

    def _data(self, plural: str, name: str) -> dict[str, bytes]:
        stored = self._stored(plural, name)["data"]
        if plural == "secrets":
            return {key: base64.b64decode(value) for key, value in stored.items()}
        return {key: value.encode() for key, value in stored.items()}

    def _stored(self, plural: str, name: str) -> Any:
        return self._api.get(f"/api/v1/namespaces/{self._namespace}/{plural}/{name}")


def _give_away(folder: Path) -> None:
    """Let the container's user read it, and no one else, as ``fsGroup`` and the mode of a volume do."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, USER, USER, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(0o550 if path.is_dir() else 0o440)
