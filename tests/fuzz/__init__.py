"""Whatever bytes arrive, they are accepted or refused as documented. See docs/fuzzing.md."""
