"""Links between nodes: one connection for each pair, whoever began it, with mutual TLS. See replication/DESIGN.md."""
