"""Where the broker is and how to speak to it: one value shared by every verb."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from typing import Literal

from device_fw_sim.errors import OptionsError


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """The broker's listener.

    Args:
        host: Name or address.
        port: TCP port.
        tls: Speak TLS.
        ca_file: PEM file to check the broker's certificate with; None takes the system's.
        tls_verify: False checks nothing; for a loopback broker only.
        mqtt_version: 4 (3.1.1) or 5.
    """

    host: str = "127.0.0.1"
    port: int = 1883
    tls: bool = False
    ca_file: str | None = None
    tls_verify: bool = True
    mqtt_version: Literal[4, 5] = 5

    def tls_context(self, certificate: str | None = None) -> ssl.SSLContext | None:
        """Context for a connection, None without TLS.

        Args:
            certificate: PEM file with the device's own key and certificate, None for a device without.
        Raises:
            OptionsError: The issuer's file, or the device's, can't be used.
        """
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise OptionsError(
                f"The issuer file {self.ca_file} can't be used: {error}.", hint="Give a PEM certificate."
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            try:
                context.load_cert_chain(certificate)
            except (OSError, ssl.SSLError) as error:
                raise OptionsError(
                    f"The certificate in {certificate} can't be used: {error}.",
                    hint="Remove the file, and have the device enrol again.",
                ) from error
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def https_context(self) -> ssl.SSLContext:
        """Context for the devices' HTTPS port, checked as the broker's certificate is. Raises OptionsError."""
        context = replace(self, tls=True).tls_context()
        assert context is not None, "asked for with TLS"
        return context
