#!/usr/bin/env python3
"""Verifies an AgentGuard log, its checkpoints and share links, by docs/receipt-format.md alone.

Written apart from the TypeScript sources, as an auditor would write it. Needs Python 3.9 or newer and
`cryptography` (Debian, Ubuntu: apt-get install python3-cryptography).

    python3 verify.py decisions.ndjson --key <thumbprint, public key or JWK file> [--log-id <id>]
            [--head [<seq>:]<hash>] [--checkpoint <file>]... [--root <public key>]... [--certificate <file>]... [--json]
    python3 verify.py --link <link> --key <thumbprint or public key>

Exit codes: 0 valid, 1 invalid, 2 undecidable or not readable.
"""
import argparse
import base64
import hashlib
import json
import re
import sys
import urllib.parse
import zlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_LINE = 256 * 1024
MAX_DEPTH = 32
MAX_INT = 2**53 - 1
MAX_LINK = 64 * 1024


class Invalid(Exception):
    """A rule of the format is broken."""


class Undecidable(Exception):
    """A key, or the rest of the log, is not known."""


def need(condition, cause):
    if not condition:
        raise Invalid(cause)


# --- canonical JSON (RFC 8785, for the values that receipts may hold) ---------------------------------------------

NAME = re.compile(r"(?![0-9]+\Z)[\x20-\x7e]+\Z")


def check_value(value, depth=0):
    if isinstance(value, (str, bool)):
        return
    if isinstance(value, int):
        need(abs(value) <= MAX_INT, "a number beyond 2^53")
    elif isinstance(value, (list, dict)):
        need(depth < MAX_DEPTH, "nested too deeply")
        for item in value.values() if isinstance(value, dict) else value:
            check_value(item, depth + 1)
        if isinstance(value, dict):
            for name in value:
                need(NAME.match(name), "a member name that may not be")
    else:
        raise Invalid("null, or a fraction")


def canonical(value):
    # Names are ASCII, so code points are in the order of UTF-16 units. Python escapes what the RFC escapes.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def refuse_number(text):
    raise Invalid(f"the number {text[:40]}")


def parse_json(text):
    try:
        return json.loads(text, parse_float=refuse_number, parse_constant=refuse_number)
    except (ValueError, RecursionError):
        raise Invalid("the line is not JSON") from None


# --- the closed schemas -------------------------------------------------------------------------------------------


def string(pattern=None):
    compiled = None if pattern is None else re.compile(f"(?:{pattern})\\Z")
    return lambda v: isinstance(v, str) and (compiled is None or compiled.match(v) is not None)


def text(v):
    """At most 512 UTF-16 units."""
    return isinstance(v, str) and len(v.encode("utf-16-le", "surrogatepass")) <= 1024


def whole(v):
    return isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= MAX_INT


def is_record(v):
    return isinstance(v, dict)


def const(expected):
    return lambda v: type(v) is type(expected) and v == expected


def one_of(*values):
    return lambda v: isinstance(v, str) and v in values


def listing(item):
    return lambda v: isinstance(v, list) and all(item(each) for each in v)


def row(*items):
    return lambda v: isinstance(v, list) and len(v) == len(items) and all(f(x) for f, x in zip(items, v))


def members(spec):
    """An object with these members and no others; `?` behind a name marks those that may be missing."""
    known = {name.rstrip("?"): check for name, check in spec.items()}
    required = {name for name in spec if not name.endswith("?")}

    def check(v):
        return isinstance(v, dict) and required <= v.keys() <= known.keys() and all(known[n](v[n]) for n in v)

    return check


INSTANT = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{3})Z\Z")


