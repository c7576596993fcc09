"""Real stores behind the ports: the database and the readings store."""
