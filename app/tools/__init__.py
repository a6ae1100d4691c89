"""What stands round the product: the supervisor, a receiver for developers, checks, a publisher."""
