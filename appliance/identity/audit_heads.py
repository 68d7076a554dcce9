"""Signing the newest entry of the audit, so that history can't be written anew without the node's key.

`AuditSigning` is asked every minute whether there is a newer entry; if so it signs it, keeps the head in the catalog and
in data_dir/identity/audit.head, which a catalog put back from an older backup does not take with it, and writes it
into the log. Before it signs it makes sure that what it signed last is still what the chain holds: a history that was
rewritten is never signed. It says so and goes on saying so.

Must not know: who reads the audit.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import trio
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, StorageError, Unavailable
from appliance.core.limits import AUDIT_UNSIGNED_COUNT_MAX, AUDIT_UNSIGNED_MS_MAX
from appliance.identity import files
from appliance.identity.keys import NodeSigner
from appliance.management.audit import SYSTEM, Act, AuditEntry
from appliance.management.audit_chain import SignedHead
from storage.catalog import AsyncCatalog, Catalog

HEAD_FILE: Final = "audit.head"
_SIGN: Final = Act(action="audit.sign", actor=SYSTEM)
_log = logs.get(__name__)


def sign_head(signer: NodeSigner, entry: AuditEntry, *, now_ms: int) -> SignedHead:
    """Sign an entry as the newest of its chain."""
    head = SignedHead(
        origin=entry.origin, seq=entry.seq, hash=entry.hash, signed_at_ms=now_ms, key_id=signer.key_id.hex()
    )
    return dataclasses.replace(head, signature=signer.sign(head.signed_bytes()).hex())


def is_signed_by(head: SignedHead, key_id: bytes) -> bool:
    """Whether a head carries a right signature of that key (32 bytes, raw)."""
    if head.key_id != key_id.hex():
        return False
    try:
        Ed25519PublicKey.from_public_bytes(key_id).verify(bytes.fromhex(head.signature), head.signed_bytes())
    except (InvalidSignature, ValueError):
        return False
    return True


def read_head_file(data_dir: Path) -> SignedHead | None:
    """The head beside the catalog, None if there is none.

    Raises:
        ConfigError: `audit_head_file`, or as files.read_secret.
    """
    path = data_dir / "identity" / HEAD_FILE
    data = files.read_secret(path)
    if data is None:
        return None
    try:
        return msgspec.json.decode(data, type=SignedHead)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} does not hold a signed head of the audit.",
            hint="Somebody changed it. Look who did; then remove it, and a new one is written.",
            code="audit_head_file",
        ) from error


def sign_newest(
    catalog: Catalog, signer: NodeSigner, *, origin: str, data_dir: Path, clock: Clock
) -> SignedHead | None:
    """Sign the newest entry of a chain and keep the head, in the catalog and beside it; None while there is no entry.

    Raises:
        StorageError: `audit_broken`: what was signed last is not in the chain any more, or not signed by this key.
    """
    last = _last_head(catalog, signer, origin=origin, data_dir=data_dir)
    newest = catalog.newest_audit_entry(origin)
    if last is not None:
        still = catalog.audit_entry(origin, last.seq)
        if still is None or still.hash != last.hash:
            raise _broken(
                f"The audit is not what this node signed: entry {last.seq} is "
                f"{'missing' if still is None else 'another one'}."
            )
        if newest is not None and newest.seq == last.seq:
            return last
    if newest is None:
        return None
    first = catalog.audit_entry(origin, 1)
    if (
        last is None
        and newest.seq > AUDIT_UNSIGNED_COUNT_MAX
        and (first is None or clock.now_ms() - first.at_ms > AUDIT_UNSIGNED_MS_MAX)
    ):
        raise _broken(f"The audit has {newest.seq} entries and no signature at all.")
    head = sign_head(signer, newest, now_ms=clock.now_ms())
    with catalog.transaction(_SIGN):
        catalog.keep_audit_head(head)
    files.replace(data_dir / "identity" / HEAD_FILE, msgspec.json.encode(head) + b"\n")
    return head


def _last_head(catalog: Catalog, signer: NodeSigner, *, origin: str, data_dir: Path) -> SignedHead | None:
    heads = catalog.audit_heads(origin)
    known = [head for head in (*heads[-1:], read_head_file(data_dir)) if head is not None]
    for head in known:
        if not is_signed_by(head, signer.key_id):
            raise _broken(f"The signature of the audit's entry {head.seq} is not of this node's key.")
    return max(known, key=lambda head: head.seq, default=None)


def _broken(message: str) -> StorageError:
    return StorageError(
        message,
        hint="Run `homeport audit verify`. If you put a catalog back from a backup, or the box is another one, "
        "`homeport audit accept` goes on from what is there; otherwise somebody rewrote it.",
        code="audit_broken",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSigningStatistics:
    """Numbers of the signing. `seq` is of the newest signed entry, 0 before any; times are UTC ms."""

    seq: int
    signed_at_ms: int
    signed_total: int
    failures_total: int
    broken: bool


class AuditSigning:
    """See the module's docstring.

    Args:
        origin: This node's id, 32 hexadecimal digits.
        data_dir: Its `identity` holds the file.
    """

    def __init__(
        self, catalog: AsyncCatalog, signer: NodeSigner, *, origin: str, data_dir: Path, clock: Clock
    ) -> None:
        self._catalog = catalog
        self._signer = signer
        self._origin = origin
        self._data_dir = data_dir
        self._clock = clock
        self._one_at_a_time = trio.Lock()
        self._head: SignedHead | None = None
        self._broken = False
        self._signed_total = self._failures_total = 0

    async def sign(self) -> SignedHead | None:
        """The newest entry, signed; None while there is none.

        Raises:
            StorageError: `audit_broken`: what was signed last is not in the chain any more.
            Unavailable: the catalog can't be asked now.
        """
        async with self._one_at_a_time:
            newest = await self._catalog.read(lambda catalog: catalog.newest_audit_entry(self._origin))
            if newest is not None and self._head is not None and newest.hash == self._head.hash:
                return self._head

            def write(catalog: Catalog) -> SignedHead | None:
                return sign_newest(
                    catalog, self._signer, origin=self._origin, data_dir=self._data_dir, clock=self._clock
                )

            try:
                head = await self._catalog.write(write, by=_SIGN)
            except StorageError as error:
                self._broken = error.code == "audit_broken"
                raise
            self._broken = False
            if head is not None and head != self._head:
                self._signed_total += 1
                _log.info("audit signed", head=f"{head.seq}:{head.hash}")
            self._head = head
            return head

    async def try_to_sign(self) -> None:
        """Sign; what fails is said and counted, and is tried again next time: nothing else may stop because of it."""
        try:
            await self.sign()
        except (StorageError, Unavailable, ConfigError) as error:
            self._failures_total += 1
            _log.error("the audit was not signed", error=error.message, code=error.code, hint=error.hint)

    def statistics(self) -> AuditSigningStatistics:
        return AuditSigningStatistics(
            seq=self._head.seq if self._head else 0,
            signed_at_ms=self._head.signed_at_ms if self._head else 0,
            signed_total=self._signed_total,
            failures_total=self._failures_total,
            broken=self._broken,
        )
