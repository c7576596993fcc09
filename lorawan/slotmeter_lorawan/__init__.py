"""The LoRaWAN medium (ChirpStack). Nothing is built here yet."""
