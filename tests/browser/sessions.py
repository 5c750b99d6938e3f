"""Sessions of the console without a browser: what somebody who is logged in does by the API."""

import http.client
import json
from typing import Any

from tests.browser.servers import PASSWORDS
from tests.program import Program

__all__ = ["call_as", "log_in", "post"]

Answer = tuple[int, dict[str, Any]]


def post(server: Program, path: str, body: Any, token: str = "") -> Answer:
    """Return the status and the answer of a call at a path."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        fields = {"authorization": f"Bearer {token}"} if token else {}
        connection.request("POST", path, json.dumps(body), fields)
        response = connection.getresponse()
        told: dict[str, Any] = json.loads(response.read())
    finally:
        connection.close()
    return response.status, told


def log_in(server: Program, name: str) -> str:
    """Return the token of somebody who logs in."""
    status, told = post(server, "/console/login", {"name": name, "password": PASSWORDS[name]})
    assert status == 200, told
    token: str = told["token"]
    return token


def call_as(server: Program, token: str, method: str, /, **request: Any) -> dict[str, Any]:
    """Call the server API with a token of the console, and return its whole answer."""
    return post(server, f"/api/{method}", request, token)[1]
