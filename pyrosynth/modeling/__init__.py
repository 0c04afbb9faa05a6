"""What models are written with: the variant, its objective, networks, flows, distributions."""
