"""The site's certificate authority as it lies on this box, in data_dir/identity/ca.

    root.pem      the root's certificate: what devices and other servers may trust for good. 0644
    issuing.pem   the issuing authority's certificate, and its key encrypted under the site key. 0600
    devices.pem   both certificates: what verifies a device's certificate. 0644
    root.secret   what root and issuing key are made of; gone once the recovery kit is confirmed. 0600

The folder is made as a whole at the first start, also on a box that was set up before there was an authority. The
root's private key is in no file.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from appliance.core.clock import Clock
from appliance.core.errors import ConfigError, NotAuthorized
from appliance.core.ids import RandomBytes
from appliance.identity import files
from appliance.identity.ca_certificates import (
    RootSeed,
    generation_of,
    issuing_certificate,
    key_id,
    ms,
    root_certificate,
    wall,
)
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import PENDING, ROOT_SECRET_BYTES, RecoveryKit, write_pending

RENEW_BEFORE_DAYS: Final = 365
"""From here on people are reminded: the kit must be fetched from where it lies, and devices' certificates end with the
authority's."""
_EPOCH_DAY_MS: Final = 86_400_000
_KEY_LABEL: Final = "issuing-key/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteCa:
    """See the module's docstring.

    Attributes:
        devices_path: `devices.pem`, for `ssl.SSLContext.load_verify_locations`.
        key: Of the issuing authority.
    """

    folder: Path
    root: x509.Certificate
    issuing: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load_or_create(cls, data_dir: Path, keys: SiteKeys, *, clock: Clock) -> Self:
        """Load the authority, making it if there is none. Two processes may do so at once. Blocks some ms.

        Raises:
            ConfigError: a file may be read by others or holds something else (`ca_file_invalid`), or the site key is not the
                one that it was made under (`ca_key_locked`).
            StorageError: it can't be written.
        """
        folder = data_dir / "identity" / "ca"
        if not folder.exists():
            secret = secrets.token_bytes(ROOT_SECRET_BYTES)
            made_day = max(clock.now_ms(), ms(wall(0))) // _EPOCH_DAY_MS
            seed = RootSeed(secret=secret, node_id=keys.node_id, made_day=made_day)
            contents = _contents(seed, keys, clock=clock, generation=1)
            contents[PENDING.name] = (write_pending(made_day, secret), files.PRIVATE)
            files.create_folder(folder, contents)
        return cls._load(folder, keys)

    @classmethod
    def make_again(
        cls, data_dir: Path, keys: SiteKeys, kit: RecoveryKit, *, clock: Clock, generation: int = 1
    ) -> Self:
        """Make the authority of a kit on a box that has none. Nothing is pending then: somebody has the kit.

        Raises:
            ConfigError, StorageError: as `load_or_create`, also if there is another authority.
        """
        folder = data_dir / "identity" / "ca"
        files.create_folder(folder, _contents(kit.seed, keys, clock=clock, generation=generation))
        return cls._load(folder, keys)

    @classmethod
    def _load(cls, folder: Path, keys: SiteKeys) -> Self:
        try:
            root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
            pem = files.read_secret(folder / "issuing.pem") or b""
            issuing = x509.load_pem_x509_certificate(pem)
            generation_of(issuing)
        except (OSError, ValueError, IndexError) as error:
            raise _no_authority(folder, error) from error
        try:
            key = load_pem_private_key(pem, password=_passphrase(keys))
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f"The key in {folder / 'issuing.pem'} was not made under this box's site key.",
                hint="Put the identity folder back as a whole, from one backup.",
                code="ca_key_locked",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != issuing.public_key():
            raise ConfigError(
                f"The key and the certificate in {folder / 'issuing.pem'} don't belong together.",
                hint="Put the identity folder back as a whole, from one backup.",
                code="ca_file_invalid",
            )
        found = cls(folder=folder, root=root, issuing=issuing, key=key)
        if not found.devices_path.exists() or found.devices_path.read_bytes() != found.chain_pem:
            files.replace(found.devices_path, found.chain_pem, mode=files.PUBLIC)
        return found

    def renewed(self, kit: RecoveryKit, keys: SiteKeys, *, clock: Clock, new_key: bool = False) -> SiteCa:
        """A new certificate for the issuing authority, for another 5 years, in place of the old one.

        Args:
            kit: Of this site: the root can't sign without it.
            new_key: Make another key too: every certificate signed by the old one is void from then on.
        Raises:
            NotAuthorized: `recovery_kit_of_another_site`. StorageError: it can't be written.
        """
        self.check_kit(kit)
        generation = generation_of(self.issuing) + new_key
        contents = _contents(kit.seed, keys, clock=clock, generation=generation)
        # The order matters: whoever loads devices.pem in between takes the new certificates and the old ones.
        if new_key:
            files.replace(self.folder / "issuing.pem", contents["issuing.pem"][0])
            files.replace(self.devices_path, contents["devices.pem"][0], mode=files.PUBLIC)
        else:
            files.replace(self.devices_path, contents["devices.pem"][0], mode=files.PUBLIC)
            files.replace(self.folder / "issuing.pem", contents["issuing.pem"][0])
        return self._load(self.folder, keys)

    def check_kit(self, kit: RecoveryKit) -> None:
        """See that a kit is this site's.

        Raises:
            NotAuthorized: `recovery_kit_of_another_site`.
        """
        _check_root(self.root, kit)

    @property
    def devices_path(self) -> Path:
        return self.folder / "devices.pem"

    @property
    def chain_pem(self) -> bytes:
        """The issuing authority's certificate and the root's, PEM."""
        return self.issuing.public_bytes(Encoding.PEM) + self.root_pem

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(Encoding.PEM)

    @property
    def key_id(self) -> str:
        """Of the issuing authority, hexadecimal."""
        return key_id(self.issuing)

    @property
    def ends_at_ms(self) -> int:
        """When the issuing authority's certificate ends, UTC ms."""
        return ms(self.issuing.not_valid_after_utc)

    def is_due(self, now_ms: int) -> bool:
        """Whether people should renew it."""
        return now_ms > self.ends_at_ms - RENEW_BEFORE_DAYS * _EPOCH_DAY_MS


