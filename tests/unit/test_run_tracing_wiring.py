"""The node's tracing: with and without a collector, and the file with its headers."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.core.config import Config
from appliance.core.config_tracing import TracingConfig
from appliance.core.errors import ConfigError
from appliance.core.limits_tracing import OTLP_HEADER_FILE_BYTES_MAX
from appliance.core.version import VERSION
from appliance.run.tracing_wiring import make_post, make_tracing, read_headers
from broker.link import BrokerLink
from tests.broker_kit import wait_until
from tests.otlp_receiver import BUSY, REFUSED, TAKEN, OtlpReceiver
from tests.unit.test_tracing_span import span

TOKEN = "Authorization: Bearer s3cret"


def secret_file(folder: Path, text: str = TOKEN, mode: int = 0o600) -> Path:
    path = folder / "headers"
    path.write_text(text)
    path.chmod(mode)
    return path


async def test_without_a_collector_spans_stay_here(tmp_path: Path) -> None:
    tracing = make_tracing(Config(), node_id="ab")
    tracing.recorder.add([span()])
    assert len(tracing.recorder.book) == 1
    assert (tracing.exporter, tracing.recorder.ring, tracing.desk.statistics().exporter) == (None, None, None)
    with trio.fail_after(20):
        await tracing.run()
    link = BrokerLink(tmp_path / "none", lambda: None, lambda _names: None)
    tracing.attach(link)
    link.on_spans([span("x")])
    assert tracing.desk.statistics().recorder.spans == 2


async def test_a_collector_gets_them_with_its_headers(tmp_path: Path) -> None:
    with OtlpReceiver(answers=[TAKEN, BUSY, REFUSED]) as collector, trio.fail_after(60):
        chosen = TracingConfig(otlp_endpoint=collector.url, otlp_headers_file=secret_file(tmp_path))
        send = make_post(chosen, node_name="box", node_id="ab")
        taken, busy, refused = [await send([span()]) for _ in range(3)]
        assert (taken.status, taken.words, taken.rejected) == (200, "", 0)
        assert (busy.status, busy.words, refused.status) == (503, "HTTP 503", 400)
        headers = collector.requests[0].headers
        assert headers["authorization"] == "Bearer s3cret"
        assert headers["content-type"] == "application/json"
        assert headers["user-agent"] == f"Homeport/{VERSION}"
        resource = collector.bodies()[0]["resourceSpans"][0]["resource"]["attributes"]
        assert {"key": "service.name", "value": {"stringValue": "homeport"}} in resource
        assert {"key": "service.instance.id", "value": {"stringValue": "ab"}} in resource
    gone = await send([span()])
    assert gone.status == 0
    assert "could be connected to" in gone.words
    with OtlpReceiver(answers=[b"no HTTP\r\n\r\n"]) as other, trio.fail_after(60):
        answer = await make_post(TracingConfig(otlp_endpoint=other.url), node_name="b", node_id="c")([span()])
        assert "connection failed" in answer.words


async def test_the_exporter_is_wired(tmp_path: Path) -> None:
    with OtlpReceiver(answers=[TAKEN]) as collector:
        config = replace(Config(), tracing=TracingConfig(otlp_endpoint=collector.url))
        tracing = make_tracing(config, node_id="ab")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tracing.run)
            tracing.recorder.add([span("here")])
            await wait_until(collector.spans)
            nursery.cancel_scope.cancel()
        assert [each["name"] for each in collector.spans()] == ["here"]
    exporter = tracing.desk.statistics().exporter
    assert exporter is not None


def test_headers_of_a_file(tmp_path: Path) -> None:
    text = f"# a comment\n\n{TOKEN}\nX-Scope:  one\n"
    assert read_headers(secret_file(tmp_path, text)) == [
        ("Authorization", "Bearer s3cret"),
        ("X-Scope", "one"),
    ]
    assert read_headers(secret_file(tmp_path, TOKEN, 0o640))


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (TOKEN, 0o644, "read or changed by others"),
        (TOKEN, 0o620, "read or changed by others"),
        ("s3cret", 0o600, "line 1"),
        (f"{TOKEN}\nHost: s3cret", 0o600, "line 2"),
        ("content-length: 5", 0o600, "line 1"),
        ("X Y: s3cret", 0o600, "line 1"),
        ("Authorization:", 0o600, "line 1"),
        ("Authorization: s3cret\tx", 0o600, "line 1"),
        ("Authorization: s3crét", 0o600, "line 1"),
        ("x" * (OTLP_HEADER_FILE_BYTES_MAX + 1), 0o600, "bytes"),
    ],
)
def test_a_file_that_is_no_good_says_why_and_nothing_of_its_content(
    tmp_path: Path, text: str, mode: int, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        read_headers(secret_file(tmp_path, text, mode))
    assert "s3cr" not in str(raised.value) + raised.value.hint
    assert "chmod 600" in raised.value.hint


def test_a_file_that_is_not_there_or_somebody_elses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_headers(tmp_path / "none")
    path = secret_file(tmp_path)
    if os.geteuid() == 0:
        os.chown(path, 12_345, -1)
    with pytest.raises(ConfigError, match="by others"):
        read_headers(path, own_uid=lambda: path.stat().st_uid + 1)
