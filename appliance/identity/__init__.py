"""Keys, tokens, certificates, passwords and the setup code; see DESIGN.md in this folder."""

from appliance.identity.authenticator import CredentialReader, DeviceAuthenticator
from appliance.identity.keys import NodeSigner, SiteKeys, new_token

__all__ = ["CredentialReader", "DeviceAuthenticator", "NodeSigner", "SiteKeys", "new_token"]
