import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.dev_token import private_key, public_jwk, thumbprint
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import chat, gateway, gateway_config


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with gateway(gateway_config(tmp_path_factory.mktemp("home")), DoubleEngine()) as found:
        yield found


def claims(running, **changes):
    settings, now = running.config.gateway, int(time.time())
    usual = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": "client-1",
        "tenant": "north-clinic",
        "scope": "model:*",
        "exp": now + 60,
        "nbf": now,
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def signed(running, key=None, headers=None, **changes):
    known = issuers_key(running)
    headers = headers or {"kid": thumbprint(known)}
    return jwt.encode(claims(running, **changes), key or known, "RS256", headers)


def issuers_key(running):
    return private_key(Path(running.config.home) / "gateway" / "dev")


def asked(running, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.post(
        f"{running.url}/v1/chat/completions", json=chat("hello"), headers=headers, trust_env=False
    )


def unsigned(running):
    """alg=none: a token without a signature."""
    return jwt.encode(claims(running), None, "none", {"kid": thumbprint(issuers_key(running))})


def with_public_key_as_secret(running):
    """HS256 with the published key as the secret: the classic confusion. PyJWT refuses to make one."""
    key = issuers_key(running)
    secret = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    parts = [{"alg": "HS256", "typ": "JWT", "kid": thumbprint(key)}, claims(running)]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    signature = hmac.new(secret, text, hashlib.sha256).digest()
    return (text + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def stranger(running):
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    return signed(running, key, headers={"kid": thumbprint(key)})


def forged(running):
    """Another key under a known kid."""
    return signed(running, rsa.generate_private_key(public_exponent=65_537, key_size=2048))


BAD = {
    "no token": lambda r: None,
    "no JWT": lambda r: "hello",
    "alg=none": unsigned,
    "HS256 with the public key": with_public_key_as_secret,
    "unknown key": stranger,
    "known kid, another key": forged,
    "no kid": lambda r: signed(r, headers={"typ": "JWT"}),
    "expired": lambda r: signed(r, exp=int(time.time()) - 3600),
    "not valid yet": lambda r: signed(r, nbf=int(time.time()) + 3600),
    "never expires": lambda r: signed(r, exp=None),
    "wrong audience": lambda r: signed(r, aud="another-service"),
    "wrong issuer": lambda r: signed(r, iss="another-issuer"),
    "no tenant": lambda r: signed(r, tenant=None),
    "empty tenant": lambda r: signed(r, tenant=""),
    "tenant of a wrong type": lambda r: signed(r, tenant=["north-clinic"]),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_a_token_that_proves_nothing_is_refused(running, make):
    answer = asked(running, make(running))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"]["code"] == "invalid_token"


def test_a_good_token_is_answered(running):
    assert asked(running, signed(running)).json()["choices"][0]["message"]["content"] == "base hello"


def test_scopes_say_which_models(running):
    for scope, status in {
        "model:department-router": 200,
        "model:*": 200,
        "model:another": 404,
        "feedback": 404,
        "": 404,
    }.items():
        with running.client(scope=scope) as client:
            assert client.post("/v1/chat/completions", json=chat("hello")).status_code == status
            listed = client.get("/v1/models").json()["data"]
            assert [model["id"] for model in listed] == (["department-router"] if status == 200 else [])
            assert client.post("/predict", json={"text": "tooth"}).status_code == status


def test_feedback_needs_its_scope(running):
    with running.client(scope="model:*") as client:
        assert client.post("/v1/feedback", json={"request_id": "x", "rating": 1}).status_code == 403


@pytest.fixture
def issuer():
    """A real JWKS endpoint whose keys can be changed, and which can be broken."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked += 1
            self.send_response(503 if server.broken else 200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": server.keys}).encode())

        def log_message(self, *args):
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.broken, server.keys = 0, False, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_keys_from_a_url_rotate_and_survive_a_dead_issuer(issuer, home):
    url = f"http://127.0.0.1:{issuer.server_port}/jwks"
    old, new = (rsa.generate_private_key(public_exponent=65_537, key_size=2048) for _ in range(2))
    issuer.keys = [public_jwk(old)]
    config = gateway_config(home, jwks=url, jwks_ttl_s=1, jwks_retry_s=0.2)
    with gateway(config, DoubleEngine()) as running:

        def status(key):
            return asked(running, signed(running, key, headers={"kid": thumbprint(key)})).status_code

        assert [status(old) for _ in range(20)] == [200] * 20
        assert issuer.asked <= 3  # one, and renewals where the machine is slow
        assert status(new) == 401
        issuer.keys = [public_jwk(old), public_jwk(new)]
        time.sleep(0.25)
        assert (status(new), status(old)) == (200, 200)
        token, before, began = stranger(running), issuer.asked, time.monotonic()
        assert [asked(running, token).status_code for _ in range(20)] == [401] * 20
        assert issuer.asked - before <= 2 + (time.monotonic() - began) / 0.2  # nobody hammers the issuer
        issuer.broken = True
        time.sleep(1.1)
        assert [status(new) for _ in range(5)] == [200] * 5
        issuer.broken, issuer.keys = False, [public_jwk(new)]
        time.sleep(0.25)
        status(new)  # the old set is stale: this starts its renewal
        time.sleep(0.25)
        assert (status(new), status(old)) == (200, 401)
