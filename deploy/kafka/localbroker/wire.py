"""Asks a broker over the wire which brokers are there: the one proof that it takes clients.

Three requests of the Kafka protocol, in their oldest forms that Kafka 4 still takes: SaslHandshake, SaslAuthenticate
and Metadata. SCRAM is RFC 5802 without channel binding, as Kafka has it.
"""

import base64
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import struct
from pathlib import Path

from localbroker.layout import HOST, Cluster, User, read_users
from localbroker.properties import SCRAM

TIMEOUT_S = 5.0
_METADATA, _SASL_HANDSHAKE, _SASL_AUTHENTICATE = 3, 17, 36


def live_brokers(cluster: Cluster, node: int) -> set[int]:
    """Return the numbers of the brokers that this one tells clients of.

    Raises:
        OSError: it does not listen, does not answer in time, or closes.
    """
    with socket.create_connection((HOST, cluster.ports[node - 1]), timeout=TIMEOUT_S) as plain:
        if not cluster.secrets:
            return _ask_for_brokers(plain)
        folder = Path(cluster.secrets)
        context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        with context.wrap_socket(plain, server_hostname=HOST) as secure:
            _log_in(secure, read_users(folder)[0])
            return _ask_for_brokers(secure)


def _ask_for_brokers(connection: socket.socket) -> set[int]:
    answer = _request(connection, _METADATA, 1, struct.pack(">i", 0))  # of no topic
    (count,) = struct.unpack_from(">i", answer)
    found, at = set(), 4
    for _ in range(count):
        number, host_length = struct.unpack_from(">ih", answer, at)
        at += 6 + host_length + 4
        (rack_length,) = struct.unpack_from(">h", answer, at)
        at += 2 + max(rack_length, 0)
        found.add(number)
    return found


def _log_in(connection: socket.socket, user: User) -> None:
    answer = _request(connection, _SASL_HANDSHAKE, 1, _text(SCRAM))
    if answer[:2] != b"\0\0":
        raise ConnectionError("the broker does not take SCRAM-SHA-512")
    nonce = secrets.token_hex(16)
    opening = f"n={user.name},r={nonce}"
    challenge = _authenticate(connection, f"n,,{opening}")
    found = re.fullmatch(r"r=([^,]+),s=([^,]+),i=(\d+)", challenge)
    if not found or not found[1].startswith(nonce):
        raise ConnectionError("the broker's SCRAM challenge is malformed")
    salted = hashlib.pbkdf2_hmac("sha512", user.password.encode(), base64.b64decode(found[2]), int(found[3]))
    key = hmac.digest(salted, b"Client Key", "sha512")
    closing = f"c=biws,r={found[1]}"
    signed = f"{opening},{challenge},{closing}".encode()
    signature = hmac.digest(hashlib.sha512(key).digest(), signed, "sha512")
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    verdict = _authenticate(connection, f"{closing},p={base64.b64encode(proof).decode()}")
    server_key = hmac.digest(salted, b"Server Key", "sha512")
    if verdict != f"v={base64.b64encode(hmac.digest(server_key, signed, 'sha512')).decode()}":
        raise ConnectionError("the broker could not show that it knows the password")


def _authenticate(connection: socket.socket, said: str) -> str:
    message = said.encode()
    answer = _request(connection, _SASL_AUTHENTICATE, 0, struct.pack(">i", len(message)) + message)
    code, length = struct.unpack_from(">hh", answer)
    if code:
        raise ConnectionError(f"the broker refused the login of its own user: {answer[4 : 4 + length].decode()}")
    at = 4 + max(length, 0)
    (length,) = struct.unpack_from(">i", answer, at)
    return answer[at + 4 : at + 4 + length].decode()


def _request(connection: socket.socket, api: int, version: int, body: bytes) -> bytes:
    request = struct.pack(">hhi", api, version, 1) + _text("broker-status") + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    (length,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, length)[4:]  # behind the correlation id


def _exactly(connection: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        if not (more := connection.recv(size - len(read))):
            raise ConnectionError("the broker closed the connection")
        read += more
    return read


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()
