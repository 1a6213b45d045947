"""Names of picture files."""

PICTURE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"),
    *(".gif", ".ppm", ".pgm", ".pnm", ".jp2", ".avif"),
)
"""Endings of the names of picture files, in lower case."""
