"""How an endpoint is declared, and what happens around its handler.

An `Endpoint` names the structs of its query, body and answer; the same structs decode, check, encode and describe
(ui/api/openapi.py), so that documentation and behaviour can't part. Around each handler: who may, CSRF, the body, the
query; errors become problem details in ui/app.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeVar, get_args, get_origin

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from appliance.core.errors import NotAuthorized, UsageError
from ui.auth import Identity, identify, is_local, require, require_csrf, services_of
from ui.services import Services

Access = Literal["open", "session", "local"]
"""Who may: anybody, a signed-in user (or local program), or only a program on this machine."""

T = TypeVar("T", bound=msgspec.Struct)

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request as its handler sees it. `query` and `body` are of the endpoint's types."""

    request: Request
    services: Services
    identity: Identity | None
    path: Mapping[str, str]
    query: Any
    body: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer: a struct (None for an empty one), and what to do to the response (cookies)."""

    content: msgspec.Struct | None
    dress: Callable[[Response], None] | None = None


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method at one address.

    Attributes:
        path: Below /api/v1, with {names} as in Starlette.
        any_name: The names in the path may hold a "/" too, such as client ids.
        answer: Struct of the answer, None for 204.
        errors: Statuses beside those that follow from access, body and query.
    """

    method: Literal["GET", "POST", "DELETE"]
    path: str
    handler: Handler
    summary: str
    access: Access = "session"
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    any_name: bool = False
    status: int = 200
    errors: tuple[int, ...] = ()
    tags: tuple[str, ...] = field(default=())

    @property
    def operation_id(self) -> str:
        return self.handler.__name__

    def all_errors(self) -> tuple[int, ...]:
        """Every status of an error that this endpoint answers with."""
        found = {503, *self.errors}
        if self.access == "session":
            found.add(401)
        if self.access == "local" or self.method != "GET":
            found.add(403)
        if self.body is not None:
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
        call = Call(
            request=request,
            services=services_of(request),
            identity=identity,
            path=request.path_params,
            query=decode_query(request, self.query) if self.query else None,
            body=await decode_body(request, self.body) if self.body else None,
        )
        reply = await self.handler(call)
        if reply.content is None:
            response = Response(status_code=204)
        else:
            response = Response(msgspec.json.encode(reply.content), status_code=self.status, media_type=JSON)
        if reply.dress:
            reply.dress(response)
        return response

    async def _admit(self, request: Request) -> Identity | None:
        if self.access == "local" and not is_local(request):
            raise NotAuthorized(
                "This is for programs on the box itself.",
                hint="Use the homeport command on the box.",
                code="forbidden",
            )
        if self.access == "session":
            identity: Identity | None = await require(request)
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


async def decode_body(request: Request, kind: type[T]) -> T:
    """The JSON body as a struct.

    Raises:
        UsageError: `body_type` (not JSON), `body_invalid` (not well-formed), `body_unusable` (not this struct).
        LimitExceeded: `body_too_large`, `body_too_slow`.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != JSON:
        raise UsageError(
            f"The body must be {JSON}.", hint=f"Send the header Content-Type: {JSON}.", code="body_type"
        )
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
