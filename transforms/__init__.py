"""The steps from corpus to annotations: files are Beam transforms, folders are plain functions."""
