"""What comes with spanmill: the default model and the sample corpus, each with a card."""
