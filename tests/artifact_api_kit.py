"""Artifacts over the API, as tests make and sign them."""

from __future__ import annotations

from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.identity.artifact_signing import public_of, sign
from appliance.management.artifact_keys import KeySet

UPLOADS = "/api/v1/artifact-uploads"
ARTIFACTS = "/api/v1/artifacts"
KEYS = "/api/v1/artifact-keys"
OCTETS = {"content-type": "application/octet-stream"}
SIGNERS = [Ed25519PrivateKey.from_private_bytes(bytes([n + 1]) * 32) for n in range(3)]


def key_set(*numbers: int, version: int = 1, threshold: int = 1) -> KeySet:
    keys = [public_of(SIGNERS[n], name=f"key {n}") for n in numbers]
    return KeySet(version=version, threshold=threshold, keys=keys)


def signed(text: str, *numbers: int) -> dict[str, Any]:
    signatures = [sign(SIGNERS[n], text) for n in numbers]
    return {"document": text, "signatures": [{"keyid": each.keyid, "sig": each.sig} for each in signatures]}


async def begin(client: httpx.AsyncClient, data: bytes, **fields: Any) -> dict[str, Any]:
    wish = {"name": "pump", "version": "1", "size_bytes": len(data), **fields}
    answer = await client.post(UPLOADS, json={key: value for key, value in wish.items() if value is not None})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def send(client: httpx.AsyncClient, upload_id: str, data: bytes, offset: int = 0) -> httpx.Response:
    return await client.patch(f"{UPLOADS}/{upload_id}?offset={offset}", content=data, headers=OCTETS)


async def add(client: httpx.AsyncClient, data: bytes = b"firmware", **fields: Any) -> dict[str, Any]:
    upload = await begin(client, data, **fields)
    sent = await send(client, upload["upload_id"], data)
    assert sent.status_code == 200, sent.text
    answer = await client.post(f"{UPLOADS}/{upload['upload_id']}/finish")
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found
