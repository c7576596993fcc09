"""The NB-IoT medium: CoAP over UDP."""
