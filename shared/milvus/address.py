"""The address of a Milvus server, from `--store`; its credentials and timeout, from the environment only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import SettingsError

EMBEDDED = "embedded"
"""Instead of an address: the vectors are in the snapshot."""

_EXPECTED = "embedded, milvus+http://HOST:19530, milvus+https://HOST:19530 or milvus+file:///PATH/NAME.db"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True)
class MilvusAddress:
    """A Milvus server, or file of Milvus Lite, with a database and a name for collections.

    Attributes:
        text: as given, without credentials.
        uri: for pymilvus: a URL, or the path of a file of Milvus Lite.
        name: of the alias; the prefix of the names of collections.
        database: empty for the default.
    """

    text: str
    uri: str
    name: str = "parecido"
    database: str = ""

    @classmethod
    def parse(cls, text: str) -> "MilvusAddress":
        """Parse `milvus+http://HOST:PORT`, `milvus+https://…` or `milvus+file:///PATH.db`.

        `?name=…&database=…` may follow.

        Raises:
            SettingsError: it is not a valid address, or contains credentials.
        """
        try:
            parts = urlsplit(text)
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            port = parts.port
        except ValueError as error:
            raise SettingsError(f"--store is {text!r}: {error}; expected {_EXPECTED}") from error
        if parts.username is not None or parts.password is not None:
            raise SettingsError(
                "--store contains credentials; expected an address only: set PARECIDO_MILVUS_USER and"
                " PARECIDO_MILVUS_PASSWORD, or PARECIDO_MILVUS_TOKEN"
            )
        name, database = given.pop("name", "parecido"), given.pop("database", "")
        if given or parts.fragment:
            raise SettingsError(f"--store is {text!r}; expected nothing after the address but ?name=… and &database=…")
        for key, value in (("name", name), ("database", database)):
            if (value and not _NAME.fullmatch(value)) or (key == "name" and not value):
                raise SettingsError(
                    f"--store has the {key} {value!r}; expected letters, digits and _, beginning with a letter or _"
                )
        if parts.scheme == "milvus+file" and not parts.netloc and parts.path.endswith(".db"):
            return cls(text, unquote(parts.path), name, database)
        if parts.scheme in ("milvus+http", "milvus+https") and parts.hostname and parts.path in ("", "/"):
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return cls(text, f"{parts.scheme.removeprefix('milvus+')}://{host}:{port or 19530}", name, database)
        raise SettingsError(f"--store is {text!r}; expected {_EXPECTED}")

    @property
    def is_file(self) -> bool:
        """True for a file of Milvus Lite, which one process at a time may open."""
        return not self.uri.startswith("http")

    def collection(self, snapshot_id: str) -> str:
        """The name of the collection of a snapshot."""
        return f"{self.name}_{collection_part(snapshot_id)}"


@dataclass(frozen=True)
class MilvusAccess:
    """Milvus credentials, TLS settings and timeout; never written or logged.

    Attributes:
        user: name of the user.
        password: of the user.
        token: instead of user and password.
        ca_file: certificates to verify the server's, in PEM; None for those of gRPC.
        server_name: the name in the server's certificate, if it differs from the address's.
        timeout_s: seconds that a call may take.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    server_name: str = ""
    timeout_s: float = 2.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], timeout_s: float = 2.0) -> "MilvusAccess":
        """Read the variables `PARECIDO_MILVUS_…`."""
        values = {
            name: environment.get(f"PARECIDO_MILVUS_{name.upper()}", "").strip()
            for name in ("user", "password", "token", "ca_file", "server_name")
        }
        ca_file = Path(values["ca_file"]) if values["ca_file"] else None
        return cls(values["user"], values["password"], values["token"], ca_file, values["server_name"], timeout_s)


def collection_part(snapshot_id: str) -> str:
    """A snapshot's id in the name of its collection."""
    return re.sub(r"[^A-Za-z0-9]", "_", snapshot_id)
