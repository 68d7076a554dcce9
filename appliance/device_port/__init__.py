"""The devices' own HTTPS port: TLS with client certificates, HTTP/1.1, EST; see DESIGN.md in this folder."""
