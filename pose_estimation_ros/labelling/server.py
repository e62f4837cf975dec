"""Serve the page of `pose_label` to a browser on this machine, and nobody else."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pose_estimation_ros.labelling.session import LabelSession, UnknownError

HOST = "127.0.0.1"
_PAGE = Path(__file__).with_name("page")
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}  # of the page's files
_LARGEST_BYTES = 1_000_000  # of a request


class LabelServer(ThreadingHTTPServer):
    """Answers a page's requests from a session.

    Args:
        session: what is labelled.
        port: of 127.0.0.1; 0 takes a free one.

    Raises:
        OSError: if the port is taken.
    """

    daemon_threads = True

    def __init__(self, session: LabelSession, port: int) -> None:
        self.session = session
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise OSError(f"--port {port}: {error.strerror}; expected a free one, or 0 for any") from error

    @property
    def address(self) -> str:
        """What to open in a browser."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: LabelServer  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Send the page, photographs, pictures and states."""
        url = urlsplit(self.path)
        self._answer(lambda: self._get([unquote(part) for part in url.path.split("/")[1:]], dict(parse_qsl(url.query))))

    def do_POST(self) -> None:
        """Work on the objects of a photograph."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent: a page asks all the time."""

    def _answer(self, find: Callable[[], tuple[str, bytes]]) -> None:
        try:
            # Pages of other sites may send requests here too, by names that lead to this address.
            if self.headers.get("Host") not in [f"{name}:{self.server.server_port}" for name in (HOST, "localhost")]:
                raise PermissionError(f"expected {self.server.address}")
            kind, content = find()
        except UnknownError as error:
            self._send(HTTPStatus.NOT_FOUND, *_json({"error": str(error)}))
        except PermissionError as error:
            self.close_connection = True  # what else was sent is not read
            self._send(HTTPStatus.FORBIDDEN, *_json({"error": str(error)}))
        except (KeyError, TypeError, ValueError, OSError) as error:
            missing = f"{error} missing" if isinstance(error, KeyError) else str(error)
            self._send(HTTPStatus.BAD_REQUEST, *_json({"error": missing}))
        except Exception as error:  # such as of OpenCV, or memory that ran out: the page tells, and goes on
            traceback.print_exc(file=sys.stderr)
            self._send(HTTPStatus.INTERNAL_SERVER_ERROR, *_json({"error": f"{type(error).__name__}: {error}"}))
        else:
            self._send(HTTPStatus.OK, kind, content)

    def _get(self, path: list[str], query: dict[str, str]) -> tuple[str, bytes]:
        session = self.server.session
        match path:
            case [""]:
                return _file("index.html")
            case ["page", name]:
                return _file(name)
            case ["api", "photos"]:
                return _json(session.overview())
            case ["api", "photos", number]:
                return _json(session.photo(int(number)))
            case ["api", "photos", number, "picture"]:
                return "image/jpeg", session.picture(int(number))
            case ["api", "objects", name, "mesh"]:
                return _json(session.mesh(name))
            case ["api", "objects", name, "view"]:
                return "image/png", session.view(name, float(query["azimuth"]), float(query["elevation"]))
        raise UnknownError(f"{self.path}: nothing there")

    def _post(self) -> tuple[str, bytes]:
        size = int(self.headers.get("Content-Length", 0))
        if size > _LARGEST_BYTES:
            self.close_connection = True
            raise ValueError(f"a request of {size} bytes: expected at most {_LARGEST_BYTES}")
        body = self.rfile.read(size)
        if self.headers.get_content_type() != "application/json":  # forms of other sites cannot send that
            raise PermissionError("expected application/json")
        asked, session = json.loads(body), self.server.session
        match self.path.split("/")[1:]:
            case ["api", "photos", number, "check"]:
                return _json(session.check(int(number), asked["objects"]))
            case ["api", "photos", number, "refine"]:
                return _json(session.refine(int(number), asked["objects"], asked["rows"]))
            case ["api", "photos", number, "find"]:
                return _json(session.find(int(number)))
            case ["api", "photos", number, "points"]:
                return _json(session.pose_from_points(int(number), asked["object"], asked["pairs"]))
            case ["api", "photos", number, "save"]:
                return _json(session.save(int(number), asked["objects"]))
        raise UnknownError(f"{self.path}: nothing there")

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self'")
        self.end_headers()
        self.wfile.write(content)


def _file(name: str) -> tuple[str, bytes]:
    """Return a file of the page; only those that it has."""
    files = {path.name: path for path in _PAGE.iterdir() if path.suffix in _TYPES}
    if name not in files:
        raise UnknownError(f"page/{name}: nothing there")
    return f"{_TYPES[files[name].suffix]}; charset=utf-8", files[name].read_bytes()


def _json(content: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(content).encode()
