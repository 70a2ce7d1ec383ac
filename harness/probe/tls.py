"""Other ways in than plain HTTP/1 over TCP: TLS, HTTP/2, a unix socket."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.ports import free_port
from harness.probe import http2, http3
from harness.probe.answer import Answer, graded, no, not_tried, yes
from harness.probe.subject import Subject

UNCLAIMED = "not claimed: the row has no {}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate for localhost that signs itself, and its key (PKCS#8), as PEM files."""

    cert: Path
    key: Path

    def context(self, *protocols: str) -> ssl.SSLContext:
        """A client's settings that trust this certificate alone, and offer these protocols."""
        context = ssl.create_default_context(cafile=str(self.cert))
        context.set_alpn_protocols(list(protocols))
        return context


def certificate(folder: Path) -> Certificate:
    """Make one, once per folder. FileNotFoundError without the program openssl."""
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    if not made.cert.exists():
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                "-nodes", "-keyout", made.key, "-out", made.cert, "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
            ],
            check=True, capture_output=True, timeout=30.0,
        )  # fmt: skip
    return made


def missing(subject: Subject, key: str) -> str:
    """Why a probe that needs a certificate cannot be asked; nothing if it can."""
    if not getattr(subject.cell.server, key):
        return UNCLAIMED.format(key)
    return "" if shutil.which("openssl") else "needs the program openssl: apt-get install openssl"


def tls(subject: Subject) -> Answer:
    """A request over TLS, with the certificate checked."""
    if why := missing(subject, "tls"):
        return not_tried(why)
    made = certificate(subject.work)
    with subject.copy(more=_filled(subject.cell.server.tls, made), tls=_http1(made)) as copy:
        copy.wait_ready()
        wire = copy.connect()
        wire.get("/").hold_hello()
        session = wire.socket
        version = session.version() if isinstance(session, ssl.SSLSocket) else None
        chosen = session.selected_alpn_protocol() if isinstance(session, ssl.SSLSocket) else None
    return yes(f"{version}, ALPN {chosen or 'unanswered'}, GET / answered right")


def http2_tls(subject: Subject) -> Answer:
    """HTTP/2, agreed on by ALPN."""
    if why := missing(subject, "tls") or http2.missing():
        return not_tried(why)
    made = certificate(subject.work)
    with subject.copy(more=_filled(subject.cell.server.tls, made), tls=_http1(made)) as copy:
        copy.wait_ready()
        copy.address = type(copy.address)(
            copy.address.host, copy.address.port, tls=made.context("h2", "http/1.1")
        )
        wire = copy.connect()
        session = wire.socket
        chosen = session.selected_alpn_protocol() if isinstance(session, ssl.SSLSocket) else None
        if chosen != "h2":
            return no(f"offered h2 and http/1.1, the server chose {chosen or 'nothing'}")
        return http2.ask(wire, "https")


def http3_quic(subject: Subject) -> Answer:
    """HTTP/3 over QUIC."""
    if why := missing(subject, "http3") or http3.missing():
        return not_tried(why)
    made = certificate(subject.work)
    port = free_port()
    more = _filled(subject.cell.server.http3, made).replace("{quic}", str(port))
    with subject.copy(more=more, tls=_http1(made)) as copy:
        copy.wait_ready()
        return http3.ask(copy.address.host, port, made.cert)


def unix_socket(subject: Subject) -> Answer:
    """A request over a unix socket, and whether the file stays behind."""
    if not subject.cell.server.unix:
        return not_tried(UNCLAIMED.format("unix"))
    path = subject.work / "s"
    path.unlink(missing_ok=True)
    more = subject.cell.server.unix.replace("{socket}", str(path))
    with subject.copy(more=more, unix=str(path)) as copy:
        copy.wait_ready()
        mode = path.stat().st_mode & 0o777
        copy.running.stop()
    stays = "left behind" if path.exists() else "removed"
    return graded(True, True, f"GET / answered right; mode {mode:o}, {stays} after the stop")


def _http1(made: Certificate) -> ssl.SSLContext:
    return made.context("http/1.1")


def _filled(template: str, made: Certificate) -> str:
    return template.replace("{cert}", str(made.cert)).replace("{key}", str(made.key))