def milliseconds(v):
    """Milliseconds since 1970 of a date of the calendar, or None."""
    match = INSTANT.match(v) if isinstance(v, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second, ms = map(int, match.groups())
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if not (1 <= month <= 12 and 1 <= day <= lengths[month - 1] and hour < 24 and minute < 60 and second < 60):
        return None
    before = year - 1 if year > 0 else year - 1
    days = before * 365 + before // 4 - before // 100 + before // 400 + sum(lengths[: month - 1]) + day - 719163
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms


def instant(v):
    return milliseconds(v) is not None


nano = string("0|[1-9][0-9]{0,30}")
signed_nano = string("0|-?[1-9][0-9]{0,30}")
digest = string("sha256:[0-9a-f]{64}")
ident = string("[A-Za-z0-9_-]{22}")
kid_text = string("[A-Za-z0-9_-]{43}")
signature_hex = string("[0-9a-f]{128}")
any_string = string()
MONEY = {"currency": const("USD"), "scale": const(9)}
VERDICT = one_of("allow", "downgrade", "block")

COMMON = {
    "clock_back_ms?": whole, "durable_seq?": whole, "issued_at": instant, "issuer_id": kid_text, "log": ident,
    "previousReceiptHash?": digest, "seq": whole, "type": any_string, "v": const(1),
}
SCOPE = members({f"{name}?": text for name in ("agentId", "task", "taskId", "teamId", "tenantId", "userId")})
CAPABILITY = members({
    "caps": listing(text), "exp": whole, "iss?": text, "jti?": text, "max?": nano, "nbf?": whole, "problem?": text,
    "replayed?": const(True), "sha256": string("[0-9a-f]{64}"), "sub?": text,
})
SETTLED = {
    "call": ident,
    "cost": members({
        "amount": nano, "byok?": const(True), "computed?": nano, "fee?": nano, "reported?": nano,
        "source": one_of("provider", "tokens", "estimate", "hold", "none"), "upstream?": nano,
    }),
    **MONEY,
    "outcome": one_of("ok", "error", "refused", "aborted", "abandoned", "not_sent", "expired"),
    "provider_ref?": text,
    "served?": members({"fallback?": const(True), "model?": text, "provider?": text}),
    "unknown_usage?": text,
    "usage?": members({
        "cache_read_audio_tokens?": whole, "cache_read_tokens?": whole, "cache_write_hour_tokens?": whole,
        "cache_write_tokens?": whole, "input_audio_tokens?": whole, "input_image_tokens?": whole, "input_tokens": whole,
        "output_audio_tokens?": whole, "output_image_tokens?": whole, "output_tokens": whole, "reasoning_tokens?": whole,
    }),
}
TYPES = {
    "genesis": {
        "certificate?": members({"issued_at": instant, "root": kid_text, "sig": signature_hex}),
        "ledger": text, "public_key": any_string, "sdk": text,
    },
    "key": {"kid": kid_text, "proof": signature_hex, "public_key": any_string, "replaces?": kid_text},
    "policy": {"digest": digest, "policy": is_record},
    "prices": {"digest": digest, "rows": listing(row(text, is_record))},
    "decision": {
        "approved?": listing(whole), "call": ident, "caps": listing(row(whole, nano, nano)), **MONEY,
        "decision": VERDICT, "decisive_cap?": whole, "decisive_rule?": row(whole, whole), "frozen?": SCOPE,
        "granted?": listing(row(whole, nano)), "hold": nano, "lease_until?": instant, "not_effective?": listing(whole),
        "policies": listing(digest), "prices?": digest, "reason": text,
        "request": members({
            "audio?": const(True), "cached_tokens?": whole, "capabilities?": listing(CAPABILITY),
            "ceiling_can_be_set?": const(True), "choices?": whole, "claims?": listing(text),
            "fallbacks?": listing(text), "features?": listing(text), "fixed_cost?": nano,
            "hour_cache?": const(True), "images?": whole, "input_tokens?": whole,
            "limit_can_be_set?": const(True), "max_output_tokens?": whole, "model": text, "provider?": text,
            "reasoning_tokens?": whole, "unbounded_input?": text,
        }),
        "require_tenant?": const(True),
        "route?": members({
            "fallbacks?": listing(text), "limit": one_of("own", "injected", "clamped", "model", "none"),
            "max_output_tokens?": whole, "max_price?": members({"input?": text, "output?": text, "request?": text}),
            "model": text,
        }),
        "rules": whole, "rungs?": listing(row(whole, text)), "scope": SCOPE, "scope_conflict?": text,
        "shadow?": members({"decision": VERDICT, "reason": text}),
        "spans": listing(row(whole, whole)), "uncarried?": listing(text), "uncounted?": listing(whole),
    },
    "settlement": {**SETTLED, "over_hold?": nano},
    "adjustment": {
        **SETTLED, "accounts": listing(row(any_string, whole)), "change": signed_nano, "previous": nano,
    },
    "grant": {
        "amount": nano, "by?": text, "cap": whole, **MONEY, "policy": text, "reason?": text, "scope": SCOPE,
        "until": instant, "window": text,
    },
    "freeze": {"by?": text, "frozen": lambda v: isinstance(v, bool), "reason?": text, "scope": SCOPE},
    "approval": {
        "by?": text, "call": ident, "cap": whole, **MONEY, "hold": nano,
        "outcome": one_of("approved", "denied", "timeout", "failed"), "reason?": text,
    },
    "alert": {
        "amount": nano, "cap": whole, **MONEY, "name": text, "policy": text, "share": whole, "spent": nano,
        "until": whole, "window": text,
    },
    "snapshot": {"body": digest, "covers": whole, "covers_hash": digest},
    "recovered": {"dropped_bytes": whole, "dropped_sha256": digest, "quarantine": text},
    "clock": {"from": instant, "to": instant},
    "close": {"open_holds": whole},
}
SCHEMAS = {name: members({**COMMON, **spec}) for name, spec in TYPES.items()}
ENVELOPE = members({
    "payload": is_record,
    "signature": members({"alg": const("EdDSA"), "kid": any_string, "sig": any_string}),
})


def parse_line(line):
    need(len(line) <= MAX_LINE, "the line is too long")
    try:
        decoded = line.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid("the line is not valid UTF-8") from None
    value = parse_json(decoded)
    check_value(value)
    need(canonical(value) == decoded, "the line is not in its RFC 8785 form")
    need(ENVELOPE(value), "not the envelope of a receipt")
    payload = value["payload"]
    kind = payload.get("type")
    need(isinstance(kind, str) and kind in SCHEMAS, "unknown receipt type")
    need(SCHEMAS[kind](payload), f"{kind}: not its schema")
    return payload, value["signature"]


# --- Ed25519: which keys and signatures are let in ----------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
IDENTITY = (0, 1, 1, 0)


def add(a, b):
    """Points in extended coordinates (RFC 8032, section 5.1.4)."""
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    e1, e2 = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    c, d = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = e2 - e1, d - c, d + c, e2 + e1
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, point):
    result = IDENTITY
    while n > 0:
        if n & 1:
            result = add(result, point)
        point = add(point, point)
        n >>= 1
    return result


