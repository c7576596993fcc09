"""What integrators and tests use: virtual meters, fakes and contract suites."""
