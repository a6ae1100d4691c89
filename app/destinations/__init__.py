"""Where events are sent: destinations, their signing secrets, and the state of the road there."""
