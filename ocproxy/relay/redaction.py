"""Credentials never reach the disk: each is replaced by `redacted:` and twelve digits of a keyed hash.

The same credential gives the same digits within one installation, so calls of one key can be told from another's;
without the key file nothing can be learned from them. What counts as a credential: the fields and query parameters
below, user names and passwords in URLs, and keys among the WebSocket sub-protocols. Bodies, trailers of chunked bodies
included, are recorded as they came.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from urllib.parse import unquote_to_bytes

from ocproxy.errors import ServerError

KEY_BYTES = 32
# Names of fields, in lower case and with - for _. Counts of tokens, authors and authorities are none.
_SECRET = re.compile(
    rb"auth(?!or(?:ity|s|ed)?(?:-|$))|jwt|assertion|credential|secret|password|passwd|passphrase|cookie"
    rb"|token(?!s|-(?:count|limit|usage))|api-?key|session-?key|access-?key|-key$|^key$|-signature(?:-\d+)?$"
    rb"|^(?:signature|dpop|chatgpt-account-id|x-amzn-oidc-data)$"
)
# The handshake's nonce (RFC 6455), the retry marker of the SDKs, names of caches, and what only says what is allowed.
_HARMLESS = re.compile(
    rb"sec-websocket-key|(?:x-)?idempotency-key|surrogate-key|(?:x-)?cache-key|access-control-.*|.*rate-?limit.*"
    rb"|(?:www|proxy)-authenticate|x-(?:accepted-)?oauth-scopes"
)
_URLS = {
    b"location", b"content-location", b"link", b"referer", b"referrer", b"origin", b"refresh", b"destination",
    b"operation-location", b"azure-asyncoperation", b"x-original-url", b"x-original-uri", b"x-rewrite-url",
    b"x-forwarded-uri", b"x-goog-upload-url", b"x-goog-upload-control-url",
}  # fmt: skip
_PROTOCOLS = b"sec-websocket-protocol"
_PARAMETER = re.compile(
    rb"(?:.*[-_.\[])?(?:(?:access|api|auth|bearer|client|id|private|refresh|secret|security|session)?(?:key|token|secret)"
    rb"|password|passwd|pwd|auth|authorization|jwt|assertion|sig|signature|credentials?|code|code[-_]?verifier)\]?",
    re.IGNORECASE | re.DOTALL,
)
# Name and value in a query or a fragment. A semicolon ends a value only in front of another name: most servers take it
# for a part of the value. Within fields URLs also end at <, > and ".
_PAIR, _PAIR_IN_FIELD = (
    re.compile(rb"(?<=[?&;#])([^?=&;#\s%b]+)=([^&;#\s%b]+(?:;(?![^=;&#\s]+=)[^&;#\s%b]*)*)" % (stop, stop, stop))
    for stop in (b"", b'<>"')
)
# The same within a value that is itself a URL, percent-encoded once, as in `redirect_uri=`.
_PAIR_IN_VALUE = re.compile(
    rb"(?<=%3f|%26|%23)((?:(?!%3d|%26|%23|%3f).)+)(%3d)((?:(?!%26|%23).)+)", re.IGNORECASE | re.DOTALL
)
# User name and password, RFC 3986 section 3.2.1. A name alone may be a token.
_USER = re.compile(rb"(//|^CONNECT +)([^/?#\s<>\"]+)@")
# `openai-insecure-api-key.KEY` (OpenAI's realtime API in browsers), `base64url.bearer.authorization.k8s.io.TOKEN`
_PROTOCOL = re.compile(
    rb"((?=sk-|eyJ)|[^,]*?(?:key|token|bearer|secret|auth|authorization|jwt|password|credential)[.:=|_-])([^,]+)",
    re.IGNORECASE,
)
# A sub-protocol that announces that the next one is the credential.
_ANNOUNCED = re.compile(
    rb"(?:(?:x|access|api|auth|id|session)[-_.]?)?(?:key|token|bearer|secret|auth|authorization|jwt|password)",
    re.IGNORECASE,
)
_SCHEME = re.compile(rb"(?:bearer|basic|digest|token|key) +", re.IGNORECASE)
# A head that llhttp refused may hide a credential behind odd white space or line ends.
_LOOSE = re.compile(rb"(?m)^([ \t]*([^:\r\n]*?)[ \t]*:)([^\r\n]*(?:[\r\n]+[ \t][^\r\n]*)*)")
# Fingerprints of credentials seen so far, so that each is hashed once. 1024 keys are more than one host's agents use.
_SEEN_LIMIT = 1024


@lru_cache(maxsize=512)  # heads hold some 100 names in all; 32 MB if all were as long as a head may be
def is_credential(name: bytes) -> bool:
    """Whether the value of the field `name` (lower case) is a secret."""
    name = name.replace(b"_", b"-")
    return _SECRET.search(name) is not None and not _HARMLESS.fullmatch(name)


def may_hold_credential(name: bytes) -> bool:
    """Whether a line with the field `name` (lower case) must go through `Redactor.line`."""
    return is_credential(name) or name in _URLS or name == _PROTOCOLS


class Redactor:
    """Replaces credentials with fingerprints under one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seen: dict[bytes, bytes] = {}
        self._lines: dict[bytes, bytes] = {}
        self._targets: dict[bytes, str] = {}

    def fingerprint(self, secret: bytes) -> bytes:
        """`redacted:` and 12 hexadecimal digits."""
        known = self._seen.get(secret)
        if known is None:
            if len(self._seen) >= _SEEN_LIMIT:
                self._seen.clear()
            known = b"redacted:" + blake2b(secret, key=self._key, digest_size=6).hexdigest().encode()
            self._seen[secret] = known
        return known

    def line(self, line: bytes) -> bytes:
        """A header line with the credentials of its value replaced; a scheme such as Bearer stays, and white space."""
        known = self._lines.get(line)
        if known is None:
            name, colon, rest = line.partition(b":")
            value = rest.strip(b" \t")
            space = rest[: rest.find(value)]
            known = name + colon + space + self._value(name.lower(), value)
            if len(self._lines) >= _SEEN_LIMIT:
                self._lines.clear()
            self._lines[line] = known
        return known

    def _value(self, name: bytes, value: bytes) -> bytes:
        if name in _URLS:
            return self._url(value, _PAIR_IN_FIELD)
        if name == _PROTOCOLS:
            return self._protocols(value)
        if not is_credential(name):
            return value
        scheme = _SCHEME.match(value)
        start = scheme.end() if scheme else 0
        return value[:start] + self.fingerprint(value[start:])

    def _protocols(self, value: bytes) -> bytes:
        """A list of WebSocket sub-protocols without the credentials that browsers must send there."""
        kept = []
        announced = False
        for item in value.split(b","):
            protocol = item.strip()
            found = _PROTOCOL.match(protocol)
            if announced and protocol:
                clean = self.fingerprint(protocol)
            else:
                clean = found[1] + self.fingerprint(found[2]) if found else protocol
            announced = not announced and _ANNOUNCED.fullmatch(protocol) is not None
            if announced:
                clean = protocol
            kept.append(item.replace(protocol, clean) if protocol else item)
        return b",".join(kept)

    def target_text(self, target: bytes) -> str:
        """The same as text (latin-1). Agents ask for the same few targets again and again."""
        known = self._targets.get(target)
        if known is None:
            if len(self._targets) >= _SEEN_LIMIT:
                self._targets.clear()
            known = self._targets[target] = self.target(target).decode("latin-1")
        return known

    def target(self, target: bytes) -> bytes:
        """A request target with the credentials of its query and its authority replaced."""
        return self._url(target, _PAIR)

    def _url(self, text: bytes, pair: re.Pattern[bytes]) -> bytes:
        if b"=" in text:
            text = pair.sub(self._pair, text)
        if b"@" in text:
            text = _USER.sub(lambda found: found[1] + self.fingerprint(found[2]) + b"@", text)
        return text

    def _pair(self, found: re.Match[bytes]) -> bytes:
        name, value = found.groups()
        if _PARAMETER.fullmatch(unquote_to_bytes(name)):
            return name + b"=" + self.fingerprint(value)
        return name + b"=" + _PAIR_IN_VALUE.sub(self._inner_pair, value) if b"%" in value else found[0]

    def _inner_pair(self, found: re.Match[bytes]) -> bytes:
        name, equals, value = found.groups()
        secret = _PARAMETER.fullmatch(unquote_to_bytes(unquote_to_bytes(name)))
        return name + equals + self.fingerprint(value) if secret else found[0]

    def refused(self, head: bytes) -> bytes:
        """A head that could not be read, with everything in it that looks like a credential replaced."""

        def replace(found: re.Match[bytes]) -> bytes:
            name = found[2].strip(b" \t\0\x0b\x0c").lower()
            secret = name == _PROTOCOLS or is_credential(name)
            return found[1] + b" " + self._value(name, found[3].strip()) if secret else found[0]

        first, end, rest = head.partition(b"\n")
        return self.target(first) + end + self._url(_LOOSE.sub(replace, rest), _PAIR_IN_FIELD)


def load_key(path: Path) -> bytes:
    """The 32 bytes in `path`, made there (mode 0600) when it does not exist. Safe against a second process doing the
    same. Raises ServerError when the file is damaged or cannot be made."""
    try:
        try:
            return _read_key(path)
        except FileNotFoundError:
            return _make_key(path)
    except OSError as error:
        raise ServerError(f"the redaction key {path} cannot be made or read: {error}") from None


def _make_key(path: Path) -> bytes:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, os.urandom(KEY_BYTES))
        os.fsync(file)
    finally:
        os.close(file)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its key counts
    finally:
        draft.unlink()
    return _read_key(path)


def _read_key(path: Path) -> bytes:
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ServerError(
            f"the redaction key {path} has {len(key)} bytes instead of {KEY_BYTES}",
            hint="Remove the file: a new key is made, and fingerprints start anew.",
        )
    return key
