"""config.yaml, the manifest and side files: models, defaults, validation, schema."""
