"""The domain of devices: drivers, frames, commands and their states; pure."""