def is_identity(point):
    return point[0] % P == 0 and (point[1] - point[2]) % P == 0


def admitted(key):
    """True for 32 bytes that are a point in canonical form, not of small order, and free of torsion."""
    if len(key) != 32:
        return False
    number = int.from_bytes(key, "little")
    sign, y = number >> 255, number & (2**255 - 1)
    if y >= P:
        return False
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P == (-u) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if v * x * x % P != u or (x == 0 and sign):
        return False
    if x & 1 != sign:
        x = P - x
    point = (x, y, 1, x * y % P)
    return not is_identity(times(8, point)) and is_identity(times(L, point))


def good_signature(key, message, signature):
    if len(signature) != 64 or signature[:32] == b"\x01" + bytes(31):
        return False
    if int.from_bytes(signature[32:], "little") >= L:
        return False
    try:
        # OpenSSL checks the cofactorless equation with a byte-equal R.
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def good_hex(key, message, signature):
    return re.fullmatch("[0-9a-f]{128}", signature) is not None and good_signature(
        key, message, bytes.fromhex(signature)
    )


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_of(text_form):
    """The 32 bytes of unpadded base64url in its one form, or None."""
    if not re.fullmatch("[A-Za-z0-9_-]{43}", text_form):
        return None
    data = base64.urlsafe_b64decode(text_form + "=")
    return data if b64url(data) == text_form else None


def thumbprint(key):
    document = f'{{"crv":"Ed25519","kty":"OKP","x":"{b64url(key)}"}}'
    return b64url(hashlib.sha256(document.encode()).digest())


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


# --- a log, line by line ------------------------------------------------------------------------------------------


