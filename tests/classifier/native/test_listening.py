"""How the server listens."""

from __future__ import annotations

import socket

from include.classifier.native.server import Doors, listening


def test_an_answer_does_not_wait_for_its_client_to_acknowledge_the_first_part_of_it() -> None:
    with listening(Doors()) as (predictions, _), socket.create_connection(predictions.getsockname()):
        connection, _ = predictions.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
