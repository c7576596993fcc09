"""The operators' console: a Dash app that is a client of the HTTP API."""
