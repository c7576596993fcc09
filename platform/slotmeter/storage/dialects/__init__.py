"""What the databases understand differently, beside what SQLAlchemy writes for each."""
