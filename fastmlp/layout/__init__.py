"""From the sizes of layers to offsets to memory."""
