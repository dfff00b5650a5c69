"""The zoo beside other packages: the same rows, the same split, in turns, each package in its own environment."""
