# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright 2026 The ctdb-etcd authors
"""The members of etcd as DNS names them: SRV records of a domain.

dnspython blocks and is slow to import: look_up is for a thread. No records at all is treated like a host without an
address: it may be temporary.
"""

from __future__ import annotations

import random
from typing import Any, Iterable

from ..config.keys import dns_name
from ..errors import Refused

# Seconds for which dnspython may ask one name server after the other.
_LIFETIME = 10.0


def look_up(domain: str, protocol: str) -> list[tuple[str, int]]:
    """Hosts and ports, the preferred ones first. Raises OSError, Refused. It blocks."""
    try:
        import dns.exception
        import dns.resolver
    except ImportError as error:
        raise Refused(
            f"srv_domain needs dnspython, which cannot be imported ({error}): install python3-dnspython"
            " (Fedora: python3-dns), or name the members of etcd in host"
        ) from None
    # As etcd's own clients look for them, and last as python-etcd does.
    names = [f"_etcd-client{'-ssl' if protocol == 'https' else ''}._tcp.{domain}", f"_etcd._tcp.{domain}"]
    try:
        resolver = dns.resolver.Resolver()
        for name in names:
            try:
                # For the type checker it may be a record of any kind; there are only those that were asked for.
                answer: Iterable[Any] = resolver.resolve(f"{name}.", "SRV", lifetime=_LIFETIME)
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                continue
            targets = [(str(record.target), record.port) for record in sorted(answer, key=_turn)]
            # A target of "." says that the service is not offered.
            hosts = [(host.rstrip("."), port) for host, port in targets if _is_host(host)]
            if hosts:
                return hosts
    except dns.resolver.NoNameservers:
        raise OSError("the name servers refuse to answer") from None
    except dns.exception.Timeout:
        raise OSError("the name servers give no answer") from None
    except (dns.exception.DNSException, ValueError) as error:
        # ValueError: resolv.conf is not UTF-8.
        raise OSError(f"the name servers cannot be asked: {type(error).__name__}") from None
    raise OSError(f"there are no SRV records {' or '.join(names)}")


def _is_host(name: str) -> bool:
    try:
        return bool(dns_name(name))
    except ValueError:
        return False


def _turn(record: Any) -> tuple[int, float]:
    """Lower priorities first; of one priority in a random order that follows the weights (RFC 2782)."""
    return record.priority, -(random.random() ** (1 / max(record.weight, 0.01)))
