"""A real mail server that alerts are sent to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller

from tests.serving_support import free_port


class Mailbox:
    """Keeps what it is sent, and is full for as long as it is told to be."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.is_full = False
        self.refused = 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Answer to the end of a mail."""
        if self.is_full:
            self.refused += 1
            return "452 Requested action not taken: insufficient system storage"
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[tuple[Mailbox, str]]:
    """Yield a mailbox with its Apprise URL."""
    mailbox = Mailbox()
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mailbox, f"mailto://127.0.0.1:{port}/?from=airflow@example.com&to=on-call@example.com&mode=insecure"
    finally:
        controller.stop()
