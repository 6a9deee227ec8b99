"""Videos through OpenCV alone: no H.264, and no audio of its own."""
