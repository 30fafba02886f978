"""Where a Milvus is, and how one gets in: the first is told by `--store`, the second by the environment alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from shared.errors import SettingsError

EMBEDDED = "embedded"
"""The spelling of no Milvus: vectors lie in the snapshot."""

_WANTED = "embedded, milvus+http://HOST:19530, milvus+https://HOST:19530 or milvus+file:///PATH/NAME.db"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True)
class MilvusAddress:
    """A Milvus, a database in it, and a name there.

    Attributes:
        text: as it was given; it has no credentials.
        uri: as pymilvus takes it: a URL, or the path of a file of Milvus Lite.
        name: of the alias; what collections' names begin with.
        database: empty for the default one.
    """

    text: str
    uri: str
    name: str = "parecido"
    database: str = ""

    @classmethod
    def parse(cls, text: str) -> "MilvusAddress":
        """Read `milvus+http://HOST:PORT`, `milvus+https://…` or `milvus+file:///PATH.db`.

        `?name=…&database=…` may follow.

        Raises:
            SettingsError: it is none of these, or has credentials in it.
        """
        try:
            parts = urlsplit(text)
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
            port = parts.port
        except ValueError as error:
            raise SettingsError(f"--store is {text!r}: {error}; wanted {_WANTED}") from error
        if parts.username is not None or parts.password is not None:
            raise SettingsError(
                "--store has credentials in it; wanted an address alone: PARECIDO_MILVUS_USER and"
                " PARECIDO_MILVUS_PASSWORD, or PARECIDO_MILVUS_TOKEN, hold them"
            )
        name, database = given.pop("name", "parecido"), given.pop("database", "")
        if given or parts.fragment:
            raise SettingsError(f"--store is {text!r}: after the address come ?name=… and &database=… alone")
        for key, value in (("name", name), ("database", database)):
            if (value and not _NAME.fullmatch(value)) or (key == "name" and not value):
                raise SettingsError(f"--store has the {key} {value!r}; wanted letters, digits and _, a letter first")
        if parts.scheme == "milvus+file" and not parts.netloc and parts.path.endswith(".db"):
            return cls(text, unquote(parts.path), name, database)
        if parts.scheme in ("milvus+http", "milvus+https") and parts.hostname and parts.path in ("", "/"):
            host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            return cls(text, f"{parts.scheme.removeprefix('milvus+')}://{host}:{port or 19530}", name, database)
        raise SettingsError(f"--store is {text!r}; wanted {_WANTED}")

    @property
    def is_file(self) -> bool:
        """Whether it is a file of Milvus Lite, which one process at a time may open."""
        return not self.uri.startswith("http")

    def collection(self, snapshot_id: str) -> str:
        """The name of a snapshot's collection."""
        return f"{self.name}_{collection_part(snapshot_id)}"


@dataclass(frozen=True)
class MilvusAccess:
    """How one gets in, and how long to wait; nothing of it is ever written or logged.

    Attributes:
        user: a name.
        password: its password.
        token: in the place of both.
        ca_file: certificates to check the server's by, in PEM; None for those that gRPC brings along.
        server_name: that the server's certificate is for, where it is another than the address's.
        timeout_s: seconds that a question may take.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    server_name: str = ""
    timeout_s: float = 2.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], timeout_s: float = 2.0) -> "MilvusAccess":
        """What `PARECIDO_MILVUS_…` says."""
        given = {
            name: environment.get(f"PARECIDO_MILVUS_{name.upper()}", "").strip()
            for name in ("user", "password", "token", "ca_file", "server_name")
        }
        ca_file = Path(given["ca_file"]) if given["ca_file"] else None
        return cls(given["user"], given["password"], given["token"], ca_file, given["server_name"], timeout_s)


def collection_part(snapshot_id: str) -> str:
    """A snapshot's id as names of collections have it."""
    return re.sub(r"[^A-Za-z0-9]", "_", snapshot_id)
