import base64
import concurrent.futures
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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from gateway import dev_token
from gateway.dev_token import private_key, public_jwk, thumbprint
from gateway.http.issuer_keys import usable_keys
from tests.support.double_engine import DoubleEngine
from tests.support.gateways import chat, gateway, gateway_config, until
from tests.support.journal import journal_rows

SOME_KEY = rsa.generate_private_key(public_exponent=65_537, key_size=2048)


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
    headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
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


def encoded(part):
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def with_payload(running, payload):
    """A token of the issuer over any bytes. PyJWT checks the claims that it signs."""
    key = issuers_key(running)
    head = json.dumps({"alg": "RS256", "typ": "JWT", "kid": thumbprint(key)}).encode()
    text = f"{encoded(head)}.{encoded(payload)}"
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{encoded(signature)}"


def with_claims(running, **changes):
    return with_payload(running, json.dumps(claims(running, **changes)).encode())


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
    "a tenant without end": lambda r: signed(r, tenant="x" * 201),
    "half a character as tenant": lambda r: signed(r, tenant="\ud800"),
    "empty client": lambda r: signed(r, sub=""),
    "client without end": lambda r: signed(r, sub="x" * 201),
    "half a character as client": lambda r: signed(r, sub="\udfff"),
    "client of a wrong type": lambda r: with_claims(r, sub=7),
    "scope of a wrong type": lambda r: signed(r, scope=["model:*"]),
    "states users, as text": lambda r: signed(r, states_users="true"),
    "states users, as a number": lambda r: signed(r, states_users=1),
    "expires never, as a number": lambda r: with_claims(r, exp=float("inf")),
    "expires at no number": lambda r: with_claims(r, exp=float("nan")),
    "expires at a list": lambda r: with_claims(r, exp=[]),
    "expires at a text": lambda r: with_claims(r, exp="soon"),
    "starts at an object": lambda r: with_claims(r, nbf={}),
    "audience of numbers": lambda r: with_claims(r, aud=[1, None]),
    "issuer of a wrong type": lambda r: with_claims(r, iss={"a": 1}),
    "claims that are a list": lambda r: with_payload(r, b"[]"),
    "claims that are no JSON": lambda r: with_payload(r, b"hello"),
    "claims nested deeply": lambda r: with_payload(r, b"[" * 5_000),
    "a header nested deeply": lambda r: encoded(b"[" * 5_000) + ".e30.eA",
    "a header that is a list": lambda r: encoded(b"[]") + ".e30.eA",
    "a kid of a wrong type": lambda r: encoded(b'{"alg":"RS256","kid":[1]}') + ".e30.eA",
    "a kid of half a character": lambda r: encoded(b'{"alg":"RS256","kid":"\\ud800"}') + ".e30.eA",
    "dots": lambda r: "." * 2_000,
    "no ASCII": lambda r: "\u00e9",
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


def test_only_a_trusted_client_states_who_asks(running):
    """The person is whom the traffic split and the evidence count: not whom any client invents."""
    subjects = {}
    for states_users in (True, False):
        with running.client(client="front-end", states_users=states_users) as client:
            for fields in ({"user": "p-7"}, {"safety_identifier": "p-8"}, {"user": ""}, {}):
                answer = client.post("/v1/chat/completions", json=chat("who asks?", **fields))
                subjects[answer.json()["id"]] = (
                    fields.get("user") or fields.get("safety_identifier"),
                    states_users,
                )
            answer = client.post("/predict", json={"text": "who asks?", "user": "p-7"})
            subjects[answer.json()["request_id"]] = "p-7", states_users
    until(lambda: {*subjects} <= {row["request_id"] for row in journal_rows(running.config.home)})
    for row in journal_rows(running.config.home):
        if row["request_id"] in subjects:
            stated, is_trusted = subjects[row["request_id"]]
            assert row["subject_id"] == (stated if is_trusted and stated else "front-end")


def test_the_issuer_of_one_machine_states_users_only_if_told(home, capsys, monkeypatch):
    claims = []
    for options in ([], ["--states-users", "--client", "front-end"]):
        monkeypatch.setattr("sys.argv", ["dev_token", "--home", str(home), *options])
        dev_token.main()
        token = capsys.readouterr().out.strip()
        claims.append(jwt.decode(token, options={"verify_signature": False}))
    assert [(one["sub"], one["states_users"]) for one in claims] == [("dev", False), ("front-end", True)]


