"""The user's images: folders, archives, buckets, and how an image is decoded."""
