"""Data audit: label errors, near-duplicates, outliers, image quality, feature map."""
