"""Where something listens: an address and a port, as written on a command line or in a file."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from topologies.errors import InputError


class Endpoint(NamedTuple):
    """An IP address and a TCP port; port 0 lets the system choose a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self}"

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read ``127.0.0.1:6653``, ``[::1]:6653``, ``localhost:6653``, or the same after ``http://``.

        Raises
        ------
        InputError
            No port from 0 to 65535, or no IP address: names are not looked up, since what a name means
            may change between the check and the use.
        """
        host, colon, port = text.removeprefix("http://").removesuffix("/").rpartition(":")
        if not (colon and port.isascii() and port.isdecimal() and int(port) <= 65535):
            raise InputError(f"{text!r} is no address with a port; write ADDRESS:PORT, as in '127.0.0.1:6653'")
        if host == "localhost":
            return cls("127.0.0.1", int(port))
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            address = ipaddress.ip_address(bare)
        except ValueError:
            raise InputError(
                f"{host!r} in {text!r} is no IP address; write ADDRESS:PORT, as in '127.0.0.1:6653'"
            ) from None
        if (address.version == 6) != (bare != host):
            raise InputError(f"{text!r} mixes address and port; write '127.0.0.1:6653' or '[::1]:6653'")
        return cls(str(address), int(port))
