"""Security modules: where key material lives and the only place that uses it."""
