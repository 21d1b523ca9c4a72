"""The go-live doctor: what must be right before money flows, looked at and explained."""
