"""What is owed: one delivery per event and destination, attempted until it is settled."""
