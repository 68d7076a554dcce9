"""What `homeport certificate` and `homeport ca` do while the node is stopped: on the catalog and the identity folder themselves.

While the node runs they ask it over its API. Both ways answer with the same plain mappings. Issuing takes the running node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import quote, urlencode

from appliance.core.config import Config
from appliance.core.errors import Unavailable
from appliance.identity import TlsIdentity, tls
from appliance.identity.ca import SiteCa
from appliance.identity.ca_certificates import fingerprint, generation_of, ms
from appliance.identity.recovery_kit import PENDING, RecoveryKit, confirm
from appliance.management.audit import LOCAL, Act
from appliance.run.box_certificate import box_certificate, reached_by
from appliance.run.local_api import NODE_STOPPED, LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog
from storage.catalog import Certificate, CertificateState, RevokedBecause

Row = dict[str, Any]
PAGE_SIZE = 1000
DAY_MS = 86_400_000


class CertificateCommands(Protocol):
    """What can be done with certificates and the authority from the command line."""

    def list(
        self, *, device_id: str | None, state: CertificateState | None, ends_within_days: int | None
    ) -> Iterator[Row]:
        """Certificates in the order in which they end."""

    def issue(self, device_id: str, csr: str) -> Row:
        """Issue one. Raises as `Issuing.issue`; Unavailable: `node_stopped`."""

    def revoke(self, serial: str, because: RevokedBecause) -> Row:
        """Revoke one. Raises NotFound: `certificate_unknown`."""

    def authority(self) -> Row:
        """The root, the issuing authority, and whether the recovery kit is pending."""

    def renew(self, kit: RecoveryKit, *, new_key: bool) -> Row:
        """Renew the issuing authority. Raises NotAuthorized: `recovery_kit_of_another_site`."""

    def sign_box(self) -> Row:
        """Have the site's authority sign this box's own certificate. Raises Conflict: `certificate_of_site`, `certificate_foreign`."""

    def confirm_kit(self) -> bool:
        """Forget the root's secret; whether there was one."""


class ThroughNode:
    """Asks the running node."""

    def __init__(self, api: LocalApi) -> None:
        self._api = api

    def list(
        self, *, device_id: str | None, state: CertificateState | None, ends_within_days: int | None
    ) -> Iterator[Row]:
        wishes = {"device_id": device_id, "state": state, "ends_within_days": ends_within_days}
        query: Row = {"limit": PAGE_SIZE, **{k: v for k, v in wishes.items() if v is not None}}
        while True:
            page = self._api.get(f"/api/v1/certificates?{urlencode(query)}")
            yield from page["certificates"]
            if not page.get("next_cursor"):
                return
            query["cursor"] = page["next_cursor"]

    def issue(self, device_id: str, csr: str) -> Row:
        answer: Row = self._api.post("/api/v1/certificates", {"device_id": device_id, "csr": csr})
        return answer

    def revoke(self, serial: str, because: RevokedBecause) -> Row:
        answer: Row = self._api.post(
            f"/api/v1/certificates/{quote(serial, safe='')}/revoke", {"because": because}
        )
        return answer

    def authority(self) -> Row:
        answer: Row = self._api.get("/api/v1/ca")
        return answer

    def renew(self, kit: RecoveryKit, *, new_key: bool) -> Row:
        wish = {"recovery_kit": kit.qr_text, "new_key": new_key}
        answer: Row = self._api.post("/api/v1/ca/renew", wish)
        return answer

    def sign_box(self) -> Row:
        answer: Row = self._api.post("/api/v1/ca/box-certificate", {})
        return answer

    def confirm_kit(self) -> bool:
        return bool(self._api.post("/api/v1/recovery-kit/confirm", {})["was_pending"])


