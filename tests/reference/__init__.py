"""Independent implementations that answers are held against."""
