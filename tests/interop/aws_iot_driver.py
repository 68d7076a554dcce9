"""AWS IoT's device SDK, unmodified, behind JSON lines; run in the virtual environment of tests/interop/aws_iot.py.

The first line of standard input says where and how to connect ({host, port, ca_file, certificate, key, thing, mqtt: 3 or 5}); each further
line is one call: {"do": name, …}. Each is answered by one line: {"ok": what the SDK understood} or {"error": …}.
What is said to the device unasked is kept and given out by {"do": "heard", "count": n}.
"""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import queue
import sys
import time
from datetime import datetime
from typing import Any

import awsiot
from awscrt import io, mqtt, mqtt5, mqtt_request_response
from awsiot import iotjobs, iotshadow, mqtt5_client_builder, mqtt_connection_builder

DEADLINE_S = 60.0


def plain(value: Any) -> Any:
    """A model of the SDK as JSON's types; members that are None are left out."""
    if isinstance(value, awsiot.ModeledClass):
        members = {name: plain(getattr(value, name, None)) for name in value.__slots__}
        return {
            name: member
            for name, member in members.items()
            if member is not None and not name.endswith("_is_nullable")
        }
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value


class Device:
    """A thing that is connected."""

    def __init__(self, where: dict[str, Any]) -> None:
        self._thing = where["thing"]
        self._heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        self._streams: list[Any] = []
        self._blocks: dict[int, bytes] = {}
        self._data: queue.Queue[dict[str, Any]] = queue.Queue()
        tls: dict[str, Any] = {
            "cert_filepath": where["certificate"],
            "pri_key_filepath": where["key"],
            "ca_filepath": where["ca_file"],
            "endpoint": where["host"],
            "port": where["port"],
            "client_id": self._thing,
        }
        self._connection = self._connect(where["mqtt"], tls)
        options = mqtt_request_response.ClientOptions(
            max_request_response_subscriptions=8,
            max_streaming_subscriptions=8,
            operation_timeout_in_seconds=10,
        )
        self._shadow = iotshadow.IotShadowClientV2(self._connection, options)
        self._jobs = iotjobs.IotJobsClientV2(self._connection, options)

    def _connect(self, version: int, tls: dict[str, Any]) -> Any:
        if version == 3:
            connection = mqtt_connection_builder.mtls_from_path(
                **tls, clean_session=True, keep_alive_secs=30, reconnect_min_timeout_secs=1
            )
            connection.on_message(lambda topic, payload, **_more: self._take(topic, payload))
            connection.connect().result(DEADLINE_S)
            return connection
        connected: concurrent.futures.Future[None] = concurrent.futures.Future()

        def succeeded(_data: Any) -> None:
            if not connected.done():
                connected.set_result(None)

        def failed(data: Any) -> None:
            if not connected.done():
                connected.set_exception(data.exception)

        client = mqtt5_client_builder.mtls_from_path(
            **tls,
            min_reconnect_delay_ms=200,
            max_reconnect_delay_ms=1000,
            on_publish_received=lambda data: self._take(
                data.publish_packet.topic, data.publish_packet.payload
            ),
            on_lifecycle_connection_success=succeeded,
            on_lifecycle_connection_failure=failed,
        )
        client.start()
        connected.result(DEADLINE_S)
        return client

    def do(self, call: dict[str, Any]) -> Any:
        """Carry out one call; returns what the SDK understood of the answer."""
        name = call.pop("do")
        return getattr(self, f"_do_{name}")(**call)

    # --- twins ------------------------------------------------------------------------------------------------

    def _do_get_shadow(self, shadow: str = "") -> Any:
        if shadow:
            return self._shadow.get_named_shadow(
                iotshadow.GetNamedShadowRequest(thing_name=self._thing, shadow_name=shadow)
            )
        return self._shadow.get_shadow(iotshadow.GetShadowRequest(thing_name=self._thing))

    def _do_update_shadow(self, state: dict[str, Any], shadow: str = "", version: int | None = None) -> Any:
        fields = {
            "thing_name": self._thing,
            "version": version,
            "state": iotshadow.ShadowState(
                desired=state.get("desired"),
                reported=state.get("reported"),
                desired_is_nullable="desired" in state,
                reported_is_nullable="reported" in state,
            ),
        }
        if shadow:
            request = iotshadow.UpdateNamedShadowRequest(shadow_name=shadow, **fields)
            return self._shadow.update_named_shadow(request)
        return self._shadow.update_shadow(iotshadow.UpdateShadowRequest(**fields))

    def _do_delete_shadow(self, shadow: str) -> Any:
        request = iotshadow.DeleteNamedShadowRequest(thing_name=self._thing, shadow_name=shadow)
        return self._shadow.delete_named_shadow(request)

    def _do_listen_delta(self) -> Any:
        return self._listen(
            "delta",
            lambda options: self._shadow.create_shadow_delta_updated_stream(
                iotshadow.ShadowDeltaUpdatedSubscriptionRequest(thing_name=self._thing), options
            ),
        )

    # --- jobs -------------------------------------------------------------------------------------------------

    def _do_pending(self) -> Any:
        request = iotjobs.GetPendingJobExecutionsRequest(thing_name=self._thing)
        return self._jobs.get_pending_job_executions(request)

    def _do_start_next(self, details: dict[str, str] | None = None) -> Any:
        request = iotjobs.StartNextPendingJobExecutionRequest(thing_name=self._thing, status_details=details)
        return self._jobs.start_next_pending_job_execution(request)

    def _do_describe(self, job: str) -> Any:
        request = iotjobs.DescribeJobExecutionRequest(
            thing_name=self._thing, job_id=job, include_job_document=True
        )
        return self._jobs.describe_job_execution(request)

    def _do_update_job(
        self, job: str, status: str, version: int | None = None, details: dict[str, str] | None = None
    ) -> Any:
        request = iotjobs.UpdateJobExecutionRequest(
            thing_name=self._thing,
            job_id=job,
            status=status,
            expected_version=version,
            status_details=details,
            include_job_execution_state=True,
            include_job_document=True,
        )
        return self._jobs.update_job_execution(request)

    def _do_listen_next_job(self) -> Any:
        return self._listen(
            "next_job",
            lambda options: self._jobs.create_next_job_execution_changed_stream(
                iotjobs.NextJobExecutionChangedSubscriptionRequest(thing_name=self._thing), options
            ),
        )

    # --- both -------------------------------------------------------------------------------------------------

    def _do_publish(self, topic: str, payload: dict[str, Any]) -> Any:
        data = json.dumps(payload)
        if isinstance(self._connection, mqtt.Connection):
            return self._connection.publish(topic, data, mqtt.QoS.AT_LEAST_ONCE)[0].result(DEADLINE_S) and {}
        packet = mqtt5.PublishPacket(topic=topic, payload=data, qos=mqtt5.QoS.AT_LEAST_ONCE)
        done = self._connection.publish(packet).result(DEADLINE_S)
        return {"reason": int(done.puback.reason_code)}

    def _do_download(self, stream: str, size: int, block: int, until: int | None = None) -> Any:
        """Get the blocks of a stream that are missing, `until` so many are there; what does not come in time is asked for again."""
        count, end_s = -(-size // block), time.monotonic() + DEADLINE_S
        while len(self._blocks) < (count if until is None else until):
            assert time.monotonic() < end_s, "the blocks did not come"
            missing = min(set(range(count)) - self._blocks.keys())
            asked = {"c": "t", "f": 0, "l": block, "o": missing, "n": 1}
            self._do_publish(f"$aws/things/{self._thing}/streams/{stream}/get/json", asked)
            try:
                data = self._data.get(timeout=2)
                self._blocks[data["i"]] = base64.b64decode(data["p"])
            except queue.Empty:
                continue
        whole = b"".join(self._blocks.get(index, b"") for index in range(count))
        return {"blocks": len(self._blocks), "sha256": hashlib.sha256(whole).hexdigest()}

    def _take(self, topic: str, payload: bytes) -> None:
        """A message that no subscription is needed for."""
        if topic.endswith("/data/json"):
            self._data.put(json.loads(payload))

    def _do_heard(self, count: int) -> Any:
        return [self._heard.get(timeout=DEADLINE_S) for _ in range(count)]

    def _listen(self, name: str, create: Any) -> Any:
        """Have what comes kept; returns when the subscription stands."""
        stands: concurrent.futures.Future[dict[str, Any]] = concurrent.futures.Future()

        def status(event: Any) -> None:
            is_there = (
                event.type == mqtt_request_response.SubscriptionStatusEventType.SUBSCRIPTION_ESTABLISHED
            )
            if is_there and not stands.done():
                stands.set_result({})

        stream = create(
            awsiot.ServiceStreamOptions(
                incoming_event_listener=lambda event: self._heard.put((name, plain(event))),
                subscription_status_listener=status,
            )
        )
        self._streams.append(stream)
        stream.open()
        return stands


def main() -> None:
    """Answer until standard input ends."""
    device = Device(json.loads(sys.stdin.readline()))
    print(json.dumps({"ok": {}}), flush=True)
    for line in sys.stdin:
        try:
            found = device.do(json.loads(line))
            if isinstance(found, concurrent.futures.Future):
                found = plain(found.result(DEADLINE_S))
            answer = {"ok": found}
        except awsiot.V2ServiceException as error:
            answer = {"error": {"text": str(error.inner_error), **(plain(error.modeled_error) or {})}}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    io.init_logging(io.LogLevel.Error, "stderr")
    main()
