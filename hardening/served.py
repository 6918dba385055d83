"""A server with a text that is another every time; its first line of output is its port.

It is a process of its own: a thread beside the commands could hold a lock while they fork.
"""

from __future__ import annotations

import contextlib
import http.server
from typing import Any


class _Serving(http.server.BaseHTTPRequestHandler):
    count = 0

    def do_GET(self) -> None:
        type(self).count += 1
        text = b"served %d\n" % self.count + b"word " * 200_000
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(text)

    def log_message(self, *given: Any) -> None:
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Serving)
    print(server.server_port, flush=True)
    server.serve_forever()