@pytest.fixture
def issuer():
    """A real JWKS endpoint whose keys can be changed, and which can be broken."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked += 1
            self.send_response(503 if server.broken else 200)
            self.end_headers()
            server.hang.wait(20)
            self.wfile.write(server.body or json.dumps({"keys": server.keys}).encode())

        def log_message(self, *args):
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.broken, server.keys, server.body = 0, False, [], b""
    server.hang = threading.Event()
    server.hang.set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.hang.set()
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

        began = time.monotonic()
        assert [status(old) for _ in range(20)] == [200] * 20
        assert issuer.asked <= 2 + time.monotonic() - began  # one, and a renewal each second
        assert status(new) == 401
        issuer.keys = [public_jwk(old), public_jwk(new)]
        until(lambda: status(new) == 200)
        assert status(old) == 200
        token, before, began = stranger(running), issuer.asked, time.monotonic()
        assert [asked(running, token).status_code for _ in range(20)] == [401] * 20
        assert issuer.asked - before <= 2 + (time.monotonic() - began) / 0.2  # nobody hammers the issuer
        issuer.broken = True
        time.sleep(1.1)
        assert [status(new) for _ in range(5)] == [200] * 5
        issuer.broken, issuer.keys = False, [public_jwk(new)]
        until(lambda: status(old) == 401)  # the old set is stale: asking starts its renewal
        assert status(new) == 200


def new_key():
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


def of_key(running, key):
    return signed(running, key, headers={"kid": thumbprint(key)})


def test_a_hanging_issuer_delays_nobody_else(issuer, home):
    known, new = new_key(), new_key()
    issuer.keys = [public_jwk(known)]
    config = gateway_config(home, jwks=f"http://127.0.0.1:{issuer.server_port}/", jwks_retry_s=0.2)
    with gateway(config, DoubleEngine()) as running:
        assert asked(running, of_key(running, known)).status_code == 200
        time.sleep(0.25)
        issuer.hang.clear()
        issuer.keys.append(public_jwk(new))
        before = issuer.asked
        with concurrent.futures.ThreadPoolExecutor(32) as pool:
            unknown = [pool.submit(asked, running, of_key(running, new)) for _ in range(30)]
            time.sleep(0.1)
            began = time.monotonic()
            assert asked(running, of_key(running, known)).status_code == 200
            assert time.monotonic() - began < 0.5
            answers = [one.result() for one in unknown]
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["error"]["code"] for answer in answers} == {"keys_unavailable"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers)
        assert max(answer.elapsed.total_seconds() for answer in answers) < 3
        assert issuer.asked == before + 1  # one reading for all
        issuer.hang.set()
        until(lambda: asked(running, of_key(running, new)).status_code == 200)


LATER = {"kty": "RSA", "use": "sig", "alg": "RS256"}
BAD_KEYS = {
    "no object": 5,
    "no type": {"kid": "a"},
    "a number as modulus": LATER | {"kid": "a", "n": 5, "e": "AQAB"},
    "no base64": LATER | {"kid": "a", "n": "\u00e9", "e": "AQAB"},
    "no modulus": LATER | {"kid": "a", "e": "AQAB"},
    "an exponent of zero": LATER | {"kid": "a", "n": "AQAB", "e": ""},
    "an unknown type": {"kty": "XYZ", "kid": "a"},
    "a secret": {"kty": "oct", "kid": "a", "k": "c2VjcmV0"},
    "another algorithm": LATER | {"kid": "a", "alg": "ES256", "n": "AQAB", "e": "AQAB"},
    "a kid that is a list": LATER | {"kid": ["a"], "n": "AQAB", "e": "AQAB"},
    "operations of a wrong type": LATER | {"kid": "a", "n": "AQAB", "e": "AQAB", "key_ops": 5},
}


@pytest.mark.parametrize("bad", BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_bad_key_does_not_lose_the_good_ones(bad):
    good = public_jwk(SOME_KEY)
    assert {*usable_keys(json.dumps({"keys": [bad, good, bad]}).encode())} == {good["kid"]}


BAD_SETS = {
    "no JSON": b"<html>",
    "a list": b"[]",
    "no keys": b"{}",
    "keys that are text": b'{"keys": "x"}',
    "no usable key": b'{"keys": [{"kty": "oct"}]}',
    "nested deeply": b"[" * 100_000,
}


@pytest.mark.parametrize("body", BAD_SETS.values(), ids=BAD_SETS.keys())
def test_a_set_without_keys_is_an_error(body):
    with pytest.raises((ValueError, RecursionError)):
        usable_keys(body)


def test_keys_that_cannot_be_read_are_no_answer(issuer, home):
    issuer.keys = [public_jwk(SOME_KEY)]
    config = gateway_config(home, jwks=f"http://127.0.0.1:{issuer.server_port}/", jwks_retry_s=0.01)
    with gateway(config, DoubleEngine()) as running:
        assert asked(running, of_key(running, SOME_KEY)).status_code == 200
        for issuer.body in (b"<html>", b"[" * 100_000, b" " * 1_000_001):
            time.sleep(0.05)
            assert asked(running, stranger(running)).status_code == 503
            assert asked(running, of_key(running, SOME_KEY)).status_code == 200


def test_a_redirect_to_other_keys_is_not_followed(issuer, home):
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{issuer.server_port}/")
            self.end_headers()

        def log_message(self, *args):
            """Quiet."""

    issuer.keys = [public_jwk(SOME_KEY)]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = gateway_config(home, jwks=f"http://127.0.0.1:{server.server_port}/")
        with gateway(config, DoubleEngine()) as running:
            assert asked(running, of_key(running, SOME_KEY)).status_code == 503
        server.shutdown()
    assert issuer.asked == 0
