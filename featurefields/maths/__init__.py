"""Pure tensor functions. Every file opens with its letter contract."""
