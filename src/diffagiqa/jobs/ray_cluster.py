"""The way into a Ray cluster, and whether it has what is asked of it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from typing import Any

from diffagiqa.data.samples import reason_of
from diffagiqa.errors import ConfigError


def join_cluster(address: str | None, **options: Any) -> None:
    """``ray.init``, quietly: joins the cluster at ``address``, None starts one on this machine.

    Raises ConfigError where no cluster answers, or none can be started.
    """
    import ray

    try:
        _knock(address)  # ray.init itself tries for minutes
        ray.init(
            address=address or "local",  # None would join what `ray start` left on this machine
            log_to_driver=False,
            include_dashboard=False,
            logging_level=logging.ERROR,
            **options,
        )
    except (OSError, OverflowError, ValueError, RuntimeError) as fault:
        what = f"no Ray cluster answers at {address!r}" if address else "Ray does not start here"
        raise ConfigError(
            f"{what} ({reason_of(fault)}); give the address of a cluster that runs, or none to start "
            "one on this machine"
        ) from None


def _knock(address: str | None, seconds: float = 10.0) -> None:
    """Raise OSError where an address of the form HOST:PORT or ray://HOST:PORT takes no connection."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()


def cluster_address(address: str | None) -> str | None:
    """The cluster to join: the one named, else the one that Ray's own variable names."""
    return address or os.environ.get("RAY_ADDRESS") or None


def lacking(
    slots: Mapping[str, float], replicas: int, cpus: float, gpus: float, where: str
) -> str | None:
    """One sentence where a cluster has fewer slots than replicas want, else None.

    >>> lacking({"CPU": 2}, replicas=3, cpus=0.5, gpus=1, where="this machine")
    'the service wants 3 x 1 GPU slots, and this machine has 0; lower --gpus or --replicas'
    """
    for name, wanted in (("CPU", cpus), ("GPU", gpus)):
        if replicas * wanted > (there := slots.get(name, 0)):
            return (
                f"the service wants {replicas} x {wanted:g} {name} slots, and {where} has {there:g}; "
                f"lower --{name.lower()}s or --replicas"
            )
    return None


def check_port(host: str, port: int) -> None:
    """Raise ConfigError where another program listens there, or the host is not this machine's."""
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will
            probe.bind((host, port))
    except OSError as fault:
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({reason_of(fault)}); give another --port or --host"
        ) from None
