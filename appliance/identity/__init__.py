"""Keys, tokens, certificates, passwords and the setup code; see DESIGN.md in this folder."""

from appliance.identity.authenticator import CredentialReader, DeviceAuthenticator
from appliance.identity.keys import NodeSigner, SiteKeys, new_token
from appliance.identity.passwords import Passwords, check_password
from appliance.identity.setup_code import SetupCode, SetupState
from appliance.identity.tls import TlsIdentity

__all__ = [
    "CredentialReader",
    "DeviceAuthenticator",
    "NodeSigner",
    "Passwords",
    "SetupCode",
    "SetupState",
    "SiteKeys",
    "TlsIdentity",
    "check_password",
    "new_token",
]
