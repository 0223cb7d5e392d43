"""Jobs on a Ray cluster; imported only when `engine: ray` asks for it."""
