"""Images that their makers' own tools wrote are recognised: mender-artifact, rauc, cpio as SWUpdate's documentation has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.core.errors import UsageError
from appliance.run.artifact_commands import recognize_file
from storage.artifacts.digests import inner_problem

DESCRIPTION = """software =
{
    version = "2.1.0";
    hardware-compatibility: [ "1.0", "1.2" ];
    images: ( { filename = "payload.img"; device = "/dev/mmcblk0p2"; } );
}
"""
MANIFEST = """[update]
compatible=board-x
version=3.4
[bundle]
format={format}
[image.rootfs]
filename=rootfs.img
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "payload.img").write_bytes(os.urandom(4096 * 50))
    return tmp_path


def run(folder: Path, *words: str, stdin: str | None = None) -> None:
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(words, cwd=folder, input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def problem(path: Path) -> str:
    found = recognize_file(path, None)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return inner_problem(descriptor, found)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("compression", ["none", "gzip", "lzma"])
def test_mender(folder: Path, compression: str) -> None:
    run(
        folder, "mender-artifact", "write", "rootfs-image", "-t", "beaglebone", "-t", "rpi4", "-n", "release-7",
        "-f", "payload.img", "--compression", compression, "-o", "out.mender",
    )  # fmt: skip
    found = recognize_file(folder / "out.mender", "mender")
    assert (found.version, found.compat) == ("release-7", ("beaglebone", "rpi4"))
    assert problem(folder / "out.mender") == ""


@pytest.mark.parametrize("kind", ["newc", "crc"])
def test_swupdate(folder: Path, kind: str) -> None:
    (folder / "sw-description").write_text(DESCRIPTION)
    run(folder, "cpio", "-o", "-H", kind, "-O", "out.swu", stdin="sw-description\npayload.img\n")
    found = recognize_file(folder / "out.swu", "swu")
    assert (found.version, found.compat) == ("2.1.0", ("1.0", "1.2"))
    run(folder, "cpio", "-o", "-H", kind, "-O", "wrong.swu", stdin="payload.img\nsw-description\n")
    with pytest.raises(UsageError, match="as its first member"):
        recognize_file(folder / "wrong.swu", "swu")


@pytest.mark.parametrize(("kind", "version", "compat"), [("plain", "", ()), ("verity", "3.4", ("board-x",))])
def test_rauc(folder: Path, kind: str, version: str, compat: tuple[str, ...]) -> None:
    run(folder, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem",
        "-subj", "/CN=x", "-days", "30")  # fmt: skip
    (folder / "content").mkdir()
    shutil.copy(folder / "payload.img", folder / "content" / "rootfs.img")
    (folder / "content" / "manifest.raucm").write_text(MANIFEST.format(format=kind))
    run(folder, "rauc", "--cert", "cert.pem", "--key", "key.pem", "bundle", "content", "out.raucb")
    found = recognize_file(folder / "out.raucb", "raucb")
    assert (found.version, found.compat, found.is_vendor_signed) == (version, compat, True)
