"""What is measured of the zoo, and how: python -m benchmarks SUITE, run from the repository's root."""
