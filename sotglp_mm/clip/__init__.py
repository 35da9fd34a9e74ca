"""CLIP: config, weights, towers; the only package that imports open_clip."""
