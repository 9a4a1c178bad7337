"""Which switches may be connected: by dpid, and by the certificate that a dpid must come with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.config import SwitchesConfig
from controller.framing import Violation
from topologies.errors import InputError
from topologies.fabric import Fabric


@dataclass(frozen=True, slots=True)
class SwitchTrust:
    """What a dpid has to show before anything that its switch says is believed.

    Attributes
    ----------
    allowed : frozenset of int, or None
        The dpids that may connect; None lets every one.
    pins : mapping of int to frozenset of str
        By dpid, the SHA-256 fingerprints (64 hexadecimal digits in lower case, of the certificate in DER) of which its
        certificate must have one. Others come with any certificate.
    """

    allowed: frozenset[int] | None = None
    pins: Mapping[int, frozenset[str]] = field(default_factory=dict)

    def check(self, dpid: int, fingerprint: str | None) -> None:
        """Refuse a dpid that may not connect, or not with this certificate.

        Parameters
        ----------
        fingerprint : str or None
            Of the certificate that the connection came with; None without TLS.

        Raises
        ------
        Violation
            ``untrusted``, with the fingerprint expected and the one seen where that is the reason.
        """
        if self.allowed is not None and dpid not in self.allowed:
            raise Violation("untrusted", f"has dpid {dpid:016x}, which 'switches.allowed' does not let connect")
        pins = self.pins.get(dpid)
        if pins is not None and fingerprint not in pins:
            expected = " or ".join(map(_as_openssl, sorted(pins)))
            seen = _as_openssl(fingerprint) if fingerprint is not None else "none"
            raise Violation(
                "untrusted",
                f"has dpid {dpid:016x}, for which 'switches.certificates' expects the certificate with fingerprint "
                f"{expected}, and came with {seen}",
            )


def trusted_switches(config: SwitchesConfig, declared: Fabric | None) -> SwitchTrust:
    """The trust that a configuration describes.

    Parameters
    ----------
    declared : Fabric or None
        The fabric file's content, whose switches ``allowed: declared`` means.

    Raises
    ------
    InputError
        ``allowed: declared``, and a switch of the fabric has no dpid; or a certificate is named for a dpid that may not
        connect.
    """
    allowed = _declared_dpids(declared) if config.allowed == "declared" else config.allowed
    if allowed is not None:
        for dpid in sorted(config.certificates.keys() - allowed):
            raise InputError(
                f"switches.certificates names dpid {dpid:016x}, which 'switches.allowed' does not let connect; "
                "allow it, or take its certificate out"
            )
    return SwitchTrust(allowed, config.certificates)


def _declared_dpids(declared: Fabric | None) -> frozenset[int]:
    dpids = set()
    for switch in declared.switches if declared is not None else ():
        if switch.dpid is None:
            raise InputError(
                f"switches.allowed is 'declared', but switch {switch.id!r} of the fabric file has no dpid; give it one"
            )
        dpids.add(switch.dpid)
    return frozenset(dpids)


def _as_openssl(fingerprint: str) -> str:
    """As openssl prints it, so that people can compare the two."""
    return ":".join(re.findall("..", fingerprint.upper()))
