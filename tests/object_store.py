"""A small object store over HTTP, with the part of the S3 protocol that a dataset needs."""

import re
import threading
from contextlib import contextmanager
from email.utils import formatdate
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

ENTRY = "<Contents><Key>{}</Key><Size>{}</Size><LastModified>{}</LastModified></Contents>"
FOLDER = "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>"
LIST = "<ListBucketResult><IsTruncated>false</IsTruncated>{}</ListBucketResult>"
MADE = "2026-11-27T12:00:00.000Z"


class ObjectStore(ThreadingHTTPServer):
    """Objects by bucket and key, as ``bucket/key``."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else an answer's content follows its head 40 ms later
    server: ObjectStore

    def name(self):
        return unquote(urlsplit(self.path).path).strip("/")

    def do_PUT(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.objects[self.name()] = content
        self.answer(200, headers={"ETag": tag(content)})

    def do_POST(self):  # several are deleted
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        keys = re.findall("<Key>(.*?)</Key>", content)
        for key in keys:
            self.server.objects.pop(f"{self.name()}/{unescape(key)}", None)
        deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self.answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def do_DELETE(self):
        self.server.objects.pop(self.name(), None)
        self.answer(204)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        asked = parse_qs(urlsplit(self.path).query)
        if "list-type" in asked:
            listing = self.listing(asked.get("prefix", [""])[0], asked.get("delimiter", [""])[0])
            return self.answer(200, LIST.format(listing).encode())
        content = self.server.objects.get(self.name())
        if content is None:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        headers = {"ETag": tag(content), "Last-Modified": formatdate(usegmt=True)}
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first and not last:
            return self.answer(200, content, headers)
        start = int(first) if first else max(0, len(content) - int(last))
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
        return self.answer(206, content[start:stop], headers)

    def listing(self, prefix, delimiter):
        bucket, found = self.name() + "/", []
        for name, content in sorted(self.server.objects.items()):
            key = name.removeprefix(bucket)
            if not name.startswith(bucket + prefix):
                continue
            folder, more, _ = key[len(prefix) :].partition(delimiter or "\0")
            if more:
                found.append(FOLDER.format(escape(prefix + folder + delimiter)))
            else:
                found.append(ENTRY.format(escape(key), len(content), MADE))
        return "".join(dict.fromkeys(found))

    def answer(self, status, content=b"", headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def tag(content):
    return f'"{md5(content).hexdigest()}"'


@contextmanager
def serving():
    """Serve an empty store until the block ends."""
    with ObjectStore() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
