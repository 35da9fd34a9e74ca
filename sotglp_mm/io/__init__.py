"""Files: JSON, text, checkpoints, images of one's own, writing that survives a kill."""
