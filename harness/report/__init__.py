"""DataFrames into what people and programs read: terminal, Markdown, JSON."""
