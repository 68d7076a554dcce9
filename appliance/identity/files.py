"""Secret files: made whole and private or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from appliance.core.errors import ConfigError, StorageError

PRIVATE = 0o600
PUBLIC = 0o644


def read_secret(path: Path) -> bytes | None:
    """A secret file's bytes, None if there is none.

    Raises:
        ConfigError: `secret_file_open`: others may read or write it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise ConfigError(
                    f"{path} may be read by others (mode {mode:o}).",
                    hint=f"If nobody had access to it, run: chmod 600 {path}",
                    code="secret_file_open",
                )
            return file.read()
    except FileNotFoundError:
        return None


def key_of(path: Path, content: bytes, size_bytes: int, *, hint: str) -> bytes:
    """The key that a file holds as hexadecimal digits.

    Args:
        content: The file's. hint: What to do when it is something else.
    Raises:
        ConfigError: `key_file_invalid`.
    """
    try:
        key = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != size_bytes:
        raise ConfigError(
            f"{path} does not hold {2 * size_bytes} hexadecimal digits.", hint=hint, code="key_file_invalid"
        )
    return key


def create(path: Path, data: bytes, *, mode: int = PRIVATE) -> bytes:
    """Make a file that isn't there, durably; if another process was first, its content is what counts.

    Returns:
        The file's content.
    """
    try:
        with _written(path, data, mode) as made:
            os.link(made.name, path)
        sync_folder(path.parent)
    except FileExistsError:
        return path.read_bytes()
    except OSError as error:
        raise _failed(path, error) from error
    return data


def replace(path: Path, data: bytes, *, mode: int = PRIVATE) -> None:
    """Put a new content in place of the old, durably and at once."""
    try:
        with _written(path, data, mode) as made:
            os.rename(made.name, path)
        sync_folder(path.parent)
    except OSError as error:
        raise _failed(path, error) from error


def remove(path: Path) -> bool:
    """Remove a file, durably.

    Returns:
        Whether there was one.
    Raises:
        StorageError: it can't be removed.
    """
    try:
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(path, error) from error
    return True


def create_folder(path: Path, contents: Mapping[str, tuple[bytes, int]]) -> bool:
    """Make a private folder with all its files at once, durably, unless it is there.

    Args:
        contents: Content and mode by the file's name.
    Returns:
        Whether this call made it; if not, another process was first.
    Raises:
        StorageError: it can't be written.
    """
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        aside.mkdir(mode=0o700)
        try:
            for name, (data, mode) in contents.items():
                create(aside / name, data, mode=mode)
            os.rename(aside, path)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync_folder(path.parent)
    except OSError as error:
        raise _failed(path, error) from error
    return True


class _written:  # noqa: N801 - reads as a verb
    """A temporary file beside `path`, synced; removed on leaving if it still has its name."""

    def __init__(self, path: Path, data: bytes, mode: int) -> None:
        self.name = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        self._data = data
        self._mode = mode

    def __enter__(self) -> _written:
        descriptor = os.open(self.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(self._data)
            file.flush()
            os.fchmod(descriptor, self._mode)
            os.fsync(descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        self.name.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have what was made, renamed or removed in a folder be so after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path} can't be written: {error.strerror}.",
        hint="Look at the disk's free space and at the folder's owner and mode.",
        code="secret_file_failed",
    )
