"""Debian's `swupdate` as a device that is updated over hawkBit's protocol, and the images that it takes."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_DESCRIPTION: Final = """\
software =
{{
    version = "{version}";
    hardware-compatibility: [ "1.0" ];
    files: ( {{ filename = "firmware.bin"; path = "{target}"; sha256 = "{sha256}"; }} );
}}
"""
_CONFIG: Final = """\
globals : {{ loglevel = 4; }};
suricatta :
{{
    tenant      = "default";
    id          = "{device}";
    url         = "{url}";
    targettoken = "{token}";
    cafile      = "{ca}";
    retry       = 100;
    retrywait   = 1;
}};
identify : ( {{ name = "version"; value = "{version}"; }}, {{ name = "hw"; value = "1.0"; }} );
"""


class Signer:
    """A vendor's key, and images that it has signed (CMS, which is all that Debian's swupdate takes)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.certificate = folder / "cert.pem"
        self._run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "30",
            "-subj", "/CN=vendor", "-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=emailProtection",
        )  # fmt: skip

    def image(self, version: str, target: Path, size_bytes: int) -> tuple[Path, bytes]:
        """A .swu that writes `size_bytes` of noise to a file; and those bytes."""
        content = random.Random(version).randbytes(size_bytes)
        (self._folder / "firmware.bin").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (self._folder / "sw-description").write_text(
            _DESCRIPTION.format(version=version, target=target, sha256=digest)
        )
        self._run(
            "openssl", "cms", "-sign", "-in", "sw-description", "-out", "sw-description.sig", "-signer", "cert.pem", "-inkey", "key.pem",
            "-outform", "DER", "-nosmimecap", "-binary",
        )  # fmt: skip
        names = b"sw-description\nsw-description.sig\nfirmware.bin\n"
        made = self._folder / f"pump-{version}.swu"
        made.write_bytes(self._run("cpio", "-o", "-H", "crc", "--quiet", data=names))
        return made, content

    def _run(self, *command: str, data: bytes | None = None) -> bytes:
        done = subprocess.run(
            command, cwd=self._folder, input=data, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Agent:
    """One run of swupdate, which is what a device does between two restarts.

    Args:
        confirm: What it says first, as `swupdate -c`: 1 that it is as it was, 2 that what it installed before it restarted is well.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str,
        token: str,
        url: str,
        ca: Path,
        key: Path,
        version: str,
        confirm: int,
    ) -> None:
        # Its sockets lie there, and their paths are short.
        self._sockets = Path(tempfile.mkdtemp(prefix="swu"))
        config = folder / f"swupdate-{version}.cfg"
        config.write_text(_CONFIG.format(device=device, token=token, url=url, ca=ca, version=version))
        self.log_path = folder / f"swupdate-{version}.log"
        self._log = self.log_path.open("wb")
        suricatta = f"-t default -i {device} -u {url} -k {token} -c {confirm}"
        self.process = subprocess.Popen(
            ["swupdate", "-v", "-f", str(config), "-k", str(key), "-H", "pump:1.0", "-m", "-u", suricatta],
            stdout=self._log,
            stderr=self._log,
            env={"TMPDIR": str(self._sockets), "PATH": "/usr/bin:/bin"},
        )

    def said(self, text: str) -> int:
        """How often its log has a text."""
        return self.log_path.read_text(errors="replace").count(text)

    def stop(self) -> None:
        """As a restart of the device stops it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self._log.close()
        shutil.rmtree(self._sockets, ignore_errors=True)


def is_there() -> bool:
    """Whether what this needs is installed."""
    return all(shutil.which(each) for each in ("swupdate", "cpio", "openssl"))
