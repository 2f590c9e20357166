"""What a broker wants of its clients, and what clients have to show: certificates, passwords, tokens.

A secured broker has two ways in, both over TLS: one for passwords and tokens, one for those
with a certificate of its authority.
"""

import json
import shutil
import subprocess
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs

USER = "astray"
PASSWORD = "correct-horse-battery"
SCRAM_PASSWORD = "staple-of-another-kind"
KEY_PASSWORD = "opens-the-key-alone"
CLIENT_SECRET = "known-to-the-endpoint"
SCOPE = "kafka.astray"

_OPENSSL = shutil.which("openssl") or ""
_STORE = "changeit"
_MODULES = "org.apache.kafka.common.security"


def placed(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return options with their secrets in the environment, and that environment."""
    secrets = {key: value for key, value in options.items() if key.endswith(("password", "secret"))}
    names = {key: key.replace(".", "_").upper() for key in secrets}
    places = {key: f"env:{name}" for key, name in names.items()}
    return {**options, **places}, {names[key]: value for key, value in secrets.items()}


def _openssl(*arguments: object) -> None:
    subprocess.run([_OPENSSL, *map(str, arguments)], check=True, capture_output=True)


@dataclass(frozen=True)
class Certificates:
    """An authority, and what it has signed; all in a folder, made when first asked for."""

    folder: Path
    name: str = "authority"

    @property
    def certificate(self) -> Path:
        """What those trust who trust it."""
        return self.folder / f"{self.name}.pem"

    def signed(self, name: str) -> tuple[Path, Path]:
        """Return a certificate for this machine and its key, which a password opens."""
        self._authority()
        key, asked, found = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "crt"))
        extensions = self.folder / f"{name}.ext"
        extensions.write_text("subjectAltName=IP:127.0.0.1\n")
        _openssl(
            "req", "-newkey", "rsa:2048", "-keyout", key, "-passout", f"pass:{KEY_PASSWORD}",
            "-out", asked, "-subj", f"/CN={name}",
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", asked, "-CA", self.certificate, "-CAkey", self._key,
            "-CAcreateserial", "-days", 30, "-extfile", extensions, "-out", found,
        )  # fmt: skip
        return found, key

    @property
    def _key(self) -> Path:
        return self.folder / f"{self.name}.key"

    def _authority(self) -> None:
        if not self.certificate.exists():
            _openssl(
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 30, "-keyout", self._key,
                "-out", self.certificate, "-subj", f"/CN={self.name}",
            )  # fmt: skip


@dataclass(frozen=True)
class Security:
    """What a secured broker is configured with; `mutual_port` is the way in for certificates."""

    folder: Path
    mutual_port: int

    @cached_property
    def authority(self) -> Certificates:
        """Return who has signed the broker's certificate and the clients'."""
        return Certificates(self.folder)

    def properties(self) -> dict[str, str]:
        """Return the broker's side, with its certificate made."""
        found, key = self.authority.signed("broker")
        store = self.folder / "broker.p12"
        _openssl(
            "pkcs12", "-export", "-in", found, "-inkey", key, "-passin", f"pass:{KEY_PASSWORD}",
            "-out", store, "-passout", f"pass:{_STORE}",
        )  # fmt: skip
        plain = f'username="{USER}" password="{PASSWORD}" user_{USER}="{PASSWORD}"'
        logins = {
            "plain": f"{_MODULES}.plain.PlainLoginModule required {plain};",
            "scram-sha-512": f"{_MODULES}.scram.ScramLoginModule required;",
            "oauthbearer": f"{_MODULES}.oauthbearer.OAuthBearerLoginModule required "
            f'unsecuredLoginStringClaim_sub="broker" unsecuredValidatorRequiredScope="{SCOPE}";',
        }
        return {
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512,OAUTHBEARER",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            **{f"listener.name.clients.{name}.sasl.jaas.config": login for name, login in logins.items()},
            "ssl.keystore.location": str(store),
            "ssl.keystore.type": "PKCS12",
            "ssl.keystore.password": _STORE,
            "ssl.truststore.location": str(self.authority.certificate),
            "ssl.truststore.type": "PEM",
            "listener.name.mutual.ssl.client.auth": "required",
        }  # fmt: skip

    @property
    def users(self) -> tuple[str, ...]:
        """Return what the broker's disk is formatted with: passwords that are not in its files."""
        return "--add-scram", f"SCRAM-SHA-512=[name={USER},password={SCRAM_PASSWORD}]"

    def plain(self) -> dict[str, str]:
        """Return the options of a client with a password."""
        return self._sasl("PLAIN", sasl_username=USER, sasl_password=PASSWORD)

    def scram(self) -> dict[str, str]:
        """Return the options of a client with a password that it does not send."""
        return self._sasl("SCRAM-SHA-512", sasl_username=USER, sasl_password=SCRAM_PASSWORD)

    def oauth(self, endpoint: str) -> dict[str, str]:
        """Return the options of a client that asks an endpoint for its tokens."""
        return self._sasl(
            "OAUTHBEARER",
            sasl_oauthbearer_method="oidc",
            sasl_oauthbearer_client_id=USER,
            sasl_oauthbearer_client_secret=CLIENT_SECRET,
            sasl_oauthbearer_scope=SCOPE,
            sasl_oauthbearer_token_endpoint_url=endpoint,
        )

    def anonymous(self) -> dict[str, str]:
        """Return the options of a client that shows nothing."""
        return {"security.protocol": "SSL", "ssl.ca.location": str(self.authority.certificate)}

    def mutual(self, by: Certificates | None = None) -> dict[str, str]:
        """Return the options of a client with a certificate, of the authority or of another."""
        found, key = (by or self.authority).signed("client")
        return {
            **self.anonymous(),
            "ssl.certificate.location": str(found),
            "ssl.key.location": str(key),
            "ssl.key.password": KEY_PASSWORD,
        }

    def _sasl(self, mechanism: str, **more: str) -> dict[str, str]:
        return {
            **self.anonymous(),
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": mechanism,
            **{name.replace("_", "."): value for name, value in more.items()},
        }


class TokenEndpoint:
    """An OAuth 2 token endpoint on this machine; its tokens are what the broker takes unsigned.

    While `broken` it has an error for everybody. `given` counts tokens.
    """

    def __init__(self, lasts_s: float = 300.0) -> None:
        self.broken = threading.Event()
        self.given = 0
        self.lasts_s = lasts_s
        endpoint = self

        class Handler(_Handler):
            at = endpoint

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def answer(self, login: str, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        """Return the status and the body for a client that has said who it is."""
        if self.broken.is_set():
            return 503, {"error": "temporarily_unavailable"}
        if login != f"{USER}:{CLIENT_SECRET}":
            return 401, {"error": "invalid_client"}
        self.given += 1
        now_s = time.time()
        claims = {"sub": USER, "iat": now_s, "exp": now_s + self.lasts_s, "scope": form["scope"]}
        parts = ({"alg": "none", "typ": "JWT"}, claims)
        token = ".".join(
            urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts
        )
        return 200, {
            "access_token": f"{token}.",
            "token_type": "Bearer",
            "expires_in": self.lasts_s,
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    at: TokenEndpoint

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        login = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        status, said = self.at.answer(login, form)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""
