"""Where databases on PostgreSQL begin."""
