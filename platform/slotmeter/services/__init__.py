"""The transaction boundary, and the only place where vending meets devices."""
