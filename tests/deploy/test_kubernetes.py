from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import schemas, tools
from tests.examples.programs import python, ran

FOLDER = tools.DEPLOY / "kubernetes"
APP = tools.DEPLOY / "app"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))
NOT_OBJECTS = {"kustomization.yaml", "prometheus-adapter.yaml"}
ROLE = "app.kubernetes.io/name"


def load(name: str) -> list[Any]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def objects(*kinds: str) -> list[Any]:
    found = [each for name in FILES if name not in NOT_OBJECTS for each in load(name)]
    return [each for each in found if not kinds or each["kind"] in kinds]


def workloads() -> dict[str, Any]:
    """The spec of each workload, by its role."""
    return {each["metadata"]["name"]: each["spec"] for each in objects("StatefulSet", "Deployment")}


def containers(pod: Any) -> Iterator[Any]:
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


def environment(container: Any) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", ())}


def label_of(selector: Any) -> str:
    return str(selector["matchLabels"][ROLE])


@pytest.mark.parametrize("name", sorted(set(FILES) - NOT_OBJECTS))
def test_every_object_is_as_its_schema_says(name: str) -> None:
    for each in load(name):
        schema = schemas.of_object(each["apiVersion"], each["kind"])
        assert schemas.check(each, schema) == []


def test_a_mistyped_key_is_found() -> None:
    (each,) = objects("StatefulSet")
    schema = schemas.of_object(each["apiVersion"], each["kind"])
    each["spec"]["template"]["spec"]["containers"][0]["redinessProbe"] = {}
    del each["spec"]["serviceName"]
    assert len(schemas.check(each, schema)) == 2


def test_the_kustomization_names_every_file_and_every_secret() -> None:
    (told,) = load("kustomization.yaml")
    assert schemas.check(told, schemas.KUSTOMIZATION) == []
    assert set(told["resources"]) == set(FILES) - NOT_OBJECTS
    made = {each["name"] for each in told["secretGenerator"]}
    pods = [spec["template"]["spec"] for spec in workloads().values()]
    used = {v["secret"]["secretName"] for pod in pods for v in pod["volumes"] if "secret" in v}
    assert used == made


async def test_the_secrets_are_made_of_what_make_keys_makes(tmp_path: Path) -> None:
    folder = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, folder)
    await ran(*python(APP / "make_keys.py", str(folder / "keys")))
    (told,) = load("kustomization.yaml")
    keys = {}
    for secret in told["secretGenerator"]:
        files = dict(each.split("=", 1) for each in secret["files"])
        assert all((folder / path).is_file() for path in files.values())
        keys[secret["name"]] = set(files)
    for spec in workloads().values():
        for volume in spec["template"]["spec"]["volumes"]:
            for item in volume.get("secret", {}).get("items", ()):
                assert item["key"] in keys[volume["secret"]["secretName"]]
    assert "keys/" in (FOLDER / ".gitignore").read_text(encoding="utf-8").splitlines()
    if tools.find("kubectl", "the kustomization was looked at by its structure only"):
        built = tools.run(folder, "kubectl", "kustomize", ".")
        assert built.returncode == 0, built.stderr
        made = list(yaml.safe_load_all(built.stdout))
        assert len(made) == len(objects()) + len(told["secretGenerator"])
        images = {c["image"] for each in made for c in _images(each)}
        assert images == {"registry.example/amzmq:0.1.0"}


def _images(built: Any) -> Iterator[Any]:
    if built["kind"] in ("StatefulSet", "Deployment"):
        yield from containers(built["spec"]["template"]["spec"])


