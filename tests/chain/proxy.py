"""A real HTTP server in front of a real node, for tests in which what passes through is changed."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from ml.chain.anvil import HOST


class NodeProxy:
    """Passes every request on to the node at a port; a subclass says with what changes."""

    def __init__(self, port: int) -> None:
        self.port = port
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # header and body in one piece: two would wait for each other

            def do_POST(self) -> None:
                reply = proxy.respond(self.rfile.read(int(self.headers["Content-Length"])))
                if reply is None:
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def respond(self, body: bytes) -> bytes | None:
        """What to answer a request with; None to hang up."""
        return self.forward(body)

    def forward(self, body: bytes) -> bytes:
        """The node's own answer."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            return connection.getresponse().read()
        finally:
            connection.close()

    @property
    def url(self) -> str:
        """Where it is taken for a node."""
        return f"http://{HOST}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
