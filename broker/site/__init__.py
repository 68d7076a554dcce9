"""Messages of a site's other nodes, for this node's subscribers: from their logs' copies into the open block."""