class Log:
    """What is known of a log, and of the keys that may sign it."""

    def __init__(self, keys, roots=(), certificates=(), log_id=None):
        self.keys = {thumbprint(key): key for key in keys if admitted(key)}
        self.own = set(self.keys)
        self.replaced, self.former = set(), []
        self.roots, self.certificates, self.log_id = roots, certificates, log_id
        self.seq, self.head, self.log, self.time = -1, None, None, 0

    def owners(self):
        """Keys that are or were the log's own, each with the last line that it may sign for."""
        return [(self.keys[kid], None) for kid in self.own] + self.former

    def next(self, line):
        payload, signature = parse_line(line)
        self.place(payload)
        self.proof(payload, signature, line)
        self.content(payload)
        self.seq, self.head, self.log = payload["seq"], sha256(line), payload["log"]
        self.time = milliseconds(payload["issued_at"])
        return payload

    def place(self, p):
        if self.seq < 0:
            need(p["seq"] == 0 and p["type"] == "genesis", "the log does not begin with its genesis receipt")
            need("previousReceiptHash" not in p, "the first receipt points to an earlier one")
            need(self.log_id in (None, p["log"]), "this is another log")
            return
        need(p["type"] != "genesis", "a second genesis receipt")
        need(p["log"] == self.log, "the receipt belongs to another log")
        need(p["seq"] == self.seq + 1, f"seq is {p['seq']}, expected {self.seq + 1}")
        need(p.get("previousReceiptHash") == self.head, "previousReceiptHash is not the hash of the line before")
        need(p["type"] == "clock" or milliseconds(p["issued_at"]) >= self.time, "issued_at goes backwards")
        need(p.get("durable_seq", 0) <= self.seq, "durable_seq is ahead of the log")

    def proof(self, p, signature, line):
        kid = p["issuer_id"]
        need(signature["kid"] == kid, "signature.kid is not issuer_id")
        need(kid not in self.replaced, "signed by a key that was replaced before")
        if p["type"] == "genesis" and self.certified(p):
            key = key_of(p["public_key"])
            if admitted(key):
                self.keys[kid] = key
                self.own.add(kid)
        if kid not in self.keys:
            raise Undecidable(f"signed by the unknown key {kid}")
        signed = line[len(b'{"payload":') : line.rindex(b',"signature":')]
        need(good_hex(self.keys[kid], signed, signature["sig"]), "the signature does not fit the payload")

    def certified(self, p):
        key = key_of(p["public_key"])
        if key is None or thumbprint(key) != p["issuer_id"]:
            return False
        carried = [{**p["certificate"], "kid": p["issuer_id"]}] if "certificate" in p else []
        for certificate in carried + list(self.certificates):
            signed = {n: certificate.get(n) for n in ("issued_at", "kid", "root")}
            message = canonical({**signed, "type": "agentguard:key-certificate", "v": 1}).encode()
            for root in self.roots:
                fits = certificate.get("kid") == p["issuer_id"] and certificate.get("root") == thumbprint(root)
                if fits and admitted(root) and good_hex(root, message, str(certificate.get("sig"))):
                    return True
        return False

    def content(self, p):
        kind = p["type"]
        if kind == "genesis":
            key = key_of(p["public_key"])
            need(key is not None and thumbprint(key) == p["issuer_id"], "public_key is not the issuer's")
        if kind in ("policy", "prices"):
            body = p["policy"] if kind == "policy" else p["rows"]
            need(sha256(canonical(body).encode()) == p["digest"], f"digest is not that of the {kind}")
        if kind == "clock":
            need(p["to"] == p["issued_at"] and milliseconds(p["from"]) == self.time, "not the times around it")
        if kind in ("clock", "freeze", "grant", "recovered", "snapshot", "key"):
            need(p["issuer_id"] in self.own, f"a {kind} receipt by another key than the log's own")
        if kind == "key":
            self.admit(p)

    def admit(self, p):
        key, kid, old = key_of(p["public_key"]), p["kid"], p.get("replaces")
        need(key is not None and thumbprint(key) == kid, "kid is not the thumbprint of public_key")
        need(kid not in self.replaced, "it admits a key that was replaced before")
        need(admitted(key), "a public key that may not be")
        proof = {n: p[n] for n in ("kid", "log", "previousReceiptHash", "seq")}
        message = canonical({**proof, "type": "agentguard:key-proof"}).encode()
        need(good_hex(key, message, p["proof"]), "the new key did not prove that its holder has it")
        self.keys[kid] = key
        if old is None:
            return
        need(old != kid and old in self.keys, "it replaces a key that the log had not admitted")
        self.replaced.add(old)
        key = self.keys.pop(old)
        if old in self.own:
            self.own.remove(old)
            self.own.add(kid)
            self.former.append((key, p["seq"]))


