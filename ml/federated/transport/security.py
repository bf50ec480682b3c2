"""How a connection to a broker is kept from others: TLS, whose certificates are always verified."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import TransportError

CA_VARIABLE: Final = "MODELPROOF_BROKER_CA"
CLEAR_VARIABLE: Final = "MODELPROOF_BROKER_IN_CLEAR"


@dataclass(frozen=True, slots=True)
class Security:
    """What an operator says about it."""

    ca: Path | None = None
    """A PEM file of the authorities that may have signed the broker's certificate; None: those that
    the system trusts."""
    is_clear_meant: bool = False
    """Whether a password may go over a network unencrypted."""

    def check_ca(self) -> None:
        """Check that the authorities can be read.

        Raises:
            TransportError: they cannot.
        """
        try:
            ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError:
            raise TransportError(f"{self.ca} has no certificate in PEM ({CA_VARIABLE})") from None
        except OSError as error:
            raise TransportError(
                f"{self.ca} cannot be read ({error.strerror}): it is to have the certificate of the"
                f" broker's authority ({CA_VARIABLE})"
            ) from None

    def check_clear(self, host: str) -> None:
        """Check that a password may be sent to a host unencrypted.

        Raises:
            TransportError: it is another machine, and nobody says that it is meant.
        """
        if not self.is_clear_meant and not _is_loopback(host):
            raise TransportError(
                f"the password would go to {host} unencrypted: name the broker as amqps://, or say"
                f" by --broker-in-clear ({CLEAR_VARIABLE}=1) that it is meant"
            )


BY_DEFAULT: Final = Security()


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine, whatever its resolver says."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
