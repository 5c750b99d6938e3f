"""The library through which Python programs use gapless; its names are those of `gapless` itself."""