class OnCatalog:
    """Works on the files themselves; the caller holds the node's lock."""

    def __init__(self, stopped: StoppedNode) -> None:
        self._stopped = stopped

    def list(
        self, *, device_id: str | None, state: CertificateState | None, ends_within_days: int | None
    ) -> Iterator[Row]:
        now_ms = self._stopped.clock.now_ms()
        ends_before_ms = None if ends_within_days is None else now_ms + ends_within_days * DAY_MS
        cursor: str | None = None
        while True:
            page = self._stopped.catalog.list_certificates(
                device_id=device_id,
                state=state,
                ends_before_ms=ends_before_ms,
                cursor=cursor,
                limit=PAGE_SIZE,
            )
            for certificate in page.certificates:
                yield self._row(certificate)
            cursor = page.next_cursor
            if cursor is None:
                return

    def issue(self, device_id: str, csr: str) -> Row:
        raise Unavailable(
            "Certificates are issued by the running node.",
            hint="Start it with `homeport run`.",
            code=NODE_STOPPED,
        )

    def revoke(self, serial: str, because: RevokedBecause) -> Row:
        with self._stopped.catalog.transaction(Act(action="certificate.revoke", actor=LOCAL)):
            return self._row(self._stopped.catalog.revoke_certificate(serial, because=because))

    def authority(self) -> Row:
        return self._authority_row(self._authority())

    def renew(self, kit: RecoveryKit, *, new_key: bool) -> Row:
        authority = self._authority()
        authority.check_kit(kit)
        with self._stopped.catalog.transaction(Act(action="authority.renew", actor=LOCAL)):
            self._stopped.catalog.note("authority.renew", object_kind="authority", object_id=authority.key_id)
        return self._authority_row(
            authority.renewed(kit, self._stopped.keys, clock=self._stopped.clock, new_key=new_key)
        )

    def sign_box(self) -> Row:
        stopped, config = self._stopped, self._stopped.config
        with stopped.catalog.transaction(Act(action="authority.sign_box", actor=LOCAL)):
            made = tls.replace(
                config.node.data_dir,
                stopped.keys,
                node_name=config.node.name,
                clock=stopped.clock,
                also=reached_by(config),
            )
            stopped.catalog.note(
                "authority.sign_box", object_kind="authority", object_id=made.authority_fingerprint
            )
        return _servers(made)

    def confirm_kit(self) -> bool:
        node = self._stopped.config.node
        with self._stopped.catalog.transaction(Act(action="recovery_kit.confirm", actor=LOCAL)):
            self._stopped.catalog.note(
                "recovery_kit.confirm", object_kind="recovery_kit", object_id=node.name
            )
        return confirm(node.data_dir)

    def _authority(self) -> SiteCa:
        stopped = self._stopped
        return SiteCa.load_or_create(stopped.config.node.data_dir, stopped.keys, clock=stopped.clock)

    def _authority_row(self, authority: SiteCa) -> Row:
        now_ms = self._stopped.clock.now_ms()
        return {
            "root": {
                "fingerprint": fingerprint(authority.root),
                "not_after_at_ms": ms(authority.root.not_valid_after_utc),
            },
            "issuing": {
                "fingerprint": fingerprint(authority.issuing),
                "key_id": authority.key_id,
                "generation": generation_of(authority.issuing),
                "not_after_at_ms": authority.ends_at_ms,
                "is_due": authority.is_due(now_ms),
            },
            "servers": _servers(
                box_certificate(self._stopped.config, self._stopped.keys, self._stopped.clock)
            ),
            "recovery_kit_pending": (self._stopped.config.node.data_dir / PENDING).exists(),
        }

    def _row(self, certificate: Certificate) -> Row:
        return {
            **dataclasses.asdict(certificate),
            "state": certificate.state(self._stopped.clock.now_ms()),
        }


def _servers(box: TlsIdentity) -> Row:
    return {
        "fingerprint": box.authority_fingerprint,
        "box_signer": str(box.signer),
        "box_fingerprint": box.fingerprint,
        "box_not_after_at_ms": box.not_after_ms,
    }


def certificate_commands(config: Config, *, holder: str) -> AbstractContextManager[CertificateCommands]:
    """The running node, or the files under the node's lock if none runs. Raises as node_or_catalog."""
    return node_or_catalog(config, holder=holder, through_node=ThroughNode, on_catalog=OnCatalog)
