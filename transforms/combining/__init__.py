"""What several taggers found in the same documents, made one set of spans by a rule."""
