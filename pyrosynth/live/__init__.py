"""A run played live: the web explorer and OSC."""