def check_kit_of(folder: Path, kit: RecoveryKit) -> None:
    """See that a kit is of the authority in a folder, whose key need not be readable.

    Raises:
        NotAuthorized: `recovery_kit_of_another_site`. ConfigError: `ca_file_invalid`.
    """
    try:
        root = x509.load_pem_x509_certificate((folder / "root.pem").read_bytes())
    except (OSError, ValueError) as error:
        raise _no_authority(folder, error) from error
    _check_root(root, kit)


def _check_root(root: x509.Certificate, kit: RecoveryKit) -> None:
    _, of_kit = root_certificate(kit.seed)
    if of_kit != root:
        raise NotAuthorized(
            "This recovery kit belongs to another site: its root is not this authority's.",
            hint="Compare the fingerprint on it with the one that `homeport ca show` prints.",
            code="recovery_kit_of_another_site",
        )


def _no_authority(folder: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"{folder} does not hold a certificate authority: {error}.",
        hint="Put the folder back from a backup, or move it away and run `homeport recovery-kit restore`.",
        code="ca_file_invalid",
    )


def random_serial(random_bytes: RandomBytes = secrets.token_bytes) -> int:
    """A certificate's serial: 159 random bits, so that it is positive in 20 bytes (RFC 5280 §4.1.2.2)."""
    return int.from_bytes(random_bytes(20)) >> 1 or 1


def _contents(
    seed: RootSeed, keys: SiteKeys, *, clock: Clock, generation: int
) -> dict[str, tuple[bytes, int]]:
    _, root = root_certificate(seed)
    key, issuing = issuing_certificate(
        seed, generation=generation, now_ms=clock.now_ms(), serial=random_serial()
    )
    certificate = issuing.public_bytes(Encoding.PEM)
    encrypted = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(_passphrase(keys))
    )
    root_pem = root.public_bytes(Encoding.PEM)
    return {
        "root.pem": (root_pem, files.PUBLIC),
        "issuing.pem": (encrypted + certificate, files.PRIVATE),
        "devices.pem": (certificate + root_pem, files.PUBLIC),
    }


def _passphrase(keys: SiteKeys) -> bytes:
    return keys.derive(_KEY_LABEL).hex().encode()
