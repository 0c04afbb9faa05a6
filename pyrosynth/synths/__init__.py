"""The synths that can be learnt."""