def test_every_selector_finds_its_pods() -> None:
    roles = set(workloads())
    for role, spec in workloads().items():
        assert label_of(spec["selector"]) == role
        assert spec["template"]["metadata"]["labels"] == {ROLE: role}
    for each in objects("Service"):
        assert each["spec"]["selector"][ROLE] == each["metadata"]["name"]
    for each in objects("PodDisruptionBudget"):
        assert label_of(each["spec"]["selector"]) in roles
    for each in objects("HorizontalPodAutoscaler"):
        assert each["spec"]["scaleTargetRef"]["name"] in roles
        # What is scaled has no number of its own, which each apply would bring back.
        assert "replicas" not in workloads()[each["spec"]["scaleTargetRef"]["name"]]


def test_what_a_program_is_told_agrees_with_ports_probes_and_services() -> None:
    services = {s["metadata"]["name"]: s["spec"]["ports"] for s in objects("Service")}
    for spec in workloads().values():
        for container in containers(spec["template"]["spec"]):
            if not container["command"][-1].startswith("/opt/amzmq/app/"):
                continue
            script = container["command"][-1].removeprefix("/opt/amzmq/app/")
            assert (APP / script).is_file()
            told = environment(container)
            ports = {p["name"]: p["containerPort"] for p in container.get("ports", ())}
            if "probes" in ports:
                assert told["AMZMQ_PROBES"] == f"0.0.0.0:{ports['probes']}"
            if "conversation" in ports:
                assert told["AMZMQ_BIND"] == f"tcp://0.0.0.0:{ports['conversation']}"
                # Where the feed is by default.
                assert ports["feed"] == ports["conversation"] + 1
            host, _, port = told.get("AMZMQ_UPSTREAM", "tcp://127.0.0.1:7701")[6:].rpartition(":")
            if host in services:
                assert int(port) == services[host][0]["port"]
            else:
                assert host == "127.0.0.1"
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe in container:
                    assert container[probe]["httpGet"]["port"] in ports


def test_only_holders_of_keys_are_served_beyond_a_pod() -> None:
    for spec in workloads().values():
        for container in containers(spec["template"]["spec"]):
            told = environment(container)
            mounts = {mount["mountPath"] for mount in container.get("volumeMounts", ())}
            if "0.0.0.0" in told.get("AMZMQ_BIND", ""):
                assert {"/keys", "/keys/clients"} <= mounts
            if not told.get("AMZMQ_UPSTREAM", "tcp://127.").startswith("tcp://127."):
                assert told["AMZMQ_KEYS"] in mounts


def test_the_sidecar_is_a_native_one_and_is_ready_before_the_program_starts() -> None:
    pod = workloads()["application"]["template"]["spec"]
    (sidecar,) = [c for c in pod["initContainers"] if c.get("restartPolicy") == "Always"]
    assert sidecar["startupProbe"]["httpGet"]["path"] == "/readyz"
    (program,) = pod["containers"]
    assert environment(program)["AMZMQ_UPSTREAM"] == environment(sidecar)["AMZMQ_BIND"]


def test_nothing_is_allowed_that_is_not_needed_and_what_is_needed_is_allowed() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in objects("NetworkPolicy")}
    nothing = policies["nothing"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    follows = {"relay": "source", "application": "relay"}
    for follower, followed in follows.items():
        (way_out,) = policies[follower]["egress"]
        (way_in,) = policies[followed]["ingress"]
        assert [label_of(peer["podSelector"]) for peer in way_out["to"]] == [followed]
        assert [label_of(peer["podSelector"]) for peer in way_in["from"]] == [follower]
        assert way_out["ports"] == way_in["ports"]
        (ports,) = way_in["ports"]
        assert (ports["port"], ports["endPort"]) == (7701, 7702)


def test_the_adapter_serves_what_the_autoscaler_asks_for() -> None:
    (values,) = load("prometheus-adapter.yaml")
    assert schemas.check(values, schemas.ADAPTER) == []
    (rule,) = values["rules"]["custom"]
    (scaler,) = objects("HorizontalPodAutoscaler")
    for metric in scaler["spec"]["metrics"]:
        assert metric["pods"]["metric"]["name"] in rule["seriesQuery"].split('"')[1].split("|")
