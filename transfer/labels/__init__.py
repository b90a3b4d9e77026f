"""Where the labels of images come from: folders, tables, patterns of paths."""
