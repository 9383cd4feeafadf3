"""Document pages: found, counted, and rendered as RGB pixels, each in a process that can be ended."""