# --- checkpoints and proofs ---------------------------------------------------------------------------------------


def leaf(line):
    return hashlib.sha256(b"\0" + line).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """The roots of the perfect trees that a growing tree is made of, the largest first."""

    def __init__(self):
        self.size, self.roots = 0, []

    def add(self, hashed):
        size = self.size
        while size % 2 == 1:
            hashed = node(self.roots.pop(), hashed)
            size //= 2
        self.roots.append(hashed)
        self.size += 1

    def root(self):
        result = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            result = node(left, result)
        return result


def proved(hashed, index, size, root, path):
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    place, last = index, size - 1
    for sibling in path:
        if last == 0:
            return False
        if place % 2 == 1 or place == last:
            hashed = node(sibling, hashed)
            while place % 2 == 0 and place != 0:
                place, last = place // 2, last // 2
        else:
            hashed = node(hashed, sibling)
        place, last = place // 2, last // 2
    return last == 0 and hashed == root


def b64(text_form):
    need(re.fullmatch("[A-Za-z0-9+/]*={0,2}", text_form), "not base64")
    try:
        data = base64.b64decode(text_form, validate=True)
    except ValueError:
        raise Invalid("not base64") from None
    need(base64.b64encode(data).decode() == text_form, "not base64 in its one form")
    return data


BODY = re.compile(
    r"agentguard\.run/log/([A-Za-z0-9_-]{22})\n([1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*\Z"
)


def parse_checkpoint(note):
    need(len(note) <= 16384 and note.endswith("\n"), "not a signed note")
    need(not re.search("[\x00-\x09\x0b-\x1f\ud800-\udfff]", note), "not a signed note")
    body, separator, tail = note.rpartition("\n\n")
    body += "\n"
    need(separator and len(body) > 1, "not a signed note")
    lines = tail[:-1].split("\n")
    need(len(lines) <= 32, "too many signatures")
    signatures = []
    for line in lines:
        match = re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})", line)
        need(match, "a malformed signature line")
        data = b64(match[2])
        need(len(data) >= 5, "a malformed signature line")
        signatures.append((match[1], data[:4], data[4:]))
    match = BODY.match(body)
    need(match and int(match[2]) <= MAX_INT, "not the lines of a checkpoint")
    return {"log": match[1], "size": int(match[2]), "root": b64(match[3]), "body": body, "signatures": signatures}


def check_signer(checkpoint, owners):
    """Raises unless a key that was the log's own in its time signed the checkpoint."""
    origin = f"agentguard.run/log/{checkpoint['log']}"
    is_signed = is_late = False
    for key, until in owners:
        key_id = hashlib.sha256(origin.encode() + b"\n\x01" + key).digest()[:4]
        for name, named, signature in checkpoint["signatures"]:
            if (name, named) != (origin, key_id):
                continue
            is_good = admitted(key) and good_signature(key, checkpoint["body"].encode(), signature)
            need(is_good, "the checkpoint's signature does not fit its text")
            if until is None or checkpoint["size"] - 1 <= until:
                is_signed = True
            else:
                is_late = True
    need(is_signed or not is_late, "the checkpoint is signed by a key that was replaced before")
    if not is_signed:
        raise Undecidable("the checkpoint is signed by no key that is known here")


# --- verdicts -----------------------------------------------------------------------------------------------------


