"""Where databases on SQLite begin."""
