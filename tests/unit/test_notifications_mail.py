"""Mail: sent to a server that nobody here wrote with smtplib, in clear, by STARTTLS and by TLS; what fails, in words."""

from __future__ import annotations

import ssl
from datetime import UTC
from pathlib import Path

import msgspec
import pytest
import trio

from appliance.management.notification_targets import Email
from appliance.notifications.destinations import Destinations
from appliance.notifications.mail import MailSender, message_id, message_of
from appliance.notifications.sent import Sent
from tests.pki_kit import Authority
from tests.smtp_receiver import SmtpReceiver
from tests.unit.test_management_notification_body import ALARM, body

NOW_MS = 1_772_000_000_000


def settings(port: int, **changes: object) -> Email:
    made = Email(to="anna@example.org", from_="box@example.net", host="localhost", port=port, security="none")
    return msgspec.structs.replace(made, **changes)


async def send(email: Email, secret: bytes = b"") -> Sent:
    sender = MailSender(Destinations(own_ports=(), own_addresses=tuple))
    with trio.fail_after(60):
        return await sender.send(email, secret=secret, body=body(), zone=UTC, now_ms=NOW_MS)


async def test_a_mail_arrives_with_its_key_and_one_link() -> None:
    with SmtpReceiver() as receiver:
        sent = await send(settings(receiver.port))
        assert sent.is_sent, sent.words
        assert "250 taken" in sent.words
        (mail,) = receiver.mails
        assert (mail.sender, mail.recipient) == ("box@example.net", "anna@example.org")
        message = mail.message
        assert message["Message-ID"] == message_id("k", "example.net")
        assert message["Subject"] == "Plant: [P1] Pump in the cellar celsius: Too hot"
        assert message["Auto-Submitted"] == "auto-generated"
        assert message["References"] == "<a1.1@example.net>"
        payload = message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert payload.decode().count("https://") == 1


def test_no_name_gets_into_the_headers() -> None:
    hostile = msgspec.structs.replace(
        ALARM, device_name="x\r\nBcc: evil@example.org\r\n\r\nhello", rule="\n.\n"
    )
    message = message_of(settings(25), body(alarm=hostile), UTC, NOW_MS)
    head, _, _ = message.as_bytes().partition(b"\r\n\r\n")
    assert b"\r\nBcc" not in head
    assert [name for name, _ in message.items()] == [
        "From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "References",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    ]  # fmt: skip


async def test_starttls_and_tls_with_a_password(tmp_path: Path) -> None:
    context, ca_pem = server_context(tmp_path)
    for is_implicit in (False, True):
        with SmtpReceiver(context=context, is_implicit=is_implicit, password="hunter2") as receiver:
            email = settings(
                receiver.port,
                security="tls" if is_implicit else "starttls",
                username="box",
                ca_pem=ca_pem,
            )
            sent = await send(email, b"hunter2")
            assert sent.is_sent, sent.words
            assert (receiver.mails[0].is_encrypted, receiver.mails[0].user) == (True, "box")
            sent = await send(email, b"wrong")
            assert not sent.is_sent
            assert sent.is_answer
            assert "refuses the user name or the password" in sent.words
            assert "wrong" not in sent.words
            sent = await send(msgspec.structs.replace(email, ca_pem=""), b"hunter2")
            assert "not trusted" in sent.words


def server_context(folder: Path) -> tuple[ssl.SSLContext, str]:
    """For localhost, and the authority that vouches for it."""
    authority = Authority(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.issue("localhost", server=True))
    return context, authority.path.read_text()


@pytest.mark.parametrize(
    ("replies", "says", "is_answer"),
    [
        ({"RCPT": "550 no such user"}, "refuses the recipient: 550 no such user", True),
        ({"MAIL": "451 later"}, "451 later", True),
        ({"DATA": "554 no"}, "refuses the mail: 554 no", True),
        ({"END": "552 too large"}, "refuses the mail: 552 too large", True),
        ({"EHLO": "500 what", "HELO": "500 what"}, "refuses the mail", True),
    ],
)
async def test_what_a_server_refuses(replies: dict[str, str], says: str, is_answer: bool) -> None:
    with SmtpReceiver(replies=replies) as receiver:
        sent = await send(settings(receiver.port))
        assert not sent.is_sent
        assert says in sent.words
        assert sent.is_answer is is_answer


async def test_a_password_that_smtp_can_t_say_is_an_outcome_and_no_end_of_the_node(tmp_path: Path) -> None:
    context, ca_pem = server_context(tmp_path)
    with SmtpReceiver(context=context, is_implicit=True, password="hunter2") as receiver:
        email = settings(receiver.port, security="tls", username="box", ca_pem=ca_pem)
        sent = await send(email, "hünter2".encode())
    assert not sent.is_sent
    assert "other signs than ASCII" in sent.words
    assert "hünter" not in sent.words


async def test_without_starttls_nothing_is_sent_in_clear() -> None:
    with SmtpReceiver() as receiver:
        sent = await send(settings(receiver.port, security="starttls"))
        assert "nothing is sent in clear" in sent.words
        assert receiver.mails == []


async def test_nobody_there() -> None:
    with SmtpReceiver() as receiver:
        port = receiver.port
    sent = await send(settings(port))
    assert (sent.is_sent, sent.is_answer) == (False, False)
    assert "connection failed" in sent.words
    sent = await send(settings(25, host="no-such-host.invalid"))
    assert "no address" in sent.words


async def test_a_server_that_says_nothing_is_left() -> None:
    """The attempt's time is the caller's; the thread ends with it, because its socket is shut down."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:

        async def drip(stream: trio.SocketStream) -> None:
            await trio.sleep_forever()

        nursery.start_soon(trio.serve_listeners, drip, listeners)
        with trio.move_on_after(0.5) as scope:
            await send(settings(port))
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()