def verify_log(data, log, checkpoints=(), head=None):
    """The verdict on the bytes of a log, and what checkpoints of it come to."""
    tree, roots, line = Tree(), {}, 0
    result = {"integrity": "valid"}
    position, is_held = 0, head is None
    try:
        while position < len(data):
            line += 1
            end = data.find(b"\n", position)
            if end < 0:
                rest = data[position:]
                need(len(rest) <= MAX_LINE, "the line is too long")
                raise Undecidable("the last line has no end")
            raw = data[position:end]
            log.next(raw)
            is_held = is_held or log.head == head[1] and head[0] in (None, log.seq)
            tree.add(leaf(raw))
            roots[tree.size] = tree.root() if any(c["size"] == tree.size for c in checkpoints) else None
            position = end + 1
        if line == 0:
            line = 1
            raise Undecidable("the log is empty")
    except Invalid as problem:
        result = {"integrity": "invalid", "line": line, "cause": str(problem)}
    except Undecidable as problem:
        result = {"integrity": "undecidable", "line": line, "cause": str(problem)}
    result.update({"receipts": tree.size, "log": log.log, "head": log.head})
    is_whole = result.get("cause") in (None, "the log is empty", "the last line has no end")
    result["completeness"] = [finding(c, log, tree.size, roots, is_whole) for c in checkpoints]
    if is_whole and not is_held:
        result.pop("line", None)
        result.update({"integrity": "invalid", "cause": "the head that was kept is not in this log"})
    if any(each["status"] == "refuted" for each in result["completeness"]) and result["integrity"] != "invalid":
        refuted = next(each for each in result["completeness"] if each["status"] == "refuted")
        result.pop("line", None)
        result.update({"integrity": "invalid", "cause": refuted["cause"]})
    return result


def finding(checkpoint, log, lines, roots, is_whole):
    size = checkpoint["size"]
    try:
        check_signer(checkpoint, log.owners())
    except (Invalid, Undecidable) as problem:
        return {"status": "open", "size": size, "cause": str(problem)}
    if log.log not in (None, checkpoint["log"]):
        return {"status": "refuted", "size": size, "cause": "the checkpoint is of another log"}
    if roots.get(size) is not None:
        if roots[size] == checkpoint["root"]:
            return {"status": "proved", "size": size}
        return {"status": "refuted", "size": size, "cause": "the log was rewritten"}
    if not is_whole:
        return {"status": "open", "size": size, "cause": f"only {lines} of {size} lines verified"}
    return {"status": "refuted", "size": size, "cause": f"lines were cut: {lines} are left of {size}"}


PROOF = re.compile(r"c2sp\.org/tlog-proof@v1\nindex (0|[1-9][0-9]{0,15})\n((?:[A-Za-z0-9+/]{43}=\n){0,64})\n")


def parse_link(link):
    fields = urllib.parse.parse_qs(link.strip().split("#", 1)[-1])
    packed = fields.get("r", [""])[0]
    need(packed and re.fullmatch("[A-Za-z0-9_-]+", packed), "not a share link")
    try:
        inflater = zlib.decompressobj(-15)
        data = inflater.decompress(base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)), MAX_LINK + 1)
        need(len(data) <= MAX_LINK, "the link unfolds to too much")
        need(inflater.eof and not inflater.unused_data, "the link can't be unfolded")
        rest = data.decode("utf-8")
    except (zlib.error, ValueError):
        raise Invalid("the link can't be unfolded") from None
    lines = []
    while rest.startswith("{"):
        line, separator, rest = rest.partition("\n")
        match = PROOF.match(rest)
        need(separator and match, "a receipt without a proof")
        lines.append((line.encode(), int(match[1]), [b64(each) for each in match[2].split()]))
        rest = rest[match.end() :]
    need(lines, "no receipt in the link")
    return lines, parse_checkpoint(rest), fields.get("k", [""])[0]


def verify_link(lines, checkpoint, log):
    """The verdict on a link that has been taken apart."""
    before = -1
    parsed = []
    for line, index, path in lines:
        payload, _signature = parse_line(line)
        need(index > before, "receipts out of order")
        before = index
        need(payload["log"] == checkpoint["log"], "a receipt of another log")
        need(payload["seq"] == index, "a receipt proved at another place")
        # The size is the signed one, and the leaf is worked out from the line.
        need(proved(leaf(line), index, checkpoint["size"], checkpoint["root"], path), "the proof does not lead to the root")
        parsed.append(payload)
    need(log.log_id in (None, checkpoint["log"]), "this is another log")
    for (line, index, _path), payload in zip(lines, parsed):
        if index > 0:
            # The line stands alone: what is before it is taken from itself.
            log.seq, log.head, log.log = index - 1, payload.get("previousReceiptHash"), payload["log"]
            log.time = milliseconds(payload["from" if payload["type"] == "clock" else "issued_at"])
        log.next(line)
    check_signer(checkpoint, log.owners())
    return {"integrity": "valid", "log": checkpoint["log"], "size": checkpoint["size"], "receipts": parsed}


