"""How an endpoint is declared, and what happens around its handler.

An `Endpoint` names the structs of its query, body and answer; the same structs decode, check, encode and describe
(ui/api/openapi.py), so that documentation and behaviour can't part. Around each handler: who may, CSRF, the body, the
query, entity tags and idempotency keys; errors become problem details in ui/app.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from appliance.core.errors import NotAuthorized, UsageError
from appliance.core.limits import CATALOG_WRITE_TIMEOUT_MS
from appliance.management.audit import Act
from appliance.management.permissions import Permission, Scope, check
from storage.catalog import Catalog
from ui.api import etag as entity_tags
from ui.api import idempotency
from ui.auth import Identity, actor_of, identify, is_local, require, require_csrf, require_still, services_of
from ui.services import Services

Access = Literal["open", "user", "local"]
"""Who may: anybody, a signed-in user (or local program) with the permission, or only a program on this machine."""

T = TypeVar("T", bound=msgspec.Struct)
R = TypeVar("R")

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as its handler sees it. `query` and `body` are of the endpoint's types.

    Attributes:
        action: The endpoint's, for the audit.
        precondition: If-Match, where the endpoint takes it and the request has it.
        idempotent: The idempotency key, likewise.
    """

    request: Request
    services: Services
    identity: Identity | None
    path: Mapping[str, str]
    query: Any
    body: Any
    action: str = ""
    precondition: entity_tags.Precondition | None = None
    idempotent: idempotency.IdempotentRequest | None = None

    def expect(self, version: str) -> None:
        """Refuse to change what isn't as the asker saw it (If-Match); call it in the transaction that changes it.

        Args:
            version: Of what is there now, as in `Reply.version`.
        Raises:
            Conflict: `version_differs` (412).
        """
        if self.precondition is not None:
            self.precondition.expect(version)

    @property
    def scope(self) -> Scope:
        """The groups of devices that whoever asks is limited to; None for the whole site."""
        assert self.identity is not None, "only endpoints that need a permission ask for a scope"
        return self.identity.scope

    async def write(self, fn: Callable[[Catalog], R], *, timeout_ms: int = CATALOG_WRITE_TIMEOUT_MS) -> R:
        """Write to the catalog as whoever asks: what changes is in the audit under their name. As AsyncCatalog.write."""
        assert self.action, "an endpoint that writes names its action"
        by = Act(action=self.action, actor=await actor_of(self.request))

        def whole(catalog: Catalog) -> R:
            result = fn(catalog)
            assert self.precondition is None or self.precondition.checked, (
                "If-Match was asked and not looked at"
            )
            if self.idempotent is not None:
                self.idempotent.take(catalog)
            return result

        result = await self.services.catalog.write(whole, by=by, timeout_ms=timeout_ms)
        if self.idempotent is not None:
            self.idempotent.taken = True
        return result

    @asynccontextmanager
    async def noted(self, *, object_kind: str, object_id: str, detail: str = "") -> AsyncIterator[None]:
        """For what changes no row of the catalog: in the audit before it is done, in the body; a failure is noted too.

        Raises:
            Unavailable: it can't be noted, and is not done.
        """
        assert self.action, "what is noted has a name"
        act = Act(action=self.action, actor=await actor_of(self.request))
        async with self.services.audit.noted(
            act, object_kind=object_kind, object_id=object_id, detail=detail
        ):
            yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer.

    Attributes:
        content: A struct, None for an empty answer.
        dress: What to do to the response (cookies).
        version: Of what is answered, for its ETag (ui/api/etag.py); only where the endpoint has `etag`.
        response: The whole response instead of `content`, where it is not JSON (`Endpoint.media`).
    """

    content: msgspec.Struct | None
    dress: Callable[[Response], None] | None = None
    version: str | None = None
    response: Response | None = None


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method at one address.

    Attributes:
        needs: The permission that whoever asks must have; None where access isn't "user".
        action: What the audit calls it (`noun.verb`); "" for what changes nothing.
        path: Below /api/v1, with {names} as in Starlette.
        any_name: The names in the path may hold a "/" too, such as client ids.
        is_bulk: It works on many things at once, and has a rate limit of its own.
        answer: Struct of the answer, None for 204.
        media: Content types of an answer that is not JSON; beside `answer`, of one that the caller may ask for instead.
        body_media: Content type of a body that is not JSON; the handler reads it from the request's stream.
        etag: Answers have an ETag; a GET takes If-None-Match (304), everything else If-Match (412), for which its handler
            calls `Call.expect`.
        idempotent: Takes an Idempotency-Key.
        errors: Statuses beside those that follow from access, body and query.
        codes: Codes of problem details by status, beside those that follow likewise (ui/api/problem_codes.py).
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    handler: Handler
    summary: str
    access: Access = "user"
    needs: Permission | None = None
    action: str = ""
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    media: tuple[str, ...] = ()
    body_media: str = ""
    any_name: bool = False
    etag: bool = False
    idempotent: bool = False
    is_bulk: bool = False
    status: int = 200
    errors: tuple[int, ...] = ()
    codes: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    tags: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        assert (self.needs is not None) == (self.access == "user"), f"{self.path}: who may?"
        assert self.method == "GET" or self.action, f"{self.path}: what does the audit call it?"
        assert not (self.idempotent and self.method == "GET"), f"{self.path}: a GET changes nothing"
        assert not (self.idempotent and self.access == "open"), (
            f"{self.path}: strangers would share their keys"
        )
        assert set(self.codes) <= set(self.all_errors()), f"{self.path}: a code of a status that isn't there"

    @property
    def operation_id(self) -> str:
        return self.handler.__name__

    def all_errors(self) -> tuple[int, ...]:
        """Every status of an error that this endpoint answers with."""
        found = {429, 503, *self.errors}
        if self.access == "user":
            found |= {401, 403}
        if self.access == "local" or self.method != "GET":
            found.add(403)
        if self.etag or self.method != "GET":
            found.add(400)  # Headers that can't be read, or are not taken here.
        if self.etag and self.method != "GET":
            found.add(412)
        if self.idempotent:
            found |= {408, 409, 413, 422}
        if self.body is not None or self.body_media:
            found |= {400, 408, 413, 415, 422}
        if self.query is not None:
            found |= {400, 422}
        return tuple(sorted(found))

    def route(self) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._answer(request)

        path = self.path.replace("}", ":path}") if self.any_name else self.path
        return Route(f"/v1{path}", endpoint, methods=[self.method], name=self.operation_id)

    async def _answer(self, request: Request) -> Response:
        identity = await self._admit(request)
        self._check_headers(request)
        services = services_of(request)
        # A body that makes no sense is refused before a key is looked at.
        query = decode_query(request, self.query) if self.query else None
        body = await decode_body(request, self.body) if self.body else None
        if self.body_media:
            check_content_type(request, self.body_media)
        call = Call(
            request=request,
            services=services,
            identity=identity,
            path=request.path_params,
            query=query,
            body=body,
            action=self.action,
            precondition=entity_tags.precondition_of(request) if self.etag else None,
            idempotent=(
                await idempotency.idempotent_request(request, services, await actor_of(request))
                if self.idempotent
                else None
            ),
        )
        if self.needs is not None and (body is not None or call.idempotent is not None):
            await require_still(request)
        if call.idempotent is None:
            return await self._carry_out(call)
        with call.idempotent:
            known = await call.idempotent.answer_of_before()
            if known is not None:
                return known
            response = await self._carry_out(call)
            await call.idempotent.keep(response)
            return response

    async def _carry_out(self, call: Call) -> Response:
        reply = await self.handler(call)
        if reply.response is not None:
            response = reply.response
        elif reply.content is None:
            response = Response(status_code=204)
        else:
            response = Response(msgspec.json.encode(reply.content), status_code=self.status, media_type=JSON)
        if reply.dress:
            reply.dress(response)
        return entity_tags.answered(call.request, response, reply.version) if self.etag else response

    def _check_headers(self, request: Request) -> None:
        """Refuse a promise that is not kept here: who sends these relies on them."""
        for name, is_taken in (
            ("if-match", self.etag and self.method != "GET"),
            (idempotency.HEADER, self.idempotent),
        ):
            if self.method != "GET" and not is_taken and name in request.headers:
                raise UsageError(
                    f"{self.method} takes no {name.title()} at this address.",
                    hint="Leave the header out; /api/v1/openapi.json says where it is taken.",
                    code="header_not_taken",
                )

    async def _admit(self, request: Request) -> Identity | None:
        if self.access == "local" and not is_local(request):
            raise NotAuthorized(
                "This is for programs on the box itself.",
                hint="Use the homeport command on the box.",
                code="forbidden",
            )
        identity: Identity | None
        if self.needs is not None:
            identity = who = await require(request)
            check(who.role, who.scope, self.needs)
        elif self.method != "GET":
            identity = await identify(request)
        else:
            identity = None
        await require_csrf(request)
        return identity


@cache
def _fields_of(kind: type[Any]) -> dict[str, msgspec.structs.FieldInfo]:
    """A struct's fields by their name in the query; found once, since msgspec compiles the annotations for it."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def decode_query(request: Request, kind: type[T]) -> T:
    """The query string as a struct; a key that may be repeated is a tuple there.

    Raises:
        UsageError: `query_invalid`: an unknown key, a repeated one, a value that isn't what it should be.
    """
    values: dict[str, Any] = {}
    fields = _fields_of(kind)
    for key, value in request.query_params.multi_items():
        wanted = fields.get(key)
        if wanted is None:
            raise _bad_query(f"The query has no key “{key[:80]}” here.", f"It takes: {', '.join(fields)}.")
        if _is_repeatable(wanted):
            values.setdefault(key, []).append(value)
        elif key in values:
            raise _bad_query(f"The key “{key}” stands in the query twice.", "Give it once.")
        else:
            values[key] = value
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _bad_query(
            f"The query can't be used: {error}.", "See /api/v1/openapi.json for what it takes."
        ) from error


def _is_repeatable(wanted: msgspec.structs.FieldInfo) -> bool:
    kind = wanted.type
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) is tuple


def _bad_query(message: str, hint: str) -> UsageError:
    return UsageError(message, hint=hint, code="query_invalid")


def check_content_type(request: Request, wanted: str) -> None:
    """Refuse a body that says it is something else.

    Raises:
        UsageError: `body_type`.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != wanted:
        raise UsageError(
            f"The body must be {wanted}.", hint=f"Send the header Content-Type: {wanted}.", code="body_type"
        )


async def decode_body(request: Request, kind: type[T]) -> T:
    """The JSON body as a struct.

    Raises:
        UsageError: `body_type` (not JSON), `body_invalid` (not well-formed), `body_unusable` (not this struct).
        LimitExceeded: `body_too_large`, `body_too_slow`.
    """
    check_content_type(request, JSON)
    body = await request.body()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise UsageError(
            f"The body can't be used: {error}.",
            hint="See /api/v1/openapi.json for what it takes.",
            code="body_unusable",
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The body is not well-formed JSON: {error}.", hint="Send one JSON object.", code="body_invalid"
        ) from error
