"""What the service refuses, each in its own words."""

import posixpath
import re
from collections.abc import Collection
from typing import Any

from tests.lepton.blueprint import Blueprint
from tests.lepton.stock import Stock
from tests.lepton.wire import invalid

NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
LONGEST = 36
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
ENV_NAME = re.compile(r"[A-Za-z._-][A-Za-z0-9._-]*")
RESERVED_MOUNTS = frozenset(
    [
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/lib64",
        "/media",
        "/opt",
        "/proc",
        "/run",
        "/sbin",
        "/srv",
        "/sys",
        "/usr",
        "/usr/bin",
        "/usr/lib",
        "/usr/local",
        "/usr/sbin",
        "/var",
        "/sys/fs/cgroup",
        "/sys/kernel/security",
        "/proc/sys",
        "/proc/bus",
    ]
)
PRIORITIES = frozenset(
    ["low-1000", "low-2000", "low-3000", "mid-4000", "mid-5000", "mid-6000", "high-7000", "high-8000", "high-9000"]
)


def check_name(name: object) -> str:
    """A job's or an endpoint's name."""
    if not isinstance(name, str) or len(name) > LONGEST or not NAME.fullmatch(name) or name.endswith("by-lepton"):
        raise invalid(f"invalid name {name!r}: 1 to {LONGEST} of a-z, 0-9 and -, beginning with a letter")
    return name


def check_labels(labels: dict[str, str]) -> None:
    """Labels as Kubernetes takes them."""
    for key, value in labels.items():
        if not LABEL.fullmatch(key) or (value and not LABEL.fullmatch(value)):
            raise invalid(f"invalid label {key}={value}")


def check(stock: Stock, secrets: Collection[str], blueprint: Blueprint, purpose: str) -> None:
    """Everything that a job (`purpose` job) or an endpoint (deployment) names must be there."""
    if not blueprint.image:
        raise invalid("container.image is required")
    if not all(isinstance(word, str) for word in blueprint.command):
        raise invalid("container.command must be a list of strings")
    if not isinstance(blueprint.port, int) or not 0 < blueprint.port < 65536:
        raise invalid(f"invalid container port {blueprint.port}")
    check_place(stock, blueprint, purpose)
    for env in blueprint.envs:
        check_env(secrets, env)
    for mount in blueprint.mounts:
        check_mount(stock, mount)
    for token in blueprint.tokens:
        reference = (token.get("value_from") or {}).get("token_name_ref")
        if reference is not None and reference not in secrets:
            raise invalid(f"token secret {reference} not found")
        if (reference is None) == (not token.get("value")):
            raise invalid("an api token needs either value or value_from")


def check_place(stock: Stock, blueprint: Blueprint, purpose: str) -> None:
    """Node groups, nodes, shape, reservation and priority."""
    for group in blueprint.groups:
        if group not in stock.groups:
            raise invalid(f"dedicated node group {group} not found")
    nodes = [node for group in blueprint.groups for node in stock.groups[group].nodes]
    for node in blueprint.nodes:
        if node not in nodes:
            raise invalid(f"node {node} not found")
    offered = stock.shapes_for(blueprint.groups, purpose)
    if blueprint.shape not in {shape.id for shape in offered}:
        raise invalid(f"resource shape {blueprint.shape or '(none)'} is not available")
    if blueprint.reservation is not None:
        reserved = [each for group in blueprint.groups for each in stock.groups[group].reservations]
        if blueprint.reservation not in reserved:
            raise invalid(f"reservation {blueprint.reservation} not found")
    if blueprint.priority is not None and blueprint.priority not in PRIORITIES:
        raise invalid(f"unknown priority class {blueprint.priority}")


def check_env(secrets: Collection[str], env: dict[str, Any]) -> None:
    """One variable."""
    name = env.get("name")
    if not isinstance(name, str) or not ENV_NAME.fullmatch(name) or name.startswith("LEPTON_"):
        raise invalid(f"invalid environment variable name {name!r}")
    reference = (env.get("value_from") or {}).get("secret_name_ref")
    if reference is None and not isinstance(env.get("value"), str):
        raise invalid(f"environment variable {name} needs a value")
    if reference is not None and env.get("value"):
        raise invalid(f"environment variable {name} has a value and a secret")
    if reference is not None and reference not in secrets:
        raise invalid(f"secret {reference} not found")


def check_mount(stock: Stock, mount: dict[str, Any]) -> None:
    """One mount."""
    volume, path = mount.get("from"), str(mount.get("mount_path") or "")
    if volume not in stock.volumes:
        raise invalid(f"volume {volume} not found")
    if not path.startswith("/") or posixpath.normpath(path) in RESERVED_MOUNTS:
        raise invalid(f"invalid mount path {path!r}")
    if ".." in str(mount.get("path") or "").split("/"):
        raise invalid(f"invalid volume path {mount.get('path')!r}")


def check_counts(spec: dict[str, Any]) -> None:
    """The numbers of a job."""
    for key in ("completions", "parallelism"):
        if not isinstance(spec.get(key, 1), int) or spec.get(key, 1) < 1:
            raise invalid(f"{key} must be a positive integer")
    for key in ("max_failure_retry", "max_job_failure_retry", "ttl_seconds_after_finished", "shared_memory_size"):
        value = spec.get(key)
        if value is not None and (not isinstance(value, int) or value < 0):
            raise invalid(f"{key} must not be negative")
