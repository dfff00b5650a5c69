"""From files to splits: numpy and polars only, so that reading a file never starts a device."""
