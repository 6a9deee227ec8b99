"""Videos through PyAV (FFmpeg's libraries): frames, audio and subtitles with their own times."""
