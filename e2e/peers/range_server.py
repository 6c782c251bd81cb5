"""Serves the files below a folder over HTTP/1.1 with byte ranges, as web seeds must: range_server.py HOST PORT FOLDER

One JSON line for each request.
"""

import json
import os
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = os.path.join(sys.argv[3], unquote(self.path).lstrip("/"))
        asked = self.headers.get("Range")
        if not os.path.isfile(path):
            self.answer(404, asked, b"")
            return
        size = os.path.getsize(path)
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        with open(path, "rb") as file:
            if span is None:
                self.answer(200, asked, file.read())
                return
            first = int(span[1])
            last = min(int(span[2]) if span[2] else size - 1, size - 1)
            if first > last:
                self.answer(416, asked, b"", f"bytes */{size}")
                return
            file.seek(first)
            self.answer(206, asked, file.read(last - first + 1), f"bytes {first}-{last}/{size}")

    def answer(self, status, asked, body, content_range=None):
        print(json.dumps({"path": self.path, "range": asked, "status": status}), flush=True)
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
