"""Files to pixels and back: sandboxed decoding, encoding, color management, metadata."""
