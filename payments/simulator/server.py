"""A threaded HTTP/1.1 server for the simulator's site.

One thread per connection: hundreds of slow answers wait beside each other.
"""

from __future__ import annotations

import os
import socket
import socketserver
import struct
from typing import Any, cast
from wsgiref.headers import Headers
from wsgiref.types import WSGIApplication

from django.core.servers.basehttp import (
    ServerHandler,
    ThreadedWSGIServer,
    WSGIRequestHandler,
)

from payments.simulator.answers import HANG_UP


class Server(ThreadedWSGIServer):
    """Listens with a queue long enough for a burst of clients."""

    request_queue_size = 1024

    def server_bind(self) -> None:
        # The base class asks the name service for the host's name; it may be slow.
        socketserver.TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = int(self.server_address[1])
        self.setup_environ()


class Exchange(ServerHandler):
    """One request and its answer, or no answer."""

    headers: Headers
    result: Any
    request_handler: RequestHandler

    def finish_response(self) -> None:
        if HANG_UP not in self.headers:
            super().finish_response()
            return
        if hasattr(self.result, "close"):
            self.result.close()
        self.request_handler.hang_up()


class RequestHandler(WSGIRequestHandler):
    """Serves one connection, quietly."""

    server: Server

    # Headers and body go out in two writes; Nagle would hold back the second.
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(65537)
        except OSError:
            self.close_connection = True
            return
        if len(self.raw_requestline) > 65536:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
            return
        if not self.parse_request():
            return
        exchange = Exchange(
            self.rfile, self.wfile, self.get_stderr(), self.get_environ()
        )
        exchange.request_handler = self
        application = self.server.get_app()
        assert application is not None  # make_server() set it
        exchange.run(application)

    def hang_up(self) -> None:
        """Reset the connection: nothing of an answer reaches the client."""
        self.close_connection = True
        no_linger = struct.pack("ii", 1, 0)
        connection = cast("socket.socket", self.connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_linger)
        # The files of the connection hold it open, so close() would only close later.
        os.close(connection.detach())

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what matters is in the journal."""


def make_server(application: WSGIApplication, *, host: str, port: int) -> Server:
    """Return a bound server; port 0 takes a free one."""
    server = Server((host, port), RequestHandler)
    server.set_app(application)
    return server
