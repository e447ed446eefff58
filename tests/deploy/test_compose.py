from __future__ import annotations

from typing import Any

import yaml

from tests.deploy import schemas, tools

FOLDER = tools.DEPLOY / "docker"
ROLES = ("source", "relay", "follower")


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


COMPOSE = load("compose.yaml")
SERVICES = COMPOSE["services"]


def test_the_files_are_as_their_schemas_say() -> None:
    assert schemas.check(COMPOSE, schemas.COMPOSE) == []
    assert schemas.check(load("prometheus.yml"), schemas.PROMETHEUS) == []


def test_there_are_a_source_two_relays_four_followers_and_prometheus() -> None:
    counts = {name: s.get("deploy", {}).get("replicas", 1) for name, s in SERVICES.items()}
    assert counts == {"keys": 1, "source": 1, "relay": 2, "follower": 4, "prometheus": 1}


def test_what_is_named_exists() -> None:
    for service in SERVICES.values():
        assert set(service.get("networks", ())) <= set(COMPOSE["networks"])
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for mount in service.get("volumes", ()):
            source = mount["source"] if isinstance(mount, dict) else mount.partition(":")[0]
            assert source in COMPOSE["volumes"] or (FOLDER / source).is_file()
        for word in service.get("command", ()):
            if word.startswith("/opt/amzmq/app/"):
                assert (tools.DEPLOY / "app" / word.rpartition("/")[2]).is_file()
    build = SERVICES["keys"]["build"]
    assert (FOLDER / build["context"]).resolve() == tools.ROOT
    assert (tools.ROOT / build["dockerfile"]).is_file()


def test_each_role_follows_the_one_above_over_a_network_that_both_are_in() -> None:
    for role, upstream in (("relay", "source"), ("follower", "relay")):
        told = SERVICES[role]["environment"]
        bound = SERVICES[upstream]["environment"]["AMZMQ_BIND"]
        assert told["AMZMQ_UPSTREAM"] == bound.replace("0.0.0.0", upstream)
        assert SERVICES[role]["depends_on"] == {upstream: {"condition": "service_healthy"}}
        assert set(SERVICES[role]["networks"]) & set(SERVICES[upstream]["networks"])
    assert not set(SERVICES["follower"]["networks"]) & set(SERVICES["source"]["networks"])


def test_memory_that_strangers_can_make_a_node_take_has_an_end() -> None:
    for role in ROLES:
        assert SERVICES[role]["mem_limit"] == "512m"
        assert SERVICES[role]["restart"] == "unless-stopped"


def test_each_role_sees_its_own_keys_only() -> None:
    for role in ROLES:
        (keys,) = SERVICES[role]["volumes"]
        assert keys["source"] == "keys"
        assert keys["target"] == SERVICES[role]["environment"]["AMZMQ_KEYS"]
        assert keys["volume"] == {"subpath": role}
        assert keys["read_only"]


def test_prometheus_asks_every_node_and_alone_is_reached_from_the_host() -> None:
    (asked,) = load("prometheus.yml")["scrape_configs"][0]["dns_sd_configs"]
    assert set(asked["names"]) == set(ROLES)
    for role in ROLES:
        assert SERVICES[role]["environment"]["AMZMQ_PROBES"] == f"0.0.0.0:{asked['port']}"
        assert set(SERVICES[role]["networks"]) & set(SERVICES["prometheus"]["networks"])
    open_ones = {name for name, network in COMPOSE["networks"].items() if "internal" not in network}
    assert {n for n, s in SERVICES.items() if set(s.get("networks", ())) & open_ones} == {
        "prometheus"
    }
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["prometheus"]
