"""Idempotency keys: a request that is sent again, because its answer was lost, is answered and not carried out again.

Source: draft-ietf-httpapi-idempotency-key-header-07. Per asker and key, for 24 hours:

* the same request: the same answer, with `Idempotent-Replayed: true`;
* another request: 422 `idempotency_key_reused`;
* while the first is being carried out: 409 `idempotency_key_in_use`;
* carried out, but its answer lost (the node was killed in that moment): 409 `idempotency_answer_lost`.

The key is taken in the transaction of the change, so nothing is ever done twice, not even over a SIGKILL. A request that was
refused and changed nothing leaves its key unused. Answers may hold a new token: they are sealed by the site's key.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from appliance.core import logs
from appliance.core.errors import ConfigError, Conflict, StorageError, Unavailable, UsageError
from appliance.core.limits import IDEMPOTENCY_KEY_LENGTH_MAX, IDEMPOTENT_ANSWER_BYTES_MAX
from appliance.management.audit import SYSTEM, Act, Actor
from storage.catalog import Catalog
from ui.services import Services

HEADER: Final = "idempotency-key"
REPLAYED_HEADER: Final = "idempotent-replayed"
KEPT_HEADERS: Final = ("content-type", "etag", "location")
"""Of an answer; what else it has belongs to one request only."""
_KEY: Final = re.compile(rf'"?([\x21\x23-\x7e]{{1,{IDEMPOTENCY_KEY_LENGTH_MAX}}})"?')
_log = logs.get(__name__)
_KEEP: Final = Act(action="idempotency.keep", actor=SYSTEM)


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class IdempotentRequest:
    """A request with a key, from its arrival to its answer; used as a context, which holds the key meanwhile.

    Attributes:
        taken: Whether its change was committed together with the key.
    """

    services: Services
    key_hash: bytes
    request_hash: bytes
    taken: bool = field(default=False)

    def __enter__(self) -> None:
        """Raises Conflict: `idempotency_key_in_use`."""
        if self.key_hash in self.services.idempotency_keys_in_use:
            raise Conflict(
                "A request with this idempotency key is being carried out.",
                hint="Wait a moment and send it again for its answer.",
                code="idempotency_key_in_use",
            )
        self.services.idempotency_keys_in_use.add(self.key_hash)

    def __exit__(self, *_: object) -> None:
        self.services.idempotency_keys_in_use.discard(self.key_hash)

    async def answer_of_before(self) -> Response | None:
        """The answer that the same request got, None if it was not carried out yet.

        Raises:
            UsageError: `idempotency_key_reused`. Conflict: `idempotency_answer_lost`.
        """
        found = await self.services.catalog.read(lambda catalog: catalog.idempotent_answer(self.key_hash))
        if found is None:
            return None
        if found.request_hash != self.request_hash:
            raise UsageError(
                "This idempotency key was used for another request.",
                hint="Make a new key (a random UUID) for each request that is a new one.",
                code="idempotency_key_reused",
            )
        if not found.status:
            raise self._lost()
        try:
            packed = self.services.keys.unseal(self._label, found.sealed)
        except (
            ConfigError
        ) as error:  # The site's key is another one since: what is sealed with the old one can't be shown.
            raise self._lost() from error
        kept = msgspec.msgpack.decode(zlib.decompress(packed), type=_Kept)
        return Response(
            kept.body, status_code=found.status, headers={**kept.headers, REPLAYED_HEADER: "true"}
        )

    def take(self, catalog: Catalog) -> None:
        """Within the transaction that carries the request out; once, whatever it consists of."""
        if not self.taken:
            catalog.take_idempotency_key(self.key_hash, self.request_hash)

    async def keep(self, response: Response) -> None:
        """Keep a success for who asks again. What is too large or can't be kept now isn't, and asking again says so.

        What was asked for is done, whatever becomes of this: it never fails the request.
        """
        assert response.status_code < HTTPStatus.BAD_REQUEST
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        packed = zlib.compress(msgspec.msgpack.encode(_Kept(headers, bytes(response.body))))
        if len(packed) > IDEMPOTENT_ANSWER_BYTES_MAX:
            return
        sealed = self.services.keys.seal(self._label, packed)

        def write(catalog: Catalog) -> None:
            self.take(catalog)
            catalog.keep_idempotent_answer(self.key_hash, response.status_code, sealed)

        try:
            await self.services.catalog.write(write, by=_KEEP)
        except (Unavailable, StorageError) as error:
            _log.warning("an answer is not kept for who asks again", code=error.code, error=error.message)

    @property
    def _label(self) -> str:
        return f"idempotent-answer/{self.key_hash.hex()}"

    @staticmethod
    def _lost() -> Conflict:
        return Conflict(
            "This request was carried out, but its answer is not there any more.",
            hint="Look at what it changed; to do it once more, send it with a new key.",
            code="idempotency_answer_lost",
        )


async def idempotent_request(request: Request, services: Services, actor: Actor) -> IdempotentRequest | None:
    """The request's key with what it is of, None without one. The body is read to its end.

    Raises:
        UsageError: `idempotency_key_invalid`.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    match = _KEY.fullmatch(key)
    if match is None or len(request.headers.getlist(HEADER)) > 1:
        raise UsageError(
            f"An idempotency key has 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} visible ASCII characters, without quotes in it.",
            hint="Send a random UUID, and the same one when you send the same request again.",
            code="idempotency_key_invalid",
        )
    # Keyed: a body may hold a password, and a plain hash of it would be one to guess against.
    secret = services.keys.derive("idempotency/1")

    def hashed(*parts: Any) -> bytes:
        return hashlib.blake2b(msgspec.msgpack.encode(parts), digest_size=32, key=secret).digest()

    return IdempotentRequest(
        services=services,
        key_hash=hashed(actor.kind, actor.name, match.group(1)),
        request_hash=hashed(
            request.method,
            request.url.path,
            request.url.query,
            request.headers.get("if-match", ""),
            await request.body(),
        ),
    )
