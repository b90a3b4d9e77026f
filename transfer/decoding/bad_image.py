"""The errors of an image file that cannot be used."""


class BadImageError(Exception):
    """Why these bytes are no image that can be used, in words for a person."""


class UnidentifiedError(BadImageError):
    """Pillow opens no image in these bytes."""
