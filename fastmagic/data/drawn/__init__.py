"""The data set that the package draws itself."""
