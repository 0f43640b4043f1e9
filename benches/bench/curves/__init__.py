"""Cost curves: how the cost of each function and background step grows with each size, and the bounds on that."""
