"""The user's images: folders, archives and buckets, read file by file."""
