"""Schemas of the files that others read, as far as ours go: a key that is not here is a mistake.

Written from the reference of each format: Kubernetes 1.29 (apps/v1, v1, autoscaling/v2, policy/v1,
networking.k8s.io/v1), the Compose specification, Prometheus, Grafana's dashboard model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from jsonschema import Draft202012Validator

Schema: TypeAlias = dict[str, object]

TEXT: Schema = {"type": "string", "minLength": 1}
COUNT: Schema = {"type": "integer", "minimum": 0}
FLAG: Schema = {"type": "boolean"}
PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
SECONDS: Schema = {"type": "integer", "minimum": 1}
TEXTS: Schema = {"type": "array", "items": TEXT, "minItems": 1}
DNS_NAME: Schema = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1}
CPU: Schema = {"type": "string", "pattern": r"^[0-9]+m?$"}
MEMORY: Schema = {"type": "string", "pattern": r"^[0-9]+(Ki|Mi|Gi)$"}
DURATION: Schema = {"type": "string", "pattern": r"^[0-9]+(ms|s|m|h)$"}


def check(instance: object, schema: Schema) -> list[str]:
    """What is wrong with it, a line for each mistake."""
    errors = Draft202012Validator(schema).iter_errors(instance)
    return [f"{error.json_path}: {error.message}" for error in errors]


def record(needed: Mapping[str, object], optional: Mapping[str, object] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": {**needed, **(optional or {})},
        "required": list(needed),
        "additionalProperties": False,
    }


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


# Kubernetes.

_SELECTOR = record({"matchLabels": LABELS})
_METADATA = record({"name": DNS_NAME}, {"labels": LABELS, "namespace": DNS_NAME})
_PROBE = record(
    {"httpGet": record({"path": TEXT, "port": {"anyOf": [PORT, DNS_NAME]}})},
    {
        "periodSeconds": SECONDS,
        "timeoutSeconds": SECONDS,
        "initialDelaySeconds": SECONDS,
        "failureThreshold": SECONDS,
    },
)
_CONTAINER_LOCK = record(
    {
        "allowPrivilegeEscalation": {"const": False},
        "readOnlyRootFilesystem": {"const": True},
        "capabilities": record({"drop": {"const": ["ALL"]}}),
    }
)
_CONTAINER = record(
    {
        "name": DNS_NAME,
        "image": TEXT,
        "command": TEXTS,
        "resources": record(
            {
                "requests": record({"cpu": CPU, "memory": MEMORY}),
                "limits": record({"memory": MEMORY}, {"cpu": CPU}),
            }
        ),
        "securityContext": _CONTAINER_LOCK,
    },
    {
        "env": many(record({"name": TEXT, "value": {"type": "string"}})),
        "ports": many(record({"name": DNS_NAME, "containerPort": PORT})),
        "readinessProbe": _PROBE,
        "livenessProbe": _PROBE,
        "startupProbe": _PROBE,
        "restartPolicy": {"const": "Always"},
        "volumeMounts": many(record({"name": DNS_NAME, "mountPath": TEXT}, {"readOnly": FLAG})),
    },
)
_VOLUME = record(
    {"name": DNS_NAME},
    {
        "emptyDir": record({"medium": {"const": "Memory"}, "sizeLimit": MEMORY}),
        "secret": record(
            {"secretName": TEXT}, {"items": many(record({"key": TEXT, "path": TEXT}))}
        ),
    },
)
_ID: Schema = {"type": "integer", "minimum": 1000}
_POD = record(
    {
        "automountServiceAccountToken": {"const": False},
        "securityContext": record(
            {
                "runAsNonRoot": {"const": True},
                "runAsUser": _ID,
                "runAsGroup": _ID,
                "fsGroup": _ID,
                "seccompProfile": record({"type": {"const": "RuntimeDefault"}}),
            }
        ),
        "containers": many(_CONTAINER),
    },
    {
        "initContainers": many(_CONTAINER),
        "volumes": many(_VOLUME),
        "topologySpreadConstraints": many(
            record(
                {
                    "maxSkew": SECONDS,
                    "topologyKey": TEXT,
                    "whenUnsatisfiable": one_of("ScheduleAnyway", "DoNotSchedule"),
                    "labelSelector": _SELECTOR,
                }
            )
        ),
    },
)
_TEMPLATE = record({"metadata": record({"labels": LABELS}, {"annotations": LABELS}), "spec": _POD})
_SCALING_RULES = record(
    {
        "stabilizationWindowSeconds": COUNT,
        "policies": many(
            record({"type": one_of("Pods", "Percent"), "value": SECONDS, "periodSeconds": SECONDS})
        ),
    }
)
_POD_METRIC = record(
    {
        "type": {"const": "Pods"},
        "pods": record(
            {
                "metric": record({"name": TEXT}),
                "target": record({"type": {"const": "AverageValue"}, "averageValue": CPU}),
            }
        ),
    }
)
_PEER = record({}, {"podSelector": _SELECTOR, "namespaceSelector": _SELECTOR})
_POLICY_PORTS = many(record({"protocol": one_of("TCP", "UDP"), "port": PORT}, {"endPort": PORT}))

_SPECS: dict[tuple[str, str], Schema] = {
    ("v1", "Service"): record(
        {
            "clusterIP": {"const": "None"},
            "selector": LABELS,
            "ports": many(record({"name": DNS_NAME, "port": PORT})),
        }
    ),
    ("apps/v1", "StatefulSet"): record(
        {"serviceName": DNS_NAME, "replicas": COUNT, "selector": _SELECTOR, "template": _TEMPLATE}
    ),
    ("apps/v1", "Deployment"): record(
        {"selector": _SELECTOR, "template": _TEMPLATE},
        {
            "replicas": COUNT,
            "strategy": record(
                {
                    "type": {"const": "RollingUpdate"},
                    "rollingUpdate": record({"maxUnavailable": COUNT, "maxSurge": COUNT}),
                }
            ),
        },
    ),
    ("autoscaling/v2", "HorizontalPodAutoscaler"): record(
        {
            "scaleTargetRef": record({"apiVersion": TEXT, "kind": TEXT, "name": DNS_NAME}),
            "minReplicas": SECONDS,
            "maxReplicas": SECONDS,
            "metrics": many(_POD_METRIC),
        },
        {"behavior": record({"scaleUp": _SCALING_RULES, "scaleDown": _SCALING_RULES})},
    ),
    ("policy/v1", "PodDisruptionBudget"): record({"maxUnavailable": COUNT, "selector": _SELECTOR}),
    ("networking.k8s.io/v1", "NetworkPolicy"): record(
        {
            "podSelector": {"anyOf": [_SELECTOR, {"const": {}}]},
            "policyTypes": many(one_of("Ingress", "Egress")),
        },
        {
            "ingress": many(record({"from": many(_PEER), "ports": _POLICY_PORTS})),
            "egress": many(record({"to": many(_PEER), "ports": _POLICY_PORTS})),
        },
    ),
}


def of_object(api_version: str, kind: str) -> Schema:
    """The schema of an object of Kubernetes.

    Raises:
        KeyError: We have none of this kind.
    """
    head: Schema = {
        "apiVersion": {"const": api_version},
        "kind": {"const": kind},
        "metadata": _METADATA,
    }
    if (api_version, kind) == ("v1", "Namespace"):
        return record(head)
    return record({**head, "spec": _SPECS[api_version, kind]})


KUSTOMIZATION = record(
    {
        "apiVersion": {"const": "kustomize.config.k8s.io/v1beta1"},
        "kind": {"const": "Kustomization"},
        "namespace": DNS_NAME,
        "resources": TEXTS,
        "labels": many(record({"pairs": LABELS})),
        "images": many(record({"name": TEXT, "newName": TEXT, "newTag": TEXT})),
        "secretGenerator": many(record({"name": DNS_NAME, "files": TEXTS})),
    }
)

# Compose and Prometheus.

_MOUNT: Schema = {
    "anyOf": [
        {"type": "string", "pattern": r"^[^:]+:/[^:]*(:ro)?$"},
        record(
            {"type": {"const": "volume"}, "source": TEXT, "target": TEXT, "read_only": FLAG},
            {"volume": record({"subpath": TEXT})},
        ),
    ]
}
_SERVICE = record(
    {
        "image": TEXT,
        "restart": one_of("no", "always", "on-failure", "unless-stopped"),
        "read_only": {"const": True},
        "cap_drop": {"const": ["ALL"]},
        "security_opt": {"const": ["no-new-privileges:true"]},
    },
    {
        "build": record({"context": TEXT, "dockerfile": TEXT}),
        "command": TEXTS,
        "depends_on": {
            "type": "object",
            "additionalProperties": record(
                {"condition": one_of("service_healthy", "service_completed_successfully")}
            ),
        },
        "deploy": record({"replicas": SECONDS}),
        "environment": LABELS,
        "healthcheck": record({"disable": {"const": True}}),
        "init": FLAG,
        "mem_limit": {"type": "string", "pattern": r"^[0-9]+m$"},
        "networks": TEXTS,
        "network_mode": {"const": "none"},
        "ports": many({"type": "string", "pattern": r"^127\.0\.0\.1:\d+:\d+$"}),
        "stop_grace_period": DURATION,
        "volumes": many(_MOUNT),
    },
)
COMPOSE = record(
    {
        "name": DNS_NAME,
        "x-node": {"type": "object"},
        "services": {"type": "object", "additionalProperties": _SERVICE},
        "networks": {
            "type": "object",
            "additionalProperties": record({}, {"internal": FLAG}),
        },
        "volumes": {"type": "object", "additionalProperties": record({})},
    }
)
PROMETHEUS = record(
    {
        "global": record({"scrape_interval": DURATION}),
        "scrape_configs": many(
            record(
                {
                    "job_name": TEXT,
                    "dns_sd_configs": many(
                        record(
                            {"names": TEXTS, "type": {"const": "A"}, "port": PORT},
                            {"refresh_interval": DURATION},
                        )
                    ),
                }
            )
        ),
    }
)
ADAPTER = record(
    {
        "rules": record(
            {
                "default": FLAG,
                "custom": many(
                    record(
                        {
                            "seriesQuery": TEXT,
                            "resources": record({"overrides": {"type": "object"}}),
                            "name": record({"matches": TEXT, "as": TEXT}),
                            "metricsQuery": TEXT,
                        }
                    )
                ),
            }
        )
    }
)

# Grafana.

_SOURCE = record({"type": {"const": "prometheus"}, "uid": {"const": "${datasource}"}})
_PLACE = record({"h": SECONDS, "w": SECONDS, "x": {**COUNT, "maximum": 23}, "y": COUNT})
_PANEL = record(
    {
        "id": SECONDS,
        "type": one_of("timeseries", "stat", "state-timeline"),
        "title": TEXT,
        "description": {"type": "string"},
        "gridPos": _PLACE,
        "datasource": _SOURCE,
        "fieldConfig": record({"defaults": {"type": "object"}, "overrides": {"type": "array"}}),
        "options": {"type": "object"},
        "targets": many(
            record(
                {
                    "refId": {"type": "string", "pattern": "^[A-Z]$"},
                    "expr": TEXT,
                    "legendFormat": {"type": "string"},
                    "datasource": _SOURCE,
                }
            )
        ),
    }
)
DASHBOARD = record(
    {
        "uid": TEXT,
        "title": TEXT,
        "tags": TEXTS,
        "schemaVersion": {"type": "integer", "minimum": 36},
        "version": SECONDS,
        "editable": FLAG,
        "refresh": DURATION,
        "time": record({"from": TEXT, "to": TEXT}),
        "timezone": TEXT,
        "templating": record({"list": many({"type": "object", "required": ["name", "type"]})}),
        "panels": many(_PANEL),
    }
)
