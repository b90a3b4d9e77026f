"""How the bytes of an image file become pixels."""
