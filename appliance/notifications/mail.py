"""E-mail by a server of the site's own (SMTP submission), as plain text with one link.

The Message-ID is made of the idempotency key, so a server or reader that gets it twice can tell. Mails of one alarm's episode refer to a
common id, so readers show them together. Names from devices get into headers only through `email.message`, which encodes them, and
without what ends a line.

smtplib blocks, so it runs in a thread with a limiter. Every read and write has a time limit, and when the attempt's time is up its socket is shut
down, which ends the thread: a server that sends a byte now and then holds nothing.

Source: RFC 5321, RFC 5322, RFC 6409 (submission), RFC 3207 (STARTTLS), RFC 8314 (implicit TLS), RFC 3834 (automatic mail).
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import partial
from typing import Any, Final

import trio

from appliance.core.errors import HomeportError
from appliance.core.limits_notifications import (
    NOTIFICATION_CONNECT_TIMEOUT_S,
    NOTIFICATION_SENDING_COUNT_MAX,
)
from appliance.management.notification_body import Body, subject, text
from appliance.management.notification_targets import Email
from appliance.notifications.destinations import Destinations
from appliance.notifications.http_post import tls_context
from appliance.notifications.sent import Sent, line

_HELLO: Final = "homeport"
_NOT_ASCII: Final = "The user name or the password has other signs than ASCII, with which nobody can be signed in: change them."


class MailSender:
    """See the module's docstring."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._threads = trio.CapacityLimiter(NOTIFICATION_SENDING_COUNT_MAX)

    async def send(self, settings: Email, *, secret: bytes, body: Body, zone: tzinfo, now_ms: int) -> Sent:
        """One attempt; the caller bounds its time. What fails is in the outcome."""
        sockets: list[socket.socket] = []
        try:
            addresses = await self._destinations.addresses(settings.host, settings.port)
            context = await trio.to_thread.run_sync(tls_context, settings.ca_pem)
            message = message_of(settings, body, zone, now_ms)
            blocking = partial(_send, settings, secret.decode(), message, addresses, context, sockets)
            words = await trio.to_thread.run_sync(blocking, limiter=self._threads, abandon_on_cancel=True)
        except HomeportError as error:
            return Sent(is_sent=False, words=line(str(error)))
        except ssl.SSLCertVerificationError as error:
            return Sent(is_sent=False, words=line(f"Its certificate is not trusted: {error.verify_message}."))
        except smtplib.SMTPException as error:
            return Sent(is_sent=False, words=line(_words_of(error)), is_answer=_is_answer(error))
        except UnicodeError:
            # smtplib signs in with ASCII only. The error has the password in it.
            return Sent(is_sent=False, words=_NOT_ASCII)
        except OSError as error:
            return Sent(is_sent=False, words=line(f"The connection failed: {error}."))
        finally:
            for each in sockets:
                _shut_down(each)
        return Sent(is_sent=True, words=line(words), is_answer=True)


def message_of(settings: Email, body: Body, zone: tzinfo, now_ms: int) -> EmailMessage:
    """The mail that a notification is."""
    domain = settings.from_.rpartition("@")[2]
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.from_
    message["To"] = settings.to
    message["Subject"] = subject(body)
    message["Date"] = format_datetime(datetime.fromtimestamp(now_ms / 1000, UTC))
    message["Message-ID"] = message_id(body.key, domain)
    message["Auto-Submitted"] = "auto-generated"
    if body.alarm is not None:
        message["References"] = f"<{body.alarm.alarm_id}.{body.alarm.episode}@{domain}>"
    message.set_content(text(body, zone))
    return message


def message_id(key: str, domain: str) -> str:
    """The Message-ID of a notification."""
    return f"<{key}@{domain}>"


def _send(
    settings: Email,
    password: str,
    message: EmailMessage,
    addresses: Sequence[str],
    context: ssl.SSLContext,
    sockets: list[socket.socket],
) -> str:
    """Blocking; returns what the server said."""
    client: smtplib.SMTP
    if settings.security == "tls":
        client = _PinnedTls(addresses, sockets, settings, context)
    else:
        client = _Pinned(addresses, sockets, settings)
    with client:
        if settings.security == "starttls":
            client.starttls(context=context)
            sockets.append(client.sock)  # type: ignore[arg-type] # it has one: it is connected
        if settings.username:
            client.login(settings.username, password)
        client.ehlo_or_helo_if_needed()
        code, said = client.mail(settings.from_)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, said, settings.from_)
        code, said = client.rcpt(settings.to)
        if code not in (250, 251):
            raise smtplib.SMTPRecipientsRefused({settings.to: (code, said)})
        code, said = client.data(message.as_bytes())
        if code != 250:
            raise smtplib.SMTPDataError(code, said)
    return f"{settings.host} took it: {code} {said.decode('utf-8', 'replace')}"


class _Pinned(smtplib.SMTP):
    """Connects to the checked addresses and to no other."""

    def __init__(self, addresses: Sequence[str], sockets: list[socket.socket], settings: Email) -> None:
        self.addresses, self.sockets = addresses, sockets
        super().__init__(
            settings.host, settings.port, local_hostname=_HELLO, timeout=NOTIFICATION_CONNECT_TIMEOUT_S
        )

    def _get_socket(self, host: str, port: int, timeout_s: float) -> Any:
        last: OSError | None = None
        for address in self.addresses:
            try:
                made = socket.create_connection((address, port), NOTIFICATION_CONNECT_TIMEOUT_S)
            except OSError as error:
                last = error
                continue
            self.sockets.append(made)
            return made
        assert last is not None, "there is an address"
        raise last


class _PinnedTls(_Pinned):
    """The same with TLS from the first byte on."""

    def __init__(
        self,
        addresses: Sequence[str],
        sockets: list[socket.socket],
        settings: Email,
        context: ssl.SSLContext,
    ) -> None:
        self.context, self.server_name = context, settings.host
        super().__init__(addresses, sockets, settings)

    def _get_socket(self, host: str, port: int, timeout_s: float) -> Any:
        made = self.context.wrap_socket(
            super()._get_socket(host, port, timeout_s), server_hostname=self.server_name
        )
        self.sockets.append(made)
        return made


def _shut_down(made: socket.socket) -> None:
    try:
        made.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It is closed already, as it should be.


def _is_answer(error: smtplib.SMTPException) -> bool:
    return isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused)


def _words_of(error: smtplib.SMTPException) -> str:
    match error:
        case smtplib.SMTPAuthenticationError():
            return f"It refuses the user name or the password ({error.smtp_code})."
        case smtplib.SMTPRecipientsRefused():
            ((code, said),) = error.recipients.values()
            return f"It refuses the recipient: {code} {said.decode('utf-8', 'replace')}"
        case smtplib.SMTPNotSupportedError():
            return "It offers no STARTTLS, or no way to sign in; nothing is sent in clear instead."
        case smtplib.SMTPResponseException():
            refused = error.smtp_error
            words = refused if isinstance(refused, str) else refused.decode("utf-8", "replace")
            return f"It refuses the mail: {error.smtp_code} {words}"
        case _:
            return f"It does not speak SMTP as it should: {error}."
