"""Facts in every order they can come."""
