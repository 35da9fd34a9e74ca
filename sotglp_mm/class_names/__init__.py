"""Class names: a list that the package knows, a file, a folder of images, or given."""
