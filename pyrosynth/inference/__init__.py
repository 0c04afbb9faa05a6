"""From a sound to presets: the posterior, the search with the real synth, ArviZ."""
