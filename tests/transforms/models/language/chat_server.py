"""A stand-in for a server that speaks chat completions, which misbehaves when it is told to.

It answers a prompt with its last message in upper case, or passes it on to a real server. What it does to the requests
of one prompt, in their order, is a list of functions that take the handler; when the list is used up, it answers.

    server.misbehave("Anna", fail(500), hang)    # then answers
"""

import contextlib
import io
import json
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2


class ChatServer:
    """The server; `upstream` is the base URL of a real one that answers in its place."""

    def __init__(self, *, upstream="", port=0):
        self.requests = Counter()  # by prompt
        self.bodies = []
        self.headers = []
        self.paths = []
        self.starts = []
        self.most_at_once = 0
        self.closing = threading.Event()
        self._upstream = upstream
        self._at_once = 0
        self._lock = threading.Lock()
        self._plans = defaultdict(list)
        self._always = []
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._server.daemon_threads = True
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def misbehave(self, prompt, *actions):
        self._plans[prompt].extend(actions)

    def always(self, action):
        """What is done to every request; None for answering."""
        self._always = [action] if action else []

    def close(self):
        if not self.closing.is_set():
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def handle(self, handler, body):
        prompt = body["messages"][-1]["content"]
        with self._lock:
            self.requests[prompt] += 1
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.paths.append(handler.path)
            self.starts.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            plan = self._plans[prompt]
            action = plan.pop(0) if plan else (self._always or [self.answer])[0]
        try:
            action(handler, body)
        finally:
            with self._lock:
                self._at_once -= 1

    def answer(self, handler, body):
        if self._upstream:
            response = httpx2.post(f"{self._upstream}/chat/completions", json=body, timeout=120)
            reply(handler, response.status_code, response.content)
        else:
            reply(handler, 200, completion(body["messages"][-1]["content"].upper()))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        # A client that has given up or been killed is no fault of the server's.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.server.owner.handle(self, body)

    def log_message(self, *_):
        pass


def completion(text, *, finish="stop", log_probs=None, **message):
    """The body of an answer as such servers write it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    if log_probs is not None:
        choice["logprobs"] = {"content": log_probs}
    details = {"prompt_tokens_details": {"cached_tokens": 5}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10, **details}
    return json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def reply(handler, status, content=b"", **headers):
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def say(content):
    """Answers 200 with this body, whatever it is."""
    return lambda handler, body: reply(handler, 200, content)


def fail(status, *, code="", message="", **headers):
    """Answers with a status and an error."""
    content = json.dumps({"error": {"code": code or None, "type": "error", "message": message}}).encode()
    return lambda handler, body: reply(handler, status, content, **headers)


def hang(handler, body):
    """Says nothing until the server closes."""
    handler.server.owner.closing.wait(20)
    handler.close_connection = True


def drip(handler, body):
    """Sends a blank now and then, and never an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    while not handler.server.owner.closing.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()
    handler.close_connection = True


def cut_body(handler, body):
    """Breaks off in the middle of an answer."""
    content = completion("cut")
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[:40])
    handler.close_connection = True


def reset(handler, body):
    """Resets the connection in place of an answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.rfile.close()
    handler.wfile = io.BytesIO()  # The base class flushes it at the end.
    handler.connection.close()


def hold(until):
    """Answers only once an event is set."""

    def action(handler, body):
        until.wait(20)
        handler.server.owner.answer(handler, body)

    return action
