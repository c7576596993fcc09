"""HTTP in and out: requests become service calls, errors become problem documents."""
