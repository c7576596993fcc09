"""The power-line medium (DLMS/COSEM through data concentrators). Nothing is built here yet."""