# --- command line -------------------------------------------------------------------------------------------------


def pinned(pin, shown):
    """A pin is a public key, the thumbprint of a key that is shown, or the file of a JWK."""
    for key in shown:
        if thumbprint(key) == pin:
            return key
    key = key_of(pin)
    if key is not None:
        return key
    with open(pin, encoding="utf-8") as file:
        return key_of(json.load(file)["x"])


def read(path):
    with open(path, "rb") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser(description="Verifies an AgentGuard log, its checkpoints and share links.")
    parser.add_argument("file", nargs="?")
    parser.add_argument("--link")
    for option in ("--key", "--root", "--certificate", "--checkpoint"):
        parser.add_argument(option, action="append", default=[])
    parser.add_argument("--log-id")
    parser.add_argument("--head")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if (options.file is None) == (options.link is None):
        parser.error("name a log, or --link")
    result = verdict(options)
    if options.json:
        print(json.dumps(result))
    else:
        show(result)
    is_open = any(each["status"] == "open" for each in result.get("completeness", []))
    return {"valid": 2 if is_open else 0, "invalid": 1, "undecidable": 2}[result["integrity"]]


def verdict(options):
    roots = [pinned(pin, []) for pin in options.root]
    certificates = [json.loads(read(path)) for path in options.certificate]
    if options.link is not None:
        try:
            lines, checkpoint, hint = parse_link(sys.stdin.read() if options.link == "-" else options.link)
            shown = [key for key in [key_of(hint)] + shown_by([line for line, _, _ in lines]) if key]
            keys = [pinned(pin, shown) for pin in options.key]
            return verify_link(lines, checkpoint, Log(keys, roots, certificates, options.log_id))
        except Invalid as problem:
            return {"integrity": "invalid", "cause": str(problem)}
        except Undecidable as problem:
            return {"integrity": "undecidable", "cause": str(problem)}
    data = read(options.file)
    keys = [pinned(pin, shown_by([data.split(b"\n", 1)[0]])) for pin in options.key]
    log = Log(keys, roots, certificates, options.log_id)
    checkpoints = []
    for path in options.checkpoint:
        try:
            checkpoints.append(parse_checkpoint(read(path).decode("utf-8")))
        except (Invalid, UnicodeDecodeError) as problem:
            raise OSError(f"{path}: {problem}") from None
    return verify_log(data, log, checkpoints, kept_head(options.head))


def kept_head(text_form):
    if text_form is None:
        return None
    match = re.fullmatch(r"(?:#?([0-9]{1,15}):)?(?:sha256:)?([0-9a-f]{64})", text_form.strip().lower())
    if match is None:
        raise ValueError("--head: expected the hash of a receipt, or <seq>:<hash>")
    return None if match[1] is None else int(match[1]), "sha256:" + match[2]


def shown_by(lines):
    """Public keys that lines show: for finding a pin by its thumbprint, never a source of trust."""
    found = []
    for line in lines:
        try:
            key = key_of(parse_line(line)[0].get("public_key", ""))
        except Invalid:
            continue
        found += [key] if key else []
    return found


def show(result):
    where = f" line {result['line']}:" if "line" in result else ""
    cause = f":{where} {result['cause']}" if "cause" in result else ""
    print(f"integrity: {result['integrity']}{cause}")
    for each in result.get("completeness", []):
        print(f"checkpoint of {each['size']} lines: {each['status']}{': ' + each['cause'] if 'cause' in each else ''}")
    for name in ("log", "head"):
        if result.get(name):
            print(f"{name}: {result[name]}")
    receipts = result.get("receipts", 0)
    print(f"receipts: {receipts if isinstance(receipts, int) else len(receipts)}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, KeyError, ValueError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
